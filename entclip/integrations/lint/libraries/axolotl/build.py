"""From the keys of axolotl to facts: TRL's, whose names its group `trl` has."""

from __future__ import annotations

from entclip.integrations.lint.facts import Reader, TrainerConfig
from entclip.integrations.lint.libraries.trl.build import build as build_trl
from entclip.integrations.lint.values import shown

__all__ = ["build"]


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what TRL computes from the keys that axolotl passes on; ValueError for a training without GRPO's clip."""
    kind = read("rl")
    if kind.value != "grpo":
        raise ValueError(f"rl = {shown(kind.value)}: only grpo is read here, which is what has this clip.")
    return build_trl(read, evidence)
