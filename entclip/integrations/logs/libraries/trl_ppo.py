"""TRL's PPO trainers, by ppo_trainer.py of 0.11.4 and of 0.15.2: a row for each rollout, means over its updates."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["TRL_PPO"]

_MERGED = ("merged-sides", "means-of-means")

TRL_PPO = LogLibrary(
    name="trl-ppo",
    title="TRL PPO",
    version="0.11.4 and 0.15.2",
    marks=(
        "ppo/policy/clipfrac",
        "ppo/policy/entropy",
        "ppo/policy/approxkl",
        "policy/clipfrac_avg",
        "policy/entropy_avg",
    ),
    aliases=(
        *aliases("step", "step", "_step"),
        *aliases("episodes", "episode"),
        *aliases("clip_merged", "ppo/policy/clipfrac", "policy/clipfrac_avg", caveats=_MERGED),
        Alias("ppo/policy/entropy", "entropy"),
        Alias("policy/entropy_avg", "entropy", ("padding",)),
        Alias("ppo/policy/policykl", "kl_old"),
        Alias("ppo/policy/approxkl", "kl_old_k2"),
        Alias("policy/approxkl_avg", "kl_old_k2", ("padding",)),
        Alias("objective/kl", "kl_reference", ("reference-kl",)),
        *aliases("reward", "env/reward_mean", "objective/scores", "ppo/mean_scores"),
        *aliases("length", "tokens/responses_len_mean"),
        *aliases("loss", "ppo/loss/policy", "loss/policy_avg"),
    ),
    rows="rollout",
    configs=("trl-ppo",),
)
