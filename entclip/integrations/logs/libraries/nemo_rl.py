"""NeMo-RL's GRPO at commit 7ea279a: a row for each step, means over the tokens of its updates, and no share of clipped ones."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["NEMO_RL"]

NEMO_RL = LogLibrary(
    name="nemo-rl",
    title="NeMo-RL",
    version="of 2026-08-22",
    marks=("probs_ratio", "approx_entropy", "gen_kl_error"),
    aliases=(
        *aliases("step", "step", "_step"),
        Alias("approx_entropy", "entropy", ("sampled-entropy",)),
        Alias("probs_ratio", "ratio_mean"),
        Alias("gen_kl_error", "kl_engine_k3", ("engine-kl",)),
        Alias("sampling_importance_ratio", "ratio_mean_engine", ("truncated-weights",)),
        *aliases("rejected", "is_oob_ratio"),
        *aliases("grad_norm", "grad_norm"),
        *aliases("loss", "loss"),
        Alias("kl_penalty", "kl_reference", ("reference-kl",)),
        *aliases("reward", "reward"),
        *aliases("length", "mean_gen_tokens_per_sample"),
    ),
    rows="rollout",
    configs=("nemo-rl",),
)
