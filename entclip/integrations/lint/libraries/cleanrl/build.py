"""From the flags of CleanRL's PPO scripts to facts; what is not set has the default of the script that is run."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import Reader, TrainerConfig
from entclip.integrations.lint.one_width import one_width, scaled_by_batch
from entclip.integrations.lint.values import Unresolved

__all__ = ["DEFAULTS", "build"]

DEFAULTS: dict[str, Any] = {
    "clip_coef": 0.2,
    "num_minibatches": 4,
    "update_epochs": 4,
    "ent_coef": 0.01,
    "norm_adv": True,
    "target_kl": None,
}
_ATARI = {"clip_coef": 0.1}
_SCRIPTS: dict[str, dict[str, Any]] = {
    "ppo": {},
    "ppo_atari": _ATARI,
    "ppo_atari_envpool": _ATARI,
    "ppo_atari_lstm": _ATARI,
    "ppo_atari_multigpu": _ATARI,
    "ppo_continuous_action": {"num_minibatches": 32, "update_epochs": 10, "ent_coef": 0.0},
    "ppo_procgen": {"num_minibatches": 8, "update_epochs": 3},
    "ppo_rnd_envpool": _ATARI | {"ent_coef": 0.001},
}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what a PPO script of CleanRL computes from its flags."""
    found = re.search(r"(ppo\w*)\.py", read.command)
    script = found[1] if found else str(read.values.get("exp_name", ""))
    if script in _SCRIPTS:
        own = DEFAULTS | _SCRIPTS[script]
    else:  # another script, or a fork: its defaults are not known
        own = {key: Unresolved(f"the default of {script or 'the script'}") for key in DEFAULTS}
    read = replace(read, library=replace(read.library, defaults=own))
    updates = read.updates(("num_minibatches", "update_epochs"))
    # Looked at after each pass over the rollout, so that the first one is whole.
    updates = updates.stopped(read.number("target_kl", optional=True), 1.0, read.count("num_minibatches") or 1.0)
    facts = one_width(read, evidence, read.bound("clip_coef"), scaled_by_batch(read("norm_adv")), updates)
    return replace(facts, entropy_coef=read.number("ent_coef"))
