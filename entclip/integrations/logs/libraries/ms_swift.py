"""ms-swift's GRPO trainers at commit 3602360: TRL's names with entropies of its own; Megatron's say entropy twice."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.logs.libraries.trl import TRL
from entclip.integrations.logs.names import Alias, aliases

__all__ = ["MS_SWIFT"]

_OF_RANKS = ("means-of-means",)
_OWN = (
    *aliases("step", "global_step/max_steps"),
    *aliases("clip_low", "clip_ratio/low_mean", caveats=_OF_RANKS),
    *aliases("clip_high", "clip_ratio/high_mean", caveats=_OF_RANKS),
    Alias("clip_ratio/region_mean", "clip_merged", ("merged-sides", "means-of-means")),
    *aliases("entropy", "entropy/mean", "entropy/entropy_mean", caveats=("response-means",)),
    *aliases(
        "entropy_extreme",
        "entropy/max",
        "entropy/min",
        "entropy/entropy_max",
        "entropy/entropy_min",
        caveats=("entropy-extremes",),
    ),
    *aliases("entropy_quantile", "entropy/threshold", "entropy/entropy_threshold", caveats=("entropy-threshold",)),
    Alias("rollout_correction/kl", "kl_engine", ("engine-kl",)),
    Alias("rollout_correction/k3_kl", "kl_engine_k3", ("engine-kl",)),
    Alias("rollout_correction/is_weight_mean", "ratio_mean_engine", ("truncated-weights",)),
    Alias("rollout_correction/chi2_token", "chi2_engine"),
    Alias("rollout_correction/ess", "effective_samples"),
)

MS_SWIFT = replace(
    TRL,
    name="ms-swift",
    title="ms-swift",
    version="4.6.0.dev0",
    marks=(
        *TRL.marks,
        "global_step/max_steps",
        "entropy/mean & clip_ratio/low_mean",
        "entropy/mean & cispo_clip_ratio",
        "entropy/entropy_mean",
        "entropy/threshold",
        "rollout_correction/kl",
    ),
    aliases=(*_OWN, *(alias for alias in TRL.aliases if alias.name not in {own.name for own in _OWN})),
    configs=("ms-swift",),
)
