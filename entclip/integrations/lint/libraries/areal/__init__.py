"""AReaL 1.0.4: asynchronous, with the ratio to the engine's or to recomputed log-probabilities."""

from __future__ import annotations

from entclip.integrations.lint.libraries.areal import traps
from entclip.integrations.lint.libraries.areal.build import DEFAULTS, build
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation

__all__ = ["AREAL", "traps"]

AREAL = Library(
    name="areal",
    title="AReaL",
    version="1.0.4",
    defaults=DEFAULTS,
    package=__name__,
    build=build,
    write=Notation(
        "actor.eps_clip",
        "actor.eps_clip_higher",
        cap="actor.c_clip",
        form="{key}={value}",
        lines={"sequence": "actor.importance_sampling_level=sequence"},
    ).write,
    losses=("ppo", "sapo"),
    deciding=(
        "gconfig.",
        "actor.ppo_n_minibatches",
        "actor.eps_clip_higher",
        "actor.use_decoupled_loss",
        "actor.recompute_logprob",
        "actor.kl_ctl",
        "rollout.max_head_offpolicyness",
    ),
    more_updates="set actor.ppo_n_minibatches above 1",
    std_offset="ddof 1 unless std_unbiased is false, +1e-5",
    truncation={"gconfig.top_p": (1,), "gconfig.top_k": (int(1e8),)},
    sapo_keys=("actor.sapo_tau_pos", "actor.sapo_tau_neg"),
    precise="set actor.dtype: float32",
    clip_metric=("clip_ratio", "merged"),
    other_files=lambda values: ["config"] if values.get("config") is not None else [],
)
