"""Defaults of the keys that decide what a clip does."""

from __future__ import annotations

from typing import Any

__all__ = ["DEFAULTS"]

DEFAULTS: dict[str, Any] = {
    "trainer.loss.type": "default",
    "trainer.loss.dppo_mask_low": 0.2,
    "trainer.loss.dppo_mask_high": 0.2,
    "trainer.loss.ipo_threshold": 0.1,
    "trainer.loss.kl_tau": 1e-3,
    "orchestrator.algo.type": "grpo",
    "orchestrator.max_off_policy_steps": 8,
    "orchestrator.group_size": 1,
    "orchestrator.train.sampling.temperature": 1.0,
}
