"""The entropy change of a run by the sign of the advantage, by stage, and by the position of the token.

References: arXiv:2508.02260, whose stages are a rise of the reward, in which entropy falls mostly in samples with A < 0, and a
plateau; arXiv:2511.05993, which asks the same of the two signs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from entclip.support.errors import SpecError

__all__ = ["SIGNS", "by_position", "by_sign"]

SIGNS = ("from_plus", "from_minus")


def _stages(rollouts: Sequence[int], stages: int) -> list[list[int]]:
    """Rollouts of each stage, as equal in number as they can be."""
    if not 1 <= stages <= len(rollouts):
        raise SpecError(f"stages = {stages} must be from 1 to the number of rollouts, {len(rollouts)}.")
    edges = [len(rollouts) * k // stages for k in range(stages + 1)]
    return [list(rollouts[a:b]) for a, b in pairwise(edges)]


def by_sign(rows: Sequence[Mapping[str, Any]], stages: int = 2) -> list[dict[str, float]]:
    """Split the entropy change of each stage of a run by the sign of the advantage, nats.

    measured = from_plus + from_minus + rest; the rest is curvature, remainder, and what does not come from samples (a bonus).

    Args:
        rows: those of the updates of one arm: `ledger.arms[name].rows`, or records of `entclip run --out`'s updates.parquet.
        stages: how many of about equally many rollouts.
    Returns: for each stage first, last (its rollouts), measured, from_plus, from_minus, rest.
    Raises: SpecError where the engine does not tell samples apart by sign, and for more stages than rollouts.
    """
    if not rows or any(row.get(sign) is None for row in rows for sign in SIGNS):
        raise SpecError("these rows do not tell samples of A > 0 from those of A < 0: the engines sampled and exact do.")
    out = []
    for chosen in _stages(sorted({row["rollout"] for row in rows}), stages):
        some = [row for row in rows if row["rollout"] in chosen]
        sums = {name: math.fsum(row[name] for row in some) for name in ("measured", *SIGNS)}
        rest = sums["measured"] - sums["from_plus"] - sums["from_minus"]
        out.append({"first": chosen[0], "last": chosen[-1]} | sums | {"rest": rest})
    return out


def by_position(rollouts: Sequence[Mapping[str, Any]], stages: int = 2) -> list[dict[str, float]]:
    """Split the entropy change per token of each stage of a run by the position of the token in its sequence, nats.

    The change of the K-th token, change_K, is that of the mean entropy of its prefixes over the length, with their chances at the
    start of each rollout: the changes of all positions add up to `measured`.

    Args:
        rollouts: rows of the rollouts of one arm, `ledger.arms[name].summaries`.   stages: as for `by_sign`.
    Returns: for each stage first, last, measured and change_1, change_2, ...
    Raises: SpecError for single tokens, engines that know no positions, and for more stages than rollouts.
    """
    places = 0
    while rollouts and rollouts[0].get(f"entropy_at_{places + 1}_before") is not None:
        places += 1
    if places < 2:
        raise SpecError('these rollouts know no positions: run policy.kind = "autoregressive" on the sampled engine.')
    out = []
    for chosen in _stages([row["rollout"] for row in rollouts], stages):
        some = [row for row in rollouts if row["rollout"] in chosen]
        changes = {
            f"change_{k}": math.fsum(row[f"entropy_at_{k}"] - row[f"entropy_at_{k}_before"] for row in some) / places
            for k in range(1, places + 1)
        }
        out.append({"first": chosen[0], "last": chosen[-1], "measured": math.fsum(row["measured"] for row in some)} | changes)
    return out
