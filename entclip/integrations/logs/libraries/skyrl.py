"""SkyRL's trainer at 0.3.0 (commit a956457): a row for each training step, means over the micro-batches of all its updates."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["SKYRL"]

_MERGED = ("merged-sides", "means-of-means")

SKYRL = LogLibrary(
    name="skyrl",
    title="SkyRL",
    version="0.3.0",
    marks=("policy/policy_entropy", "policy/loss_metrics/clip_ratio", "policy/ppo_clip_ratio"),
    aliases=(
        *aliases("step", "trainer/global_step", "step", "_step"),
        # The second name is that of 0.2 and before.
        *aliases("clip_merged", "policy/loss_metrics/clip_ratio", "policy/ppo_clip_ratio", caveats=_MERGED),
        Alias("policy/policy_entropy", "entropy", ("means-of-means",)),
        Alias("policy/policy_kl", "kl_reference", ("reference-kl",)),
        *aliases("ratio_mean_engine", "policy/loss_metrics/is_ratio_mean", "policy/is_ratio_mean"),
        *aliases("ratio_std_engine", "policy/loss_metrics/is_ratio_std", "policy/is_ratio_std"),
        Alias("policy/rollout_train_logprobs_abs_diff_mean", "log_prob_gap_engine"),
        *aliases("reward", "reward/avg_raw_reward"),
        *aliases("length", "generate/avg_num_tokens"),
        *aliases("loss", "policy/policy_loss"),
        Alias("policy/policy_lr", "rate"),
    ),
    rows="rollout",
    configs=("skyrl",),
)
