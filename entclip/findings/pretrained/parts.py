"""The accounted updates of some runs of one arm, pooled: causes, curvature and remainder, gaps, the law of the noise."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from entclip.ledger.columns import causes_in

__all__ = ["parts_of"]


def parts_of(records: Sequence[Mapping[str, Any]], pairs: int) -> dict[str, Any]:
    """Return what accounted records hold of an arm; nothing where updates are not accounted.

    `parts`: of each cause and of curvature and remainder the sum over the updates of a rollout, mean over rollouts, nats, and
    `parts_by_pair` the same pair by pair. `gap_low`, `gap_high`: over all updates, weighted by the probability beyond the bound
    (None where nothing was); `negative_low`, `negative_high`: of how many updates the gap was below 0, and of how many there was
    one. `updates`: first order, curvature and measured change of each. `identity`: the largest distance of
    the causes from <grad H, step>. `noise`: rms of log(pi/pi_old) by pi_old, with the smallest and largest of a run.

    Args:
        records: pair by pair, an equal number of each.
    """
    if "identity" not in records[0]["steps"][0]:
        return {}
    steps = [step for record in records for step in record["steps"]]
    names = [*causes_in(steps[0]), "curvature", "remainder"]
    sums = {name: [math.fsum(step[name] for step in record["steps"]) for record in records] for name in names}
    by_pair = {name: np.reshape(values, (pairs, -1)).sum(axis=1) * pairs / len(records) for name, values in sums.items()}
    return {
        "parts": {name: float(np.mean(values)) for name, values in by_pair.items()},
        "parts_by_pair": {name: values.tolist() for name, values in by_pair.items()},
        **{f"gap_{side}": _gap(steps, side) for side in ("low", "high")},
        **{f"negative_{side}": _negative(steps, side) for side in ("low", "high")},
        "updates": [
            {
                "first": math.fsum(step[name] for name in causes_in(step)),
                "curvature": step["curvature"],
                "measured": step["measured"],
            }
            for step in steps
        ],
        "identity": max(step["identity"] for step in steps),
        "noise": _pooled([record["noise"] for record in records]),
    }


def _gap(steps: Sequence[Mapping[str, Any]], side: str) -> float | None:
    mass, beyond = (math.fsum(step[f"{name}_{side}"] for step in steps) for name in ("mass", "pi"))
    return mass / beyond if beyond > 0 else None


def _negative(steps: Sequence[Mapping[str, Any]], side: str) -> tuple[int, int]:
    gaps = [step[f"mass_{side}"] for step in steps if step[f"pi_{side}"] > 0]
    return sum(gap < 0 for gap in gaps), len(gaps)


def _pooled(laws: Sequence[Sequence[Mapping[str, float]]]) -> list[dict[str, float]]:
    """Pool the laws of several runs bin by bin, two bins a factor of ten; a bin counts if every run has it."""
    bins: dict[int, list[Mapping[str, float]]] = defaultdict(list)
    for law in laws:
        for row in law:
            bins[math.floor(2 * math.log10(row["prob"]))].append(row)
    return [
        {
            "prob": math.exp(np.mean([math.log(row["prob"]) for row in rows])),
            "rms": math.sqrt(np.mean([row["rms"] ** 2 for row in rows])),
            "least": min(row["rms"] for row in rows),
            "most": max(row["rms"] for row in rows),
        }
        for _, rows in sorted(bins.items())
        if len(rows) == len(laws)
    ]
