"""Stable-Baselines3 2.8.0: PPO(...) in a Python script, or settings of rl_zoo3 2.9.2 in YAML."""

from __future__ import annotations

from entclip.integrations.lint.libraries.sb3.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["SB3"]

SB3 = Library(
    name="sb3",
    title="Stable-Baselines3",
    version="2.8.0",
    defaults=DEFAULTS,
    package=__name__,
    build=build,
    write=Notation("clip_range", "clip_range", form="{key}={value}").write,
    losses=("ppo",),
    deciding=("clip_range", "clip_range_vf", "n_epochs"),  # A2C has normalize_advantage, too
    python_classes=("PPO",),
    python_modules=("stable_baselines3",),
    python_calls={"make_vec_env": ("n_envs",)},
    more_updates="raise n_epochs, or n_steps x n_envs above batch_size",
    std_offset="ddof 1, +1e-8, over the minibatch",
    one_width="clip_range",
    clip_metric=("train/clip_fraction", "ungated"),
)
