"""Traps that only slime has."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import shown

__all__: list[str] = []


@rule("slime-dual-clip-dead", "warn", "slime")
def _dead(config: TrainerConfig) -> str | None:
    cap = config.get("eps_clip_c")
    if cap.value is None:
        return None
    return (
        f"eps_clip_c = {shown(cap.value)} is not read by {config.library.release}: it has the flag, but its policy loss is "
        f"called without it, so tokens with A < 0 and a large ratio keep their gradient. Later code hands it over, and then it "
        f"is a dual clip at {shown(cap.value)}: look whether policy_loss_function of your copy does."
    )
