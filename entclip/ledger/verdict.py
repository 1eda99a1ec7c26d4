"""Prediction against measurement: z-scores of residuals, agree / reject / inconclusive, and the power to tell.

Each part (four causes and curvature) is judged by its residual, realised minus expected, whose standard error can be hundreds of
times smaller than that of the part itself. reject: |z| > 5. agree: |expected| > 8 standard errors, or both identically 0.
Otherwise inconclusive: the run is too small to tell the theory from none, or its standard error cannot be believed, which
`why_PART` explains. A clip acted on fewer than ten samples; or a natural step's expected curvature is carried by samples so rare
that the run has hardly drawn any (drift/rare_samples.py). Then the units scatter little, about a value far from the mean, and no
correction made from their own moments sees it; theory knows the variance along the path, and the larger error judges. Exact
engines have no standard error: there the residual must vanish up to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from entclip.ledger.columns import PARTS

__all__ = ["Verdict", "judge", "normal_score", "sample_plan", "verdict_of"]

REJECT_Z = 5.0
AGREE_RATIO = 8.0
MIN_EVENTS = 10  # clipped samples, below which a standard error says nothing about a clip term
_EXACT_ROUNDING = 1e-12  # nats; sums over a million branches of terms of order 1, each good to some 1e-16
_ROUNDING = 1e-14  # nats; a residual that scatters by less is the rounding of columns that are 0 in theory


@dataclass(frozen=True)
class Verdict:
    """The outcome of `check`: overall verdict, and the run's summary with every z-score."""

    verdict: str
    summary: dict[str, Any]

    def __str__(self) -> str:
        return self.verdict


def normal_score(t: float, units: int | None, skewness: float | None) -> float:
    """Return a mean over its standard error as the normal score of the same tail, so that 5 means the same everywhere.

    First the skewness g of the units, which makes one tail of a mean of n heavier than the other: t + a t^2/3 + a^2 t^3/27 + a/6
    with a = g/sqrt(n), which is monotone in t (Hall 1992, J. R. Stat. Soc. B 54, 221). Then Student's t with n - 1 degrees of
    freedom. Without it a mean of 512 squares (curvature) of skewness -2.8 passes 5 a hundred times too often.
    """
    if units is None or units < 2 or not math.isfinite(t):
        return t
    from scipy import stats

    a = 0.0 if skewness is None else skewness / math.sqrt(units)
    t = t + a * t**2 / 3 + a**2 * t**3 / 27 + a / 6
    # A tail too small for float64 has no normal score; the t score rejects as well.
    tail = float(stats.t.sf(abs(t), units - 1))
    return math.copysign(float(stats.norm.isf(tail)), t) if tail > 0 else t


def _judge_part(
    value: float,
    expected: float | None,
    se: float | None,
    exact: bool,
    units: int | None,
    skewness: float | None,
    rare_se: float = 0.0,
) -> tuple[float | None, str]:
    if expected is None:
        return None, "not tested"
    residual = value - expected
    # Before the question whether this is rounding: a sample without the rare ones may scatter by nothing at all.
    if se is not None and rare_se > se:  # of theory: it has neither Student's spread nor the sample's skewness
        se, units = rare_se, None
    if exact or (se is not None and se < _ROUNDING):
        floor = _EXACT_ROUNDING if exact else 100 * _ROUNDING
        return None, "agree" if abs(residual) <= floor * (1 + abs(expected)) else "reject"
    if se is None:
        return None, "inconclusive"
    z = normal_score(residual / se, units, skewness)
    if abs(z) > REJECT_Z:
        return z, "reject"
    return z, "agree" if abs(expected) > AGREE_RATIO * se else "inconclusive"


def judge(arm: dict[str, Any]) -> dict[str, Any]:
    """Add z_PART, verdict_PART and the arm's verdict: reject if any part is, agree if all parts that are tested do."""
    out = dict(arm)
    exact = arm["measured_se"] is None and "units" not in arm
    verdicts = []
    for part in PARTS:
        se, rare_se = arm[f"residual_{part}_se"], arm.get(f"{part}_rare_se") or 0.0
        z, verdict = _judge_part(
            arm[part], arm[f"expected_{part}"], se, exact, arm.get("units"), arm.get(f"residual_{part}_skewness"), rare_se
        )
        if verdict == "inconclusive" and se is not None and rare_se > se:
            out[f"why_{part}"] = (
                "the expectation is carried by samples that this run has hardly drawn: in theory they give a standard error of "
                f"{rare_se:.2g}, {se:.2g} was seen. Use a larger update.batch, a smaller "
                "update.learning_rate, or a policy with a floor."
            )
        # Hardly any sample was clipped: the scatter of the residual is then that of the expectation alone, and no score is a
        # normal's. Had one more sample been clipped, the same run would have scored otherwise.
        events = arm.get(f"clip_events_{part.removeprefix('clip_')}") if part.startswith("clip_") else None
        if verdict == "reject" and not exact and events is not None and events < MIN_EVENTS:
            verdict = "inconclusive"
            out[f"why_{part}"] = f"{events:.0f} samples were clipped, and a standard error means little below {MIN_EVENTS}."
        out[f"z_{part}"], out[f"verdict_{part}"] = z, verdict
        # A part of expectation 0 that is not identically 0 (unclipped under random reward) has nothing to be told from: it can
        # be rejected, but its standing open must not keep every run open.
        zero = arm[f"expected_{part}"] is not None and abs(arm[f"expected_{part}"]) < _ROUNDING
        if not (verdict == "inconclusive" and zero):
            verdicts.append(verdict)
    tested = [v for v in verdicts if v != "not tested"]
    if "reject" in tested:
        out["verdict"] = "reject"
    elif tested and all(v == "agree" for v in tested):
        out["verdict"] = "agree"
    else:
        out["verdict"] = "inconclusive"
    return out


def verdict_of(summary: dict[str, Any]) -> Verdict:
    """Return the run's verdict: reject if any arm is, agree if all are, else inconclusive."""
    verdicts = [arm["verdict"] for arm in summary["arms"].values()]
    overall = "reject" if "reject" in verdicts else "agree" if all(v == "agree" for v in verdicts) else "inconclusive"
    return Verdict(overall, summary)


def sample_plan(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Compute for each arm and part that is not identically 0: units needed for |expected| > 8 standard errors, from a pilot run.

    The standard error falls as one over the square root of the units, so units = pilot units (8 se/|expected|)^2.
    """
    rows = []
    for name, arm in summary["arms"].items():
        for part in PARTS:
            expected, se = arm[f"expected_{part}"], arm[f"residual_{part}_se"]
            if expected is None or se is None or abs(expected) < _ROUNDING:
                continue
            se = max(se, arm.get(f"{part}_rare_se") or 0.0)
            needed = math.ceil(arm["units"] * (AGREE_RATIO * se / abs(expected)) ** 2)
            rows.append(
                {"arm": name, "part": part, "expected": expected, "se": se, "units": arm["units"], "units_needed": max(needed, 2)}
            )
    return rows
