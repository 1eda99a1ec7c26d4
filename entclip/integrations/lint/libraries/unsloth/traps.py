"""Traps that only Unsloth has, or that it has from TRL's loss."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.libraries.trl.traps import cispo_bound, delta_below_high
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import shown

__all__: list[str] = []

rule("trl-cispo-bound", "error", "unsloth")(cispo_bound)
rule("trl-delta-below-high", "error", "unsloth")(delta_below_high)


@rule("unsloth-forces-high", "error", "unsloth")
def _forced(config: TrainerConfig) -> str | None:
    given = config.values.get("epsilon_high")
    if config.objective.value != "dapo" or given in (None, 0.28):
        return None
    return (
        f"epsilon_high = {shown(given)} is not kept: with loss_type = 'dapo' Unsloth sets it to 0.28 (and truncated completions "
        "are masked), saying so in one printed line. Take loss_type = 'bnpo' for a width of your own."
    )


@rule("entropy-not-logged", "warn", "unsloth")
def _not_logged(config: TrainerConfig) -> str | None:
    return (
        "Unsloth computes no entropy in GRPO (its forward pass returns none), so the logs have no `entropy`: measure it on a few "
        "prompts yourself, or train with TRL alone to see it."
    )
