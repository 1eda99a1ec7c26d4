"""From the keys of ms-swift to facts: TRL's arithmetic with what ms-swift changes."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig
from entclip.integrations.lint.libraries.trl.build import build as build_trl
from entclip.integrations.lint.values import shown

__all__ = ["build"]

_SCALES = {"grpo": "group", "rloo": "none", "reinforce_plus_plus": "batch"}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what ms-swift computes from its keys; ValueError for a training without GRPO's clip."""
    kind = read("rlhf_type")
    if kind.value != "grpo":
        default = "" if kind.explicit else " (the default)"
        raise ValueError(f"rlhf_type = {shown(kind.value)}{default}: only grpo is read here, which is what has this clip.")
    config = build_trl(read, evidence)
    scale, estimator, level = read("scale_rewards"), read("advantage_estimator"), config.level
    if scale.value is None:
        scale = Fact(_SCALES.get(str(estimator.value), estimator.value), estimator.key, estimator.explicit)
    elif isinstance(scale.value, bool):  # up to 3.9
        scale = replace(scale, value="group" if scale.value else "none")
    if level.value == "sequence_token":
        level = replace(level, value="sequence")
    engine = read("rollout_importance_sampling_mode") if read("use_vllm").value is True else Fact("same engine", "use_vllm")
    stale = "async_generate" if read("async_generate").value is True else ""
    return replace(
        config,
        level=level,
        advantage=scale,
        engine_correction=engine,
        entropy_logged=read("log_entropy").value is True,
        updates=replace(config.updates, stale=stale),
    )
