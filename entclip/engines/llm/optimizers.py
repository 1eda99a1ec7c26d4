"""The parameter step that each cause makes through an optimiser of torch. Claim T13.

An optimiser turns gradients into steps; held at the preconditioner of the actual step that map is linear, momentum and decay its
constant parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch

from entclip.drift.adam import Adam, adam_price

__all__ = ["LINEAR", "MOMENT", "adam_reach", "carry", "step_by_cause"]

LINEAR = (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW)  # whose steps are known as functions of the gradient
MOMENT = {torch.optim.SGD: "momentum_buffer", torch.optim.Adam: "exp_avg", torch.optim.AdamW: "exp_avg"}


def carry(averages: dict[str, list[Any]], gradients: Mapping[str, list[Any]], beta: float) -> None:
    """Carry the first averages by cause through an update: beta m + (1 - beta) g for each, in place; they add up to the
    optimiser's own."""
    for cause in dict.fromkeys([*averages, *gradients]):  # in this order in every process, unlike a set
        old, new = averages.get(cause), gradients.get(cause)
        if old is None:
            assert new is not None
            averages[cause] = [(1 - beta) * g for g in new]
        elif new is None:
            averages[cause] = [beta * m for m in old]
        else:
            averages[cause] = [beta * m + (1 - beta) * g for m, g in zip(old, new, strict=True)]


class _Price(NamedTuple):
    """What the parts of one parameter's step are worth in nats: `fresh` times `price` an ascent direction of this update; `lines`
    the rest."""

    price: Any
    fresh: float
    lines: dict[str, float]


def step_by_cause(
    optimizer: Any,
    before: Sequence[Mapping[str, Any] | None],
    gradients: Mapping[str, list[Any]],
    slope: list[Any],
    averages: Mapping[str, list[Any]] | None = None,
) -> dict[str, float]:
    """Return <slope, step of each cause> in nats, with the preconditioner of the step just taken held fixed; T13's convention.

    SGD: step = lr b, b = mu b + (1 - dampening) g with momentum, which starts at g; Nesterov steps along g + mu b. Adam: step =
    P [(1 - beta1) g + beta1 m], P = lr / (bc1 (sqrt(v/bc2) + eps)) with v after the step. A decoupled decay is -lr decay theta;
    adam's own and sgd's enter as a gradient -decay theta. The rest is `momentum`, unless `averages` has the first moment of each
    cause (`carry`): then a cause's step is P m of its own, past minibatches included.

    Args:
        optimizer: SGD, Adam or AdamW of torch, in the state after its step.
        before: of each parameter, its value and first moment (None at the first step) before the step; None for one that the
            step left alone.
        gradients: ascent directions of each cause, one tensor per parameter.
        slope: gradient of the entropy, one tensor per parameter.
    """
    adam = "betas" in optimizer.param_groups[0]
    parts = gradients if averages is None else averages
    out = dict.fromkeys(parts, 0.0)
    if adam:
        out |= {"weight_decay": 0.0} if averages is not None else {"momentum": 0.0, "weight_decay": 0.0}
    price_of = _adam if adam else _sgd
    index = -1
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            index += 1
            held = before[index]
            if held is None:
                continue
            priced = price_of(optimizer, group, parameter, held, slope[index], carried=averages is not None)
            for line, value in priced.lines.items():
                out[line] = out.get(line, 0.0) + value
            for cause, vectors in parts.items():
                out[cause] += priced.fresh * _dot(priced.price, vectors[index])
    return out


def adam_reach(optimizer: Any, slope: list[Any]) -> float:
    """Return the most, in nats, that one gradient could do to entropy at first order in the step that Adam has just taken.

    v holds (1 - beta2) g^2 at least, so that a gradient g moves no coordinate further than
    lr (1 - beta1) / bc1 sqrt(bc2 / (1 - beta2)); this times sum |slope|. A cause beyond it has been divided by the v of the step
    that was taken, in which other causes cancelled it: no step could have had it.
    """
    out, index = 0.0, -1
    for group in optimizer.param_groups:
        beta1, beta2 = group["betas"]
        for parameter in group["params"]:
            index += 1
            if slope[index] is None or not (state := optimizer.state.get(parameter)):
                continue
            update = int(state["step"])
            longest = (1 - beta1) / (1 - beta1**update) * ((1 - beta2**update) / (1 - beta2)) ** 0.5
            out += float(group["lr"]) * longest * float(slope[index].abs().sum(dtype=torch.float64))
    return out


def _adam(optimizer: Any, group: Any, parameter: Any, held: Mapping[str, Any], slope: Any, *, carried: bool) -> _Price:
    state, (beta1, beta2) = optimizer.state[parameter], group["betas"]
    coupled = not group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW))
    update, second = int(state["step"]), state["max_exp_avg_sq" if group["amsgrad"] else "exp_avg_sq"]
    adam = Adam(float(group["lr"]), beta1, beta2, group["eps"], group["weight_decay"], coupled, update)
    made = adam_price(adam, slope, second)
    lines: dict[str, float] = {}
    if held["moment"] is not None and not carried:  # torch descends: its averages are those of -g
        lines["momentum"] = -made.past * _dot(made.price, held["moment"])
    if adam.decay:
        lines["weight_decay"] = made.decay * _dot(made.decay_price, held["value"])
    return _Price(made.price, 1.0 if carried else made.own, lines)


def _sgd(optimizer: Any, group: Any, parameter: Any, held: Mapping[str, Any], slope: Any, *, carried: bool) -> _Price:
    decay, mu, moment = group["weight_decay"], group["momentum"], held["moment"]
    price, fresh = float(group["lr"]) * slope, 1.0
    lines: dict[str, float] = {}
    if mu:
        fresh = 1.0 if moment is None else 1 - group["dampening"]
        past = mu
        if group["nesterov"]:
            fresh, past = 1 + mu * fresh, mu * mu
        lines["momentum"] = 0.0 if moment is None else -past * _dot(price, moment)
    if decay:
        lines["weight_decay"] = -fresh * decay * _dot(price, held["value"])
    return _Price(price, fresh, lines)


def _dot(a: Any, b: Any) -> float:
    return float(torch.sum(a * b, dtype=torch.float64))
