"""What a study's data file says about one arm: means over antithetic pairs, intervals, gaps, changes against another arm."""

from __future__ import annotations

from typing import Any

import numpy as np

from entclip.ledger.columns import PARTS

__all__ = ["change", "gap", "interval", "judged", "pairs", "total"]


def pairs(values: Any) -> np.ndarray:
    """Return the means of antithetic partners (first and second half), (R/2,)."""
    x = np.asarray(values, dtype=np.float64)
    return (x[: len(x) // 2] + x[len(x) // 2 :]) / 2


def interval(values: np.ndarray) -> tuple[float, float]:
    """Return the mean over pairs and half the width of its 95 % interval (Student's t)."""
    from scipy import stats

    n = len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else float("nan")
    return float(values.mean()), half


def gap(arm: dict[str, Any], side: str, kind: str) -> tuple[float, float] | None:
    """Return the gap of T6 over the run, probability-weighted, with its interval; kind: mass (euclidean) or surprise
    (natural)."""
    per = arm["per_replica"]
    mass, prob = pairs(per[f"{kind}_{side}"]), pairs(per[f"pi_{side}"])
    if not np.any(prob):
        return None
    ratio = mass.sum() / prob.sum()
    # A ratio of means: its influence values have the interval of a mean.
    return ratio, interval((mass - ratio * prob) / prob.mean())[1]


def judged(arm: dict[str, Any]) -> bool:
    """Tell whether every part has an expectation: none has under Adam, nor where the step size follows from the samples."""
    return "expected_curvature" in arm["per_replica"]


def total(arm: dict[str, Any]) -> np.ndarray:
    """Return the entropy change of each pair less what chance did to the parts that have an expectation (control variates),
    nats."""
    per = arm["per_replica"]
    noise = sum(np.asarray(per[p]) - per[f"expected_{p}"] for p in PARTS if f"expected_{p}" in per)
    return pairs(per["measured"] - noise)


def change(arm: dict[str, Any], base: dict[str, Any]) -> np.ndarray:
    """Return the entropy change of each pair minus that of the same pair in `base`: control variates where both have them, else
    raw."""
    if judged(arm) and judged(base):
        return total(arm) - total(base)
    return pairs(arm["per_replica"]["measured"]) - pairs(base["per_replica"]["measured"])
