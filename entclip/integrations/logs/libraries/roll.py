"""ROLL's workers at commit 8eb27cc: means over the updates of a rollout. Its policykl is the mean of log(pi/pi_old)."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["ROLL"]

ROLL = LogLibrary(
    name="roll",
    title="ROLL",
    version="of 2026-08-19",
    marks=(
        "actor/ppo_ratio_clipfrac",
        "actor/ppo_ratio_low_clipfrac",
        "actor/ppo_ratio_high_clipfrac",
        "actor/policykl",
        "actor/approxkl",
    ),
    aliases=(
        *aliases("step", "step", "_step"),
        # The first looks at the sign of the advantage, the others do not.
        Alias("actor/clipfrac", "clip_merged", ("merged-sides", "means-of-means")),
        Alias("actor/ppo_ratio_clipfrac", "clip_any", ("merged-sides", "ungated")),
        Alias("actor/ppo_ratio_low_clipfrac", "clip_low_any", ("ungated",)),
        Alias("actor/ppo_ratio_high_clipfrac", "clip_high_any", ("ungated",)),
        Alias("critic/entropy/mean", "entropy"),
        Alias("actor/ratio_mean", "ratio_mean", ("response-means",)),
        Alias("actor/policykl", "kl_old", scale=-1.0),
        Alias("actor/approxkl", "kl_old_k2"),
        Alias("actor/kl_loss", "kl_reference", ("reference-kl",)),
        Alias("actor/pg_loss", "loss"),
        *aliases("reward", "critic/score/mean", "critic/rewards/mean"),
        *aliases("length", "token/response_length/mean"),
        *aliases("grad_norm", "actor/grad_norm"),
        Alias("actor/lr", "rate"),
    ),
    rows="rollout",
    configs=("roll",),
)
