"""What a policy loss of verl can say of entropy: counts and sums of a micro-batch, and the numbers that they make once pooled.

verl averages what a loss returns over micro-batches and ranks, whose sizes differ. So the loss returns sums: the quotient of two
of their averages is that of the whole batch, while an average of shares would not be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from entclip.drift.samples import euclidean_value, natural_value, sampled_parts
from entclip.objectives.base import CAUSES, Objective
from entclip.objectives.dual_clip import DualClip

__all__ = ["PREFIX", "objective_of", "pooled", "sums"]

PREFIX = "entclip/"
_SIDES = ("low", "high", "other")
_KINDS = ("dH", "state_dH", "logit_dH")
_ALWAYS = ("tokens", "responses", "weight", "weight_sq", *(f"clip_{side}" for side in _SIDES), "log_ratio", "log_ratio_sq")


def objective_of(config: Any) -> DualClip:
    """Return the objective of verl's `vanilla` loss from an ActorConfig: its clip and its cap, as verl reads them."""
    low, high = (config.clip_ratio if width is None else width for width in (config.clip_ratio_low, config.clip_ratio_high))
    return DualClip(low, high, config.get("clip_ratio_c", 3.0))


def sums(
    objective: Objective,
    old_log_prob: Any,
    log_prob: Any,
    advantages: Any,
    response_mask: Any,
    loss_agg_mode: str = "token-mean",
    rollout_is_weights: Any = None,
    states: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Return counts and sums over a micro-batch, (B, T) tensors of the tokens that were taken.

    Counts: tokens, responses; clip_low, clip_high, clip_other (a dual clip's cap), of tokens whose gradient was removed. Sums:
    log_ratio, log_ratio_sq; weight, what the tokens count by loss_agg_mode; and for each cause dH_CAUSE, the parts of the
    entropy's change per unit learning rate in the natural geometry, c (s - b), with their squares and products with `weight` over
    responses, from which `pooled` makes a standard error.

    The loss sees log-probabilities of taken tokens alone, so b is the micro-batch's mean surprisal: dH_CAUSE is the covariance
    estimate of Cui et al. (2025), which holds differences between states as well as what happens within them. With `states` the
    sums state_dH_CAUSE have the entropy of each state as baseline, which is exact, and logit_dH_CAUSE are those of the euclidean
    geometry.

    Args:
        states: entropy, and for logit_dH also sum_pi_squared and sum_pi_squared_log_pi, each (B, T).
    """
    mask = response_mask.bool()
    new, old, advantage = (
        torch.where(mask, x.detach().double(), 0.0) for x in (log_prob, old_log_prob, advantages.expand_as(log_prob))
    )
    # Ratios in the loss's own arithmetic: what lies on a bound is decided as verl decides it.
    ratio_log = torch.where(mask, log_prob.detach() - old_log_prob.detach(), 0.0)
    parts = sampled_parts(objective, ratio_log, torch.zeros_like(ratio_log), advantage.to(ratio_log.dtype))
    share = mask.double()
    if loss_agg_mode == "seq-mean-token-mean":
        share = share / share.sum(-1, keepdim=True).clamp(min=1)
    counted = share if rollout_is_weights is None else share * rollout_is_weights.detach().double()
    n = share.sum(-1)
    out = {
        "tokens": float(mask.sum()),
        "responses": float(mask.any(-1).sum()),
        **{f"clip_{side}": float((getattr(parts, side) & mask).sum()) for side in _SIDES},
        "log_ratio": float((new - old).sum()),
        "log_ratio_sq": float(((new - old) ** 2).sum()),
        "weight": float(n.sum()),
        "weight_sq": float((n**2).sum()),
    }
    baseline = -(new * share).sum() / share.sum().clamp(min=1e-30)
    values = {"dH": natural_value(new, baseline)}
    if states is not None:
        held = {name: torch.where(mask, x.detach().double(), 0.0) for name, x in states.items()}
        values["state_dH"] = natural_value(new, held["entropy"])
        if {"sum_pi_squared", "sum_pi_squared_log_pi"} <= set(held):
            names = ("entropy", "sum_pi_squared", "sum_pi_squared_log_pi")
            values["logit_dH"] = euclidean_value(new, *(held[name] for name in names))
    for kind, value in values.items():
        for cause in CAUSES:
            y = (counted * parts.weights[cause].double() * value).sum(-1)
            out |= {
                f"{kind}_{cause}": float(y.sum()),
                f"{kind}_{cause}_sq": float((y**2).sum()),
                f"{kind}_{cause}_cross": float((y * n).sum()),
            }
    return out


def _sums_of(logged: Mapping[str, float]) -> dict[str, float]:
    """The ledger's sums in a log, by name without prefix; ValueError for one that is missing, NaN or infinite."""
    named = {name.removeprefix(PREFIX): value for name, value in logged.items()}
    kinds = [f"{kind}_{cause}" for kind in _KINDS for cause in CAUSES if f"{kind}_{cause}" in named]
    needed = [*_ALWAYS, *(f"{name}{end}" for name in kinds for end in ("", "_sq", "_cross"))]
    missing = [name for name in needed if name not in named]
    if missing:
        raise ValueError(f"the log has no {PREFIX}{missing[0]}: it is not of a run with loss_mode = entclip_vanilla.")
    x = {name: float(named[name]) for name in needed}
    if bad := [name for name, value in x.items() if not math.isfinite(value)]:
        raise ValueError(
            f"{PREFIX}{bad[0]} of the log is {x[bad[0]]}: the update had NaN or infinity among its log-probabilities, advantages "
            "or weights. Leave it out."
        )
    return x


def pooled(logged: Mapping[str, float], responses: int) -> dict[str, float | None]:
    """Return shares, log-ratios and entropy parts with standard errors of one update from what verl logged for it.

    Args:
        logged: the averages that verl logs, names with or without "entclip/"; others are ignored.
        responses: of the update over all ranks, by which the averages are known to be sums: ppo_mini_batch_size * rollout.n.
    Returns: clip_fraction_low, _high, _other of tokens; log_ratio_mean, log_ratio_rms; of each kind of dH that was logged each
        cause, in nats per unit learning rate, and its standard error over responses.
    Raises: ValueError for a log that lacks a number or has NaN or infinity in one, an update without a token, and a number of
        responses that cannot be.
    """
    x = _sums_of(logged)
    if not x["tokens"] > 0:
        raise ValueError("no token counted in this update: there is nothing to divide by.")
    if responses < 1 or responses % 1 or responses < x["responses"] * (1 - 1e-6):
        raise ValueError(
            f"responses = {responses!r}, and a micro-batch has {x['responses']:g} on average: give how many the update had over "
            "all ranks, ppo_mini_batch_size * rollout.n."
        )
    out: dict[str, float | None] = {f"clip_fraction_{side}": x[f"clip_{side}"] / x["tokens"] for side in _SIDES}
    out["log_ratio_mean"] = x["log_ratio"] / x["tokens"]
    out["log_ratio_rms"] = math.sqrt(x["log_ratio_sq"] / x["tokens"])
    batches = responses / x["responses"]  # how many micro-batches the averages are over
    for kind in _KINDS:
        for cause in CAUSES:
            name = f"{kind}_{cause}"
            if name not in x:
                continue
            mean = x[name] / x["weight"]
            spread = x[f"{name}_sq"] - 2 * mean * x[f"{name}_cross"] + mean**2 * x["weight_sq"]
            error = math.sqrt(max(spread, 0) / batches * responses / (responses - 1)) / x["weight"] if responses > 1 else None
            out[name], out[f"{name}_se"] = mean, error
    return out
