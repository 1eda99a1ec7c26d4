"""Traps that only prime-rl has, or that it has in its own way."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig, stated
from entclip.integrations.lint.rules import rule

__all__: list[str] = []


@rule("singleton-group", "error", "prime-rl")
def _singleton(config: TrainerConfig) -> str | None:
    if config.group_size.value != 1 or config.objective.value == "custom" or config.kind == "unused":
        return None
    if config.doubtful or config.values.get("orchestrator.algo.type", "grpo") == "rae":
        return None
    return f"{stated(config.group_size)}: a reward minus its own mean is 0, so no token has an advantage. Set it to 8 or more."


@rule("older-version", "warn", "prime-rl")
def _older(config: TrainerConfig) -> str | None:
    if not config.assumed:
        return None
    return (
        f"{config.assumed}, which is taken for granted. Its bounds are not given here; from 0.6 on the key is "
        "orchestrator.group_size."
    )
