"""Defaults of the keys that decide what a clip does, those of TRL where ms-swift has none of its own."""

from __future__ import annotations

from typing import Any

from entclip.integrations.lint.libraries.trl.defaults import DEFAULTS as TRL

__all__ = ["DEFAULTS"]

DEFAULTS: dict[str, Any] = TRL | {
    "rlhf_type": "dpo",
    "loss_type": "grpo",
    "temperature": 0.9,
    "top_p": 1.0,
    "top_k": -1,
    "beta": 0.04,
    "advantage_estimator": "grpo",
    "scale_rewards": None,
    "rollout_importance_sampling_mode": None,
    "async_generate": False,
    "tau_pos": 1.0,
    "tau_neg": 1.05,
    "log_entropy": False,
    "global_batch_size": 16,
}
