"""Defaults of the keys that decide what a clip does."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS"]

_ACTOR = "actor_rollout_ref.actor."
_ROLLOUT = "actor_rollout_ref.rollout."
_CORRECTION = "algorithm.rollout_correction."
DEFAULTS: dict[str, Any] = {
    _ACTOR + "clip_ratio": 0.2,
    _ACTOR + "clip_ratio_low": 0.2,
    _ACTOR + "clip_ratio_high": 0.2,
    _ACTOR + "clip_ratio_c": 3.0,
    _ACTOR + "policy_loss.loss_mode": "vanilla",
    _ACTOR + "loss_agg_mode": "token-mean",
    _ACTOR + "ppo_mini_batch_size": 256,
    _ACTOR + "ppo_epochs": 1,
    _ACTOR + "entropy_coeff": 0,
    _ACTOR + "calculate_entropy": False,
    _ACTOR + "use_kl_loss": False,
    _ACTOR + "kl_loss_coef": 0.001,
    _ACTOR + "tau_pos": 1.0,
    _ACTOR + "tau_neg": 1.05,
    _ACTOR + "use_dynamic_bsz": False,
    _ACTOR + "policy_loss.kl_cov_ratio": 0.0002,
    _ACTOR + "policy_loss.ppo_kl_coef": 0.1,
    _ACTOR + "fsdp_config.dtype": "bfloat16",
    _ROLLOUT + "temperature": 1.0,
    _ROLLOUT + "top_p": 1,
    _ROLLOUT + "top_k": -1,
    _ROLLOUT + "n": 1,
    "data.train_batch_size": 1024,
    "algorithm.adv_estimator": "gae",
    "algorithm.norm_adv_by_std_in_grpo": True,
    "algorithm.use_kl_in_reward": False,
    "algorithm.kl_ctrl.kl_coef": 0.001,
    "async_training.require_batches": 1,
    "async_training.trigger_parameter_sync_step": 4,
    "async_training.staleness_threshold": 0.1,
    _CORRECTION + "bypass_mode": False,
    _CORRECTION + "rollout_is": None,
    _CORRECTION + "rollout_rs": None,
    _CORRECTION + "loss_type": "ppo_clip",
}
