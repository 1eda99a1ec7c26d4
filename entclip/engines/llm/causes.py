"""The gradient of a minibatch by cause, and the parameter step that each cause makes. Claims T4, T5, T13.

Every token-level surrogate is a weight c(r, A) on grad log pi, and c splits into causes that add up (objectives/base.py): a
backward pass for the sum and one for each side give the gradient of every cause. An optimiser turns gradients into steps; held
at the preconditioner of the actual step that map is linear, momentum and decay its constant parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from entclip.objectives.base import Objective, View, sample_counts
from entclip.objectives.drop import Keep, split_survivors

__all__ = ["TokenWeights", "carry", "step_by_cause", "token_share", "token_weights"]


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
    """Return what each token of a minibatch counts, (N, R), summing to 1: mean over tokens, or over responses of their means."""
    counted = mask.to(torch.float64)
    if aggregation == "token":
        return counted / counted.sum()
    return counted / counted.sum(-1, keepdim=True) / len(counted)


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
    view = View.of(log_probs, old_log_probs)
    ratio, change = view.ratio, objective.change(view)
    plus, minus = (torch.clamp(sign * advantages, min=0).expand_as(ratio) for sign in (1, -1))
    if survives is not None:
        plus, minus = plus * survives, minus * survives
    split = split_survivors(change, plus, minus, keep)
    counts = sample_counts(change, (plus > 0).double() * mask, (minus > 0).double() * mask)
    return TokenWeights(
        {cause: (ratio * weight * share).to(log_probs.dtype) for cause, weight in split.items()},
        {name: float(each.sum()) for name, each in counts.items()},
        float(ratio[mask].max()),
    )


def carry(moments: dict[str, list[Any]], gradients: Mapping[str, list[Any]], beta: float) -> None:
    """Carry the first moments by cause through an update: beta m + (1 - beta) g for each, in place; they add up to the
    optimiser's own."""
    for cause in dict.fromkeys([*moments, *gradients]):  # in this order in every process, unlike a set
        old, new = moments.get(cause), gradients.get(cause)
        if old is None:
            assert new is not None
            moments[cause] = [(1 - beta) * g for g in new]
        elif new is None:
            moments[cause] = [beta * m for m in old]
        else:
            moments[cause] = [beta * m + (1 - beta) * g for m, g in zip(old, new, strict=True)]


def step_by_cause(
    optimizer: Any,
    before: Sequence[Mapping[str, Any]],
    gradients: Mapping[str, list[Any]],
    slope: list[Any],
    moments: Mapping[str, list[Any]] | None = None,
) -> dict[str, float]:
    """Return <slope, step of each cause> in nats, with the preconditioner of the step just taken held fixed; T13's convention.

    SGD: step = lr g. Adam: step = P [(1 - beta1) g + beta1 m], P = lr / (bc1 (sqrt(v/bc2) + eps)) with v after the step. A
    decoupled decay is -lr decay theta; adam's own enters as a gradient -decay theta. The rest is `momentum`, unless `moments` has
    the first moment of each cause (`carry`): then a cause's step is P m of its own, past minibatches included.

    Args:
        before: of each parameter, its value and first moment (None at the first step) before the step.
        gradients: ascent directions of each cause, one tensor per parameter.
        slope: gradient of the entropy, one tensor per parameter.
    """
    group = optimizer.param_groups[0]
    rate, decay = group["lr"], group["weight_decay"]
    adam = "betas" in group
    parts = gradients if moments is None else moments
    out = dict.fromkeys(parts, 0.0)
    if adam:
        out |= {"weight_decay": 0.0} if moments is not None else {"momentum": 0.0, "weight_decay": 0.0}
    for index, parameter in enumerate(group["params"]):
        price = rate * slope[index]  # what one unit of ascent direction is worth; for Adam of first moment
        if adam:
            state, (beta1, beta2) = optimizer.state[parameter], group["betas"]
            step = float(state["step"])
            root = torch.sqrt(state["exp_avg_sq"] / (1 - beta2**step)) + group["eps"]
            value, moment = before[index]["value"], before[index]["moment"]
            if decay and isinstance(optimizer, torch.optim.AdamW):
                out["weight_decay"] -= decay * _dot(price, value)
            price = price / (root * (1 - beta1**step))
            if moment is not None and moments is None:
                out["momentum"] -= beta1 * _dot(price, moment)
            if decay and not isinstance(optimizer, torch.optim.AdamW):
                out["weight_decay"] -= decay * (1 - beta1) * _dot(price, value)
        fresh = 1.0 if moments is not None or not adam else 1 - beta1
        for cause, vectors in parts.items():
            out[cause] += fresh * _dot(price, vectors[index])
    return out


def _dot(a: Any, b: Any) -> float:
    return float(torch.sum(a * b, dtype=torch.float64))
