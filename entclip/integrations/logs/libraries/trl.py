"""TRL's GRPO trainer, and trainers that log its names (Unsloth, axolotl)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from entclip.integrations.logs.names import Alias, LogLibrary, aliases


def _passes(values: Mapping[str, Any]) -> int | None:
    """How often the batch of a row comes again at once: a generation batch that is one update's, used num_iterations times."""
    iterations, accumulation = values.get("num_iterations", 1), values.get("gradient_accumulation_steps", 8)
    per_generation = values.get("steps_per_generation", accumulation)
    whole = isinstance(iterations, int) and per_generation == accumulation and "generation_batch_size" not in values
    return iterations if whole else None


TRL = LogLibrary(
    name="trl",
    title="TRL",
    version="1.16.0",
    marks=(
        "clip_ratio/low_mean",
        "clip_ratio/high_mean",
        "clip_ratio/region_mean",
        "cispo_clip_ratio",
        "frac_reward_zero_std",
        "completions/mean_length",
        "completions/clipped_ratio",
    ),
    aliases=(
        *aliases("step", "step", "global_step", "_step"),
        *aliases("clip_low", "clip_ratio/low_mean"),
        *aliases("clip_high", "clip_ratio/high_mean"),
        *aliases("clip_merged", "clip_ratio/region_mean", "clip_ratio", caveats=("merged-sides",)),
        Alias("clip_ratio/low_min", "low_extreme", ("extremes",)),
        Alias("clip_ratio/high_max", "high_extreme", ("extremes",)),
        Alias("cispo_clip_ratio", "held", ("held-weight",)),
        Alias("entropy", "entropy"),
        Alias("kl", "kl_reference", ("reference-kl",)),
        Alias("sampling/importance_sampling_ratio/mean", "ratio_mean_engine", ("truncated-weights",)),
        *aliases("ratio_extreme_engine", "sampling/importance_sampling_ratio/min", "sampling/importance_sampling_ratio/max"),
        Alias("sampling/sampling_logp_difference/mean", "log_prob_gap_engine"),
        *aliases("reward", "reward"),
        *aliases("reward_std", "reward_std"),
        *aliases("flat_groups", "frac_reward_zero_std"),
        *aliases("length", "completions/mean_length", "completion_length"),
        Alias("completions/clipped_ratio", "truncated", ("truncation-share",)),
        *aliases("entropy_coef", "entropy_coef"),
        *aliases("loss", "loss"),
        *aliases("grad_norm", "grad_norm"),
        *aliases("rate", "learning_rate"),
    ),
    rows="update",
    passes=_passes,
    configs=("trl", "axolotl", "unsloth", "ms-swift"),
)
