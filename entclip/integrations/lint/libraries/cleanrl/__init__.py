"""CleanRL at commit fe8d8a0: its PPO scripts, each with defaults of its own."""

from __future__ import annotations

from entclip.integrations.lint.libraries.cleanrl.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["CLEANRL"]

CLEANRL = Library(
    name="cleanrl",
    title="CleanRL",
    version="of 2026-04-20",
    defaults=DEFAULTS,
    # A script that is only called ppo.py, or ppo_ and something else, may be anybody's.
    entry=r"(cleanrl/ppo(_\w+)?|ppo_(atari(_\w+)?|continuous_action|procgen|rnd_envpool))\.py",
    package=__name__,
    build=build,
    write=Notation("clip_coef", "clip_coef", form="--{key} {value}", dashes=True).write,
    losses=("ppo",),
    deciding=("clip_coef", "clip_vloss", "update_epochs", "norm_adv"),
    more_updates="raise --num-minibatches or --update-epochs",
    std_offset="ddof 1, +1e-8, over the minibatch",
    one_width="clip_coef",
    clip_metric=("losses/clipfrac", "ungated"),
)
