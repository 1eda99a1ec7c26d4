"""OpenRLHF's trainer: means over all updates of a rollout."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

OPENRLHF = LogLibrary(
    name="openrlhf",
    title="OpenRLHF",
    version="0.11.2",
    marks=("ppo_clip_ratio", "ppo_kl", "actor_lr", "act_loss", "vllm_kl"),
    aliases=(
        *aliases("step", "global_step", "step", "_step"),
        Alias("ppo_clip_ratio", "clip_merged", ("merged-sides", "means-once")),
        Alias("entropy_loss", "entropy", ("entropy-temperature",)),
        Alias("ppo_kl", "kl_old"),
        Alias("kl", "kl_reference", ("reference-kl",)),
        Alias("vllm_kl", "kl_engine", ("engine-kl",)),
        *aliases("reward", "reward"),
        *aliases("length", "response_length"),
        *aliases("truncated", "response_clip_ratio", "truncated", caveats=("truncation-share",)),
        *aliases("loss", "policy_loss", "act_loss"),
        Alias("actor_lr", "rate"),
        *aliases("grad_norm", "actor_grad_norm"),
    ),
    rows="rollout",
    configs=("openrlhf",),
)
