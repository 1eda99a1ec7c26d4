"""slime's trainer: a row for each update, in the console, TensorBoard and W&B."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

SLIME = LogLibrary(
    name="slime",
    title="slime",
    version="0.3.1",
    marks=("pg_clipfrac", "train_rollout_kl", "rollout/raw_reward"),
    aliases=(
        *aliases("step", "step", "_step"),
        Alias("pg_clipfrac", "clip_merged", ("merged-sides",)),
        Alias("entropy_loss", "entropy", ("mean-of-responses",)),
        Alias("ppo_kl", "kl_old"),
        Alias("kl_loss", "kl_reference", ("reference-kl",)),
        Alias("train_rollout_kl", "kl_engine", ("engine-kl",)),
        Alias("pg_loss", "loss"),
        *aliases("reward", "rollout/raw_reward"),
        *aliases("length", "rollout/response_lengths"),
    ),
    rows="update",
    configs=("slime",),
)
