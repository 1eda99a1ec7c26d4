"""From the arguments of PPO to facts, as stable_baselines3/ppo/ppo.py reads them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import Reader, TrainerConfig, Updates
from entclip.integrations.lint.one_width import one_width, scaled_by_batch
from entclip.integrations.lint.values import Unresolved

__all__ = ["DEFAULTS", "build"]

DEFAULTS: dict[str, Any] = {
    "n_steps": 2048,
    "batch_size": 64,
    "n_epochs": 10,
    "clip_range": 0.2,
    "clip_range_vf": None,
    "normalize_advantage": True,
    "ent_coef": 0.0,
    "target_kl": None,
    "n_envs": Unresolved("the number of environments"),
}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what PPO computes from its arguments: one width for both sides, and about n_epochs passes over a rollout."""
    width = read("clip_range")
    # A schedule: the name of one, as rl_zoo3 writes it, or a function.
    width = replace(width, value=Unresolved(str(width.value))) if isinstance(width.value, str) else read.bound("clip_range")
    # Looked at before each update but the first, whose ratio is 1; beyond 1.5 times the target.
    updates = _updates(read).stopped(read.number("target_kl", optional=True), 1.5)
    facts = one_width(read, evidence, width, scaled_by_batch(read("normalize_advantage")), updates)
    return replace(facts, entropy_coef=read.number("ent_coef"))


def _updates(read: Reader) -> Updates:
    """A pass over a rollout ends with a smaller minibatch where batch_size does not divide it."""
    if "n_timesteps" in read.values:  # a key of rl_zoo3 alone, which takes one environment unless it is told more
        read = replace(read, library=replace(read.library, defaults=DEFAULTS | {"n_envs": 1}))
    epochs = read.count("n_epochs")
    updates = replace(read.updates(("n_steps", "n_envs"), "batch_size", ("n_epochs",)), least=epochs or 1.0)
    if updates.count is None or epochs is None:
        return updates
    whole = math.ceil(updates.count / epochs - 1e-9)
    rounded = "" if whole == updates.count / epochs else f", {whole} minibatches a pass"
    return replace(updates, count=whole * epochs, formula=f"{updates.formula}{rounded}")
