"""TRL's PPO: PPOConfig up to 0.11 (read at 0.11.4), and the one that followed it (read at 0.15.2)."""

from __future__ import annotations

from entclip.integrations.lint.libraries.trl_ppo.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["TRL_PPO"]

TRL_PPO = Library(
    name="trl-ppo",
    title="TRL PPO",
    version="0.11.4 and 0.15.2",
    defaults=DEFAULTS,
    package=__name__,
    build=build,
    write=Notation("cliprange", "cliprange", form="{key}={value}").write,
    losses=("ppo",),
    deciding=("cliprange", "cliprange_value", "num_ppo_epochs", "init_kl_coef", "adap_kl_ctrl"),
    other_trainers={
        "rloo_k": "TRL's RLOO trainer of 2024 and 2025: its ratio is that of a whole sequence, the product of its tokens'"
    },
    python_classes=("PPOConfig", "PPOv2Config"),
    python_modules=("trl",),
    more_updates="raise ppo_epochs or num_ppo_epochs, or take more minibatches",
    std_offset="ddof 1, +1e-8 on the variance, over all tokens of a rollout",
    one_width="cliprange",
    clip_metric=("ppo/policy/clipfrac, later policy/clipfrac_avg,", "merged"),
)
