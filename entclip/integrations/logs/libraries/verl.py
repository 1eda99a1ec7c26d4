"""verl's console logger, file logger and trackers. Trainer and engine are compared under rollout_corr/, up to 0.6 mismatch/."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["VERL"]


def _of_weights(what: str) -> tuple[str, str]:
    """The names of a statistic of the weights that make up for the engine, the newer first."""
    return f"rollout_corr/rollout_is_{what}", f"mismatch/rollout_is_{what}"


VERL = LogLibrary(
    name="verl",
    title="verl",
    version="0.9.1",
    marks=(
        "actor/pg_clipfrac",
        "actor/pg_clipfrac_lower",
        "actor/ppo_kl",
        "actor/pg_loss",
        "actor/entropy",
        "critic/score/mean",
    ),
    aliases=(
        *aliases("step", "training/global_step", "step", "_step"),
        Alias("actor/pg_clipfrac", "clip_merged", ("merged-sides", "means-of-means")),
        Alias("actor/pg_clipfrac_lower", "dual_clip", ("dual-clip-name",)),
        # As registered losses of users log them.
        *aliases("clip_low", "entclip/clip_low", "entclip/clip_fraction_low"),
        *aliases("clip_high", "entclip/clip_high", "entclip/clip_fraction_high"),
        Alias("actor/entropy", "entropy", ("loss-mode-entropy",)),
        Alias("actor/entropy_loss", "entropy", ("loss-mode-entropy",)),
        Alias("actor/ppo_kl", "kl_old"),
        Alias("actor/kl_loss", "kl_reference", ("reference-kl",)),
        *aliases("kl_engine", "rollout_corr/kl", "mismatch/mismatch_kl", caveats=("engine-kl",)),
        *aliases("kl_engine_k3", "rollout_corr/k3_kl", "mismatch/mismatch_k3_kl", caveats=("engine-kl",)),
        *aliases("ratio_mean_engine", *_of_weights("mean"), caveats=("truncated-weights",)),
        *aliases("ratio_std_engine", *_of_weights("std")),
        *aliases("ratio_extreme_engine", *_of_weights("min"), *_of_weights("max")),
        *aliases("effective_samples", *_of_weights("eff_sample_size")),
        *aliases("chi2_engine", "rollout_corr/chi2_token"),
        *aliases("prob_gap_engine", "training/rollout_probs_diff_mean"),
        *aliases("rejected", "rollout_corr/rollout_rs_masked_fraction", "mismatch/rollout_rs_masked_fraction"),
        Alias("actor/pg_loss", "loss"),
        *aliases("grad_norm", "actor/grad_norm"),
        Alias("actor/lr", "rate"),
        *aliases("reward", "critic/score/mean", "critic/rewards/mean"),
        *aliases("length", "response_length/mean"),
        Alias("response_length/clip_ratio", "truncated", ("truncation-share",)),
    ),
    rows="rollout",
    configs=("verl",),
)
