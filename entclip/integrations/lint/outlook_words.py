"""What a forecast from a configuration rests on, line by line: carried over, by default, assumed, not expressed."""

from __future__ import annotations

import math
from typing import Any

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.rules import findings, rules
from entclip.integrations.lint.values import is_number, shown
from entclip.support.sentences import sentences

__all__ = ["assumed", "left_out", "said"]

_RARE = 3.0  # of the noise: a bound on log-ratios beyond it is seldom reached


def said(config: TrainerConfig, updates: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what the configuration says, and what its library's defaults do where it says nothing."""
    facts = {"eps_low": config.low, "eps_high": config.high, "group size": config.group_size}
    if config.one_width:
        facts = {"the width of both sides": config.low, "group size": config.group_size}
    facts["advantages divided by"] = config.advantage

    def lines(explicit: bool) -> list[str]:
        return [
            f"{name} = {shown(fact.value)} ({fact.key})"
            for name, fact in facts.items()
            if fact.explicit is explicit and fact.key and fact.value is not None
        ]

    return (*lines(True), f"{updates} updates per rollout ({config.updates.formula})"), tuple(lines(False))


def assumed(config: TrainerConfig, policy: dict[str, Any] | None, group: int | None, length: float | None) -> tuple[str, ...]:
    """Return what neither the configuration nor its library says, and is taken."""
    where = "next-token distributions of SmolLM2-135M (--policy gives others)" if policy is None else "the policy given"
    out = [
        "random reward, 1 or 0 with probability .5: what the clip does by itself, beside the reward's own term",
        where,
        "entropy values of both geometries, natural (surprisal) and euclidean (pi times it): a trained network is neither",
    ]
    if group is None:
        out.append("advantages independent of one another: no group size in the configuration")
    if length is not None:
        out.append(
            f"every sequence has {length:g} tokens, whose noise is independent and the same for all actions: where tokens of a "
            "sequence move together, more of them are clipped"
        )
    if config.assumed:
        out.append(config.assumed)
    if config.passes_on or config.asks:
        out.append(f"the script is run without arguments of its own, which it {config.handed_on}")
    return tuple(out)


def left_out(config: TrainerConfig, rms: float | None) -> tuple[str, ...]:
    """Return what the configuration says and no forecast here can express."""
    out = ["the learning rate: an optimiser's step on weights is no step of logits, so that terms are over eta M and not in nats"]
    if is_number(config.cap.value):
        few = "few" if isinstance(rms, float) and math.log(config.cap.value) >= _RARE * rms else "uncounted"
        out.append(f"the cap of the dual clip ({config.cap.key} = {shown(config.cap.value)}): {few} ratios reach it")
    for fact, name in ((config.entropy_coef, "the entropy bonus"), (config.kl_coef, "the KL term")):
        if is_number(fact.value) and fact.value:
            out.append(f"{name} ({fact.key} = {shown(fact.value)})")
    if is_number(config.temperature.value) and config.temperature.value != 1:
        out.append(f"the temperature ({config.temperature.key} = {shown(config.temperature.value)})")
    amiss = [each for each in findings(config) if rules()[each.id].severity == "error"]
    return (*out, *(f"what lint calls an error: {sentences(each.message)[0].rstrip('.')}" for each in amiss))
