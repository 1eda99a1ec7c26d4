"""Defaults of the keys that decide what a clip does."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS"]

DEFAULTS: dict[str, Any] = {
    "actor.eps_clip": 0.2,
    "actor.eps_clip_low_high": None,
    "actor.dual_clip": None,
    "actor.policy_loss_type": "ppo",
    "actor.loss_agg_mode": "token-mean",
    "actor.entropy_coef": None,
    "train.batch_size": 128,
    "train.max_epochs": 1,
    "train.async_enable": False,
    "rollout.batch_size": 1024,
    "rollout.n_samples_per_prompt": 1,
    "rollout.temperature": 1.0,
    "rollout.top_p": 1.0,
    "algo.advantage.estimator": "gae",
    "algo.advantage.no_std_norm": False,
    "algo.advantage.is_correction_level": "off",
    "algo.advantage.is_correction_enable": False,
    "algo.kl.init_coef": 0.01,
    "algo.kl.use_loss": False,
    "ds.param_dtype": "bf16",
    "vllm.num_engines": None,
}
