"""From a GRPOConfig under Unsloth to facts: TRL's, with what unsloth/models/rl.py puts in its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig
from entclip.integrations.lint.libraries.trl.build import build as build_trl
from entclip.integrations.lint.libraries.trl.defaults import DEFAULTS as TRL

__all__ = ["DEFAULTS", "build"]

DEFAULTS: dict[str, Any] = TRL | {
    "loss_type": "bnpo",
    "beta": 0.001,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "top_k": None,
    "vllm_importance_sampling_correction": False,
    "bf16": False,
    "vllm_sampling_params": None,
}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what Unsloth makes of the keys: with loss_type = dapo it sets epsilon_high to .28, whatever is given."""
    loss, scale = read("loss_type"), read("scale_rewards")
    forced = loss.value == "dapo"
    values = dict(read.values) | ({"epsilon_high": 0.28} if forced else {})
    found = build_trl(replace(read, values=values), evidence)
    unscaled = loss.value == "dr_grpo" and scale.value is True
    return replace(
        found,
        advantage=replace(scale, value="none") if unscaled else found.advantage,
        log_prob_dtype=Fact("the model's", "dtype"),
        entropy_logged=False,
    )
