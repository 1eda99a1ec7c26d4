"""What pairs decide: means over pairs and contrasts with no clipping, with intervals, and how many pairs would decide each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from entclip.experiments.experiment import Experiment

__all__ = ["contrast", "decide", "pairs_needed"]

_LEVEL = 0.99
_MOST = 10_000  # pairs; beyond it nobody waits


def _quantile(units: int) -> float:
    from scipy import stats

    return float(stats.t.ppf((1 + _LEVEL) / 2, units - 1))


def pairs_needed(mean: float, spread: float) -> int | None:
    """Return the fewest pairs whose 99 % interval (Student's t) would exclude 0, if mean and standard deviation of a pair are as
    measured; None for over ten thousand."""
    sizes = (n for n in range(2, _MOST + 1) if _quantile(n) * spread < abs(mean) * math.sqrt(n))
    return next(sizes, None)


def contrast(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, standard error, half width of the 99 % interval and verdict of one number a pair, nats."""
    x, n = np.asarray(values, dtype=float), len(values)
    out: dict[str, Any] = {"mean": float(x.mean()), "pairs": n, "values": x.tolist()}
    if n < 2:
        return out | {"se": None, "half_99": None, "verdict": "undecided", "pairs_needed": None}
    spread = float(x.std(ddof=1))
    half = _quantile(n) * spread / math.sqrt(n)
    decided = abs(x.mean()) > half
    verdict = ("raises" if x.mean() > 0 else "lowers") if decided else "undecided"
    needed = pairs_needed(float(x.mean()), spread)
    return out | {"se": spread / math.sqrt(n), "half_99": half, "verdict": verdict, "pairs_needed": needed}


def decide(experiment: Experiment, records: Mapping[tuple[int, str, bool], Mapping[str, Any]]) -> dict[str, Any]:
    """Return every arm's change over the finished pairs, and its difference from `none` pair by pair.

    records: of `measure`, by pair, arm and sign. A pair counts once all its arms and both signs are there.
    """
    arms = [arm.name for arm in experiment.arm]
    known = sorted({pair for pair, _, _ in records})
    pairs = [p for p in known if all((p, arm, mirror) in records for arm in arms for mirror in (False, True))]
    change = {
        arm: [sum(records[p, arm, m]["measured"] for m in (False, True)) / 2 for p in pairs] for arm in arms
    }  # fmt: skip
    out: dict[str, Any] = {"experiment": experiment.name, "digest": experiment.digest, "pairs": pairs, "arms": {}}
    for arm in arms if pairs else ():
        own = [records[p, arm, m] for p in pairs for m in (False, True)]
        tokens = _count(own, "count_plus") + _count(own, "count_minus")
        out["arms"][arm] = {
            "measured": contrast(change[arm]),
            "minus_none": None if arm == arms[0] else contrast(np.subtract(change[arm], change[arms[0]]).tolist()),
            **{
                f"clip_fraction_{s}": sum(step[f"clip_count_{s}"] for r in own for step in r["steps"]) / tokens
                for s in ("low", "high")
            },
            "last": {name: float(np.mean([r["last"][name] for r in own])) for name in own[0]["last"]},
            "entropy_before": float(np.mean([r["entropy_before"] for r in own])),
        }
    return out


def _count(records: Sequence[Mapping[str, Any]], name: str) -> float:
    return math.fsum(step[name] for record in records for step in record["steps"])
