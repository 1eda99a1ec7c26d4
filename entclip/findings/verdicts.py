"""The one rule that turns numbers into verdicts.

A contrast has a value and an interval: 99 %, Student's t over independent units (of exact computations: the range over contexts).
It is reproduced if the interval lies wholly on the predicted side, contradicted if wholly on the other, else open. A finding is

    reproduced      all its contrasts are;          contradicted    all its contrasts are;
    conditional     some are reproduced and some contradicted;
    inconclusive    none is either;
    reproduced (or contradicted) in part            some are, the others are open.

Sums over arms or columns add the standard errors themselves, not their squares: the error of a sum is at most that, however the
summands are correlated, so arms that share random numbers need no assumption.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from entclip.findings.data import Contrast, Term
from entclip.ledger.verdict import MIN_EVENTS
from entclip.support.errors import SpecError

__all__ = ["LEVEL", "MISSING", "Judged", "count", "expand", "finding_verdict", "judge_contrast", "judge_finding"]

LEVEL = 0.99
REPRODUCED, CONTRADICTED, OPEN, MISSING = "reproduced", "contradicted", "open", "not run"
Arm = Mapping[str, Any]
Arms = Mapping[str, Arm]


@dataclass(frozen=True)
class Judged:
    """A contrast on one arm (or sum of arms): value and interval in nats, None where there is none, and why it is open.

    clipped: share of samples clipped on either side. walk: standard deviation of the unclipped term in one unit, nats.
    """

    contrast: Contrast
    label: str
    value: float | None
    se: float | None
    interval: tuple[float, float] | None
    predicted: str
    verdict: str
    gap_low: float | None = None
    gap_high: float | None = None
    clipped: float | None = None
    walk: float | None = None
    why: str = ""


def expand(contrast: Contrast, arms: Iterable[str]) -> list[tuple[str, tuple[Term, ...]]]:
    """Return (label, terms with whole names) of each contrast that a pattern stands for; SpecError if there is none."""
    known = list(arms)
    cases = list(dict.fromkeys(name.rpartition("/")[0] for name in known))
    out = []
    for case in cases:
        if not fnmatchcase(case, contrast.case):
            continue
        whole = tuple(t.model_copy(update={"arm": _whole(case, t.arm)}) for t in contrast.parts)
        if all(t.arm in known for t in whole):
            out.append((f"{case}: {_sum_label(contrast.parts)}" if case else _sum_label(contrast.parts), whole))
    if not out:
        raise SpecError(
            f"run {contrast.run} has no {', '.join(t.arm for t in contrast.parts)} in a case like {contrast.case!r}: "
            f"its arms are {', '.join(known)}."
        )
    return out[:1] if all("/" in t.arm for t in contrast.parts) else out


def _whole(case: str, arm: str) -> str:
    return f"{case}/{arm}" if case and "/" not in arm else arm


def _sum_label(terms: tuple[Term, ...]) -> str:
    parts = []
    for k, term in enumerate(terms):
        sign = "- " if term.factor < 0 else "+ " if k else ""
        size = "" if abs(term.factor) == 1 else f"{abs(term.factor):g} "
        parts.append(f"{sign}{size}{term.arm}")
    return " ".join(parts)


def _number(arm: Arm, column: str, run: str) -> float:
    value = arm.get(column)
    if value is None:
        raise SpecError(f"run {run} has no column {column!r}: it cannot be judged by it.")
    if not math.isfinite(value):
        raise SpecError(f"run {run}: column {column!r} is {value}: a number that is not finite judges nothing.")
    return float(value)


def _columns(arm: Arm, column: str) -> list[tuple[str, str, float]]:
    """Return (value column, error column, factor) of which a column is made."""
    if column == "clips":
        return [("clip_low", "clip_low_se", 1.0), ("clip_high", "clip_high_se", 1.0)]
    if column == "total":
        raw, cv = arm.get("measured_se"), arm.get("measured_cv_se")
        name = "measured" if cv is None or (raw is not None and raw < cv) else "measured_cv"
        return [(name, f"{name}_se", 1.0)]
    if column.startswith("residual_"):
        part = column.removeprefix("residual_")
        # The theory along the path has no error of its own: that of the residual is kept with the measured part.
        return [(part, f"{column}_se", 1.0), (f"expected_{part}", "", -1.0)]
    return [(column, f"{column}_se", 1.0)]


def _measure(arms: Arms, terms: tuple[Term, ...], column: str, run: str) -> tuple[float, float | None, int | None, str]:
    """Return value, standard error, smallest number of independent units, and why there is no error."""
    value, error, units, why = 0.0, 0.0, [], ""
    for term in terms:
        arm = arms[term.arm]
        units.append(int(arm.get("units") or 0))
        for name, se, factor in _columns(arm, column):
            value += term.factor * factor * _number(arm, name, run)
            if se and arm.get(se) is None:
                why = "no standard error"
            elif se:
                error += abs(term.factor) * _number(arm, se, run)
            events = arm.get(f"clip_events_{name.removeprefix('clip_')}") if name.startswith("clip_") else None
            if events is not None and events < MIN_EVENTS:
                why = "nothing was clipped" if events == 0 else f"only {events:.0f} samples were clipped"
    if min(units) < 2:
        why = why or "fewer than two independent units"
    return value, None if why else error, min(units), why


def _interval(value: float, se: float, units: int) -> tuple[float, float]:
    from scipy import stats

    half = float(stats.t.ppf((1 + LEVEL) / 2, units - 1)) * se
    return value - half, value + half


def judge_contrast(contrast: Contrast, arms: Arms) -> list[Judged]:
    """Judge every contrast that `contrast` stands for on a run's arms.

    Raises: SpecError for an arm or column that is not there, or a number that is not finite.
    """
    out = []
    for label, terms in expand(contrast, arms):
        first = arms[terms[0].arm]
        exact = f"{contrast.column}_min" in first
        interval: tuple[float, float] | None
        if exact:
            value, se, why = _number(first, contrast.column, contrast.run), None, ""
            low, high = (_number(first, f"{contrast.column}_{end}", contrast.run) for end in ("min", "max"))
            interval = (low, high)
        else:
            value, se, units, why = _measure(arms, terms, contrast.column, contrast.run)
            interval = None if se is None else _interval(value, se, int(units or 0))
        predicted, verdict = _verdict(contrast, interval, terms[0].arm, arms)
        if verdict == OPEN and not why:
            why = "the interval holds both sides" if interval else "no interval"
        out.append(
            Judged(
                contrast,
                label,
                value,
                se,
                interval,
                predicted,
                verdict,
                first.get("gap_low"),
                first.get("gap_high"),
                _clipped(first),
                _walk(first),
                why,
            )
        )
    return out


def _clipped(arm: Arm) -> float | None:
    shares = [arm.get(f"clip_fraction_{side}") for side in ("low", "high")]
    return None if None in shares else math.fsum(s for s in shares if s is not None)


def _walk(arm: Arm) -> float | None:
    se, units = arm.get("unclipped_se"), arm.get("units")
    return None if se is None or not units else float(se) * math.sqrt(units)


def _verdict(contrast: Contrast, interval: tuple[float, float] | None, name: str, arms: Arms) -> tuple[str, str]:
    """Return what is predicted, in words, and the verdict."""
    first = arms[name]
    if contrast.within is not None:
        margin = _margin(contrast, name, arms)
        predicted = f"within ±{margin:.3g}"
        if interval is None:
            return predicted, OPEN
        low, high = interval
        inside, outside = -margin <= low and high <= margin, low > margin or high < -margin
        return predicted, REPRODUCED if inside else CONTRADICTED if outside else OPEN
    sign = contrast.sign
    if sign == "gap":
        side = contrast.column.removeprefix("clip_")
        gap = first.get(f"gap_{side}")
        if gap is None or gap == 0:
            return "no gap", OPEN
        sign = 1 if (gap > 0) == (side == "low") else -1
    assert sign is not None
    predicted = "> 0" if sign > 0 else "< 0"
    if interval is None:
        return predicted, OPEN
    low, high = interval
    right, wrong = (low > 0, high < 0) if sign > 0 else (high < 0, low > 0)
    return predicted, REPRODUCED if right else CONTRADICTED if wrong else OPEN


def _margin(contrast: Contrast, name: str, arms: Arms) -> float:
    within = contrast.within
    assert within is not None
    if within.of is None:
        return within.factor
    arm = arms[name if within.of_arm is None else _whole(name.rpartition("/")[0], within.of_arm)]
    return within.factor * abs(sum(f * _number(arm, column, contrast.run) for column, _, f in _columns(arm, within.of)))


def judge_finding(contrasts: Iterable[Contrast], results: Mapping[str, Mapping[str, Any]]) -> list[Judged]:
    """Judge all contrasts of a finding; those of a run that is not among the results are "not run"."""
    out = []
    for contrast in contrasts:
        if contrast.run in results:
            out += judge_contrast(contrast, results[contrast.run]["arms"])
        else:
            out.append(Judged(contrast, _sum_label(contrast.parts), None, None, None, "", MISSING))
    return out


def finding_verdict(judged: Iterable[Judged]) -> str:
    """Return the finding's verdict by the rule above, from the contrasts that were run."""
    seen = [j for j in judged if j.verdict != MISSING]
    if not seen:
        return MISSING
    right, wrong, still, _ = count(seen)
    if right and wrong:
        return "conditional"
    if not right and not wrong:
        return "inconclusive"
    return (REPRODUCED if right else CONTRADICTED) + (" in part" if still else "")


def count(judged: Iterable[Judged]) -> tuple[int, int, int, int]:
    """Count how many contrasts are reproduced, contradicted, open, not run."""
    seen = [j.verdict for j in judged]
    return seen.count(REPRODUCED), seen.count(CONTRADICTED), seen.count(OPEN), seen.count(MISSING)
