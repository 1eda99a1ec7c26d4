"""The ledger's columns of one update of a model, once its step is taken and split."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from entclip.engines.llm.causes import TokenWeights
from entclip.engines.llm.probe import Curvature, distribution_columns, probe_entropy
from entclip.objectives.base import Objective

__all__ = ["update_columns"]


def update_columns(
    objective: Objective,
    seen: tuple[list[Any], list[Any], list[Any]],
    second: Curvature,
    causes: Mapping[str, float],
    products: Iterable[Any],
    counts: TokenWeights,
    per_token: float,
) -> dict[str, float]:
    """Return every column of the update.

    Args:
        seen: log pi on the probe contexts of pi_old, before the step and after it.
        causes: first-order parts of the step, nats.
        products: of each parameter its slope times its step, whose sum the causes add up to.
        counts: of the tokens of the minibatch.
        per_token: responses over tokens of the minibatch; clip counts over samples are then shares of tokens.
    """
    old, now, after = seen
    before, entropy = probe_entropy(now), probe_entropy(after)
    inner = scale = 0.0
    for x in products:  # one parameter's at a time
        inner += float(x.sum(dtype=torch.float64))
        scale += float(x.abs().sum(dtype=torch.float64))
    return dict(causes) | {
        "curvature": second.curvature,
        "measured": entropy - before,
        "remainder": entropy - before - sum(causes.values()) - second.curvature,
        "entropy_before": before,
        "entropy": entropy,
        "step_variance": second.step_variance,
        "_inner": inner,
        "_scale": scale,
        "ratio_max": counts.ratio_max,
        **{name: number * per_token for name, number in counts.counts.items()},
        **distribution_columns(objective, now, old),
    }
