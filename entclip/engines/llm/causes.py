"""The weights of a minibatch's tokens by cause. Claims T4, T5, T13.

Every token-level surrogate is a weight c(r, A) on grad log pi, and c splits into causes that add up (objectives/base.py): a
backward pass for the sum and one for each side give the gradient of every cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from entclip.objectives.base import Keep, Objective, View, sample_counts
from entclip.objectives.drop import split_survivors

__all__ = ["TokenWeights", "token_share", "token_weights"]


@dataclass(frozen=True)
class TokenWeights:
    """Weights on grad log pi of each token by cause, (N, R), and counts of the tokens that count."""

    by_cause: dict[str, Any]
    counts: dict[str, float]
    ratio_max: float

    @classmethod
    def merged(cls, parts: Sequence[TokenWeights]) -> TokenWeights:
        """Return the counts of several micro-batches; their weights are used up."""
        counts = {name: sum(part.counts[name] for part in parts) for name in parts[0].counts}
        return cls({}, counts, max(part.ratio_max for part in parts))


def token_share(mask: Any, aggregation: str) -> Any:
    """Return what each token of a minibatch counts, (N, R), summing to 1: mean over tokens, or over responses of
    their means, 0 for an empty one."""
    counted = mask.to(torch.float64)
    if aggregation == "token":
        return counted / counted.sum().clamp(min=1)
    return counted / counted.sum(-1, keepdim=True).clamp(min=1) / len(counted)


def _view(objective: Objective, log_probs: Any, old_log_probs: Any, mask: Any) -> View:
    """What the objective sees of the tokens of responses, (N, R); with "sequence" the ratio is that of the response."""
    if "sequence" not in objective.needs:
        return View.of(log_probs, old_log_probs)
    share = token_share(mask, "sequence") * len(mask)
    ratio = torch.exp((share * (log_probs - old_log_probs)).sum(-1, keepdim=True)).expand_as(log_probs)
    return View(ratio, torch.exp(old_log_probs), log_probs, share=share)


def token_weights(
    objective: Objective,
    log_probs: Any,
    old_log_probs: Any,
    advantages: Any,
    mask: Any,
    share: Any,
    keep: Keep | None = None,
    survives: Any = None,
) -> TokenWeights:
    """Return c(r, A) of each token, split by cause and scaled by its share of the minibatch.

    Args:
        log_probs, old_log_probs: log pi and log pi_old of the tokens taken, (N, R).
        advantages: of the responses, (N, 1), shared by their tokens.
        keep, survives: in a control run the chances of a random drop, and which tokens survived it, (N, R).
    """
    view = _view(objective, log_probs, old_log_probs, mask)
    ratio, change = view.ratio, objective.change(view)
    plus, minus = (torch.clamp(sign * advantages, min=0).expand_as(ratio) for sign in (1, -1))
    if survives is not None:
        plus, minus = plus * survives, minus * survives
    split = split_survivors(change, plus, minus, keep)
    counts = sample_counts(change, (plus > 0).double() * mask, (minus > 0).double() * mask)
    return TokenWeights(
        {cause: (ratio * weight * share).to(log_probs.dtype) for cause, weight in split.items()},
        {name: float(each.sum()) for name, each in counts.items()},
        float(ratio[mask].max()) if bool(mask.any()) else 0.0,
    )
