"""Names that say what they are, in tables that people write themselves. `kl` is none of them: most mean the reference policy."""

from entclip.integrations.logs.names import LogLibrary, aliases

PLAIN = LogLibrary(
    name="plain",
    title="a table with plain names",
    version="",
    marks=(
        "clip_fraction_low",
        "clip_fraction_high",
        "log_ratio_rms",
        "inner_step",
        "clip_low_share",
        "clip_high_share",
        "clipfrac_low",
        "clipfrac_high",
    ),
    aliases=(
        *aliases("step", "step", "global_step", "_step"),
        *aliases("rollout", "rollout"),
        *aliases("inner_step", "inner_step"),
        *aliases("batch", "batch", "batch_id"),
        *aliases("clip_low", "clip_fraction_low", "clipfrac_low", "clip_frac_low", "clip_low_share", "entclip/clip_low"),
        *aliases("clip_high", "clip_fraction_high", "clipfrac_high", "clip_frac_high", "clip_high_share", "entclip/clip_high"),
        *aliases("clip_merged", "clip_fraction", "clipfrac", "clip_frac", caveats=("merged-sides", "gate-unknown")),
        *aliases("entropy", "entropy"),
        *aliases("kl_old", "kl_old", "approx_kl", "kl_old_new"),
        *aliases("kl_old_k3", "kl_old_k3"),
        *aliases("ratio_mean", "ratio_mean", "ratio/mean"),
        *aliases("log_ratio_mean", "log_ratio_mean"),
        *aliases("log_ratio_rms", "log_ratio_rms"),
        *aliases("reward", "reward", "reward_mean"),
        *aliases("reward_std", "reward_std"),
        *aliases("flat_groups", "flat_groups"),
        *aliases("length", "length", "response_length"),
        *aliases("measured", "measured", "entclip/measured"),
    ),
    rows="update",
)
