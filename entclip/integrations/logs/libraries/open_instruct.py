"""open-instruct's GRPO at commit e6c3044: a row for each training step, means over the responses of its updates."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["OPEN_INSTRUCT"]

_MEANS = ("response-means",)

OPEN_INSTRUCT = LogLibrary(
    name="open-instruct",
    title="open-instruct",
    version="of 2026-08-20",
    # TRL's PPO has the first two, and a val/ratio, too.
    marks=("policy/clipfrac_avg", "policy/entropy_avg", "objective/kl0_avg", "objective/kl1_avg", "val/sequence_lengths"),
    aliases=(
        *aliases("step", "training_step", "step", "_step"),
        Alias("policy/clipfrac_avg", "clip_merged", ("merged-sides", "response-means")),
        Alias("policy/entropy_avg", "entropy", _MEANS),
        Alias("val/ratio", "ratio_mean", _MEANS),
        *aliases(
            "kl_reference",
            "objective/kl1_avg",
            "objective/kl2_avg",
            "objective/kl0_avg",
            "loss/kl_avg",
            caveats=("reference-kl",),
        ),
        Alias("debug/vllm_vs_local_logprob_diff_mean", "log_prob_gap_engine"),
        *aliases("reward", "scores"),
        *aliases("length", "val/sequence_lengths"),
        *aliases("loss", "loss/policy_avg"),
        *aliases("grad_norm", "optim/grad_norm"),
        Alias("lr", "rate"),
    ),
    rows="rollout",
    configs=("open-instruct",),
)
