"""verl's console logger, file logger and trackers."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

VERL = LogLibrary(
    name="verl",
    title="verl",
    version="0.9.1",
    marks=(
        "actor/pg_clipfrac",
        "actor/pg_clipfrac_higher",
        "actor/pg_clipfrac_lower",
        "actor/ppo_kl",
        "actor/pg_loss",
        "actor/entropy",
        "critic/score/mean",
    ),
    aliases=(
        *aliases("step", "training/global_step", "step", "_step"),
        Alias("actor/pg_clipfrac", "clip_merged", ("merged-sides", "means-of-means")),
        # EasyR1's name of the same.
        Alias("actor/pg_clipfrac_higher", "clip_merged", ("merged-sides", "means-of-means")),
        Alias("actor/pg_clipfrac_lower", "dual_clip", ("dual-clip-name",)),
        # As registered losses of users log them.
        *aliases("clip_low", "entclip/clip_low", "entclip/clip_fraction_low"),
        *aliases("clip_high", "entclip/clip_high", "entclip/clip_fraction_high"),
        Alias("actor/entropy", "entropy", ("loss-mode-entropy",)),
        Alias("actor/entropy_loss", "entropy", ("loss-mode-entropy",)),
        Alias("actor/ppo_kl", "kl_old"),
        Alias("actor/kl_loss", "kl_reference", ("reference-kl",)),
        Alias("rollout_corr/kl", "kl_engine", ("engine-kl",)),
        Alias("rollout_corr/k3_kl", "kl_engine_k3", ("engine-kl",)),
        Alias("actor/pg_loss", "loss"),
        *aliases("reward", "critic/score/mean", "critic/rewards/mean"),
        *aliases("length", "response_length/mean"),
        Alias("response_length/clip_ratio", "truncated", ("truncation-share",)),
    ),
    rows="rollout",
    configs=("verl", "easyr1"),
)
