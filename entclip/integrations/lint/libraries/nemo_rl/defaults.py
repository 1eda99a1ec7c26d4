"""Defaults of the keys that decide what a clip does: those of NeMo-RL's base configuration, grpo_math_1B.yaml."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS"]

DEFAULTS: dict[str, Any] = {
    "loss_fn.ratio_clip_min": 0.2,
    "loss_fn.ratio_clip_max": 0.2,
    "loss_fn.ratio_clip_c": None,
    "loss_fn.disable_ppo_ratio": False,
    "loss_fn.use_cispo": False,
    "loss_fn.force_on_policy_ratio": False,
    "loss_fn.sequence_level_importance_ratios": False,
    "loss_fn.token_level_loss": True,
    "loss_fn.reference_policy_kl_penalty": 0.01,
    "loss_fn.use_importance_sampling_correction": False,
    "grpo.num_prompts_per_step": 32,
    "grpo.num_generations_per_prompt": 16,
    "grpo.normalize_rewards": True,
    "grpo.async_grpo.enabled": False,
    "policy.train_global_batch_size": 512,
    "policy.precision": "bfloat16",
    "policy.generation.temperature": 1.0,
    "policy.generation.top_p": 1.0,
    "policy.generation.top_k": None,
}
