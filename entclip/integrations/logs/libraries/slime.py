"""slime's trainer: a row for each update, in the console, TensorBoard and W&B."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

SLIME = LogLibrary(
    name="slime",
    title="slime",
    version="0.3.1",
    marks=("pg_clipfrac", "train_rollout_kl", "train_rollout_logprob_abs_diff", "rollout/raw_reward"),
    aliases=(
        *aliases("step", "step", "_step"),
        Alias("pg_clipfrac", "clip_merged", ("merged-sides", "mean-of-responses")),
        Alias("entropy_loss", "entropy", ("mean-of-responses",)),
        Alias("ppo_kl", "kl_old"),
        Alias("kl_loss", "kl_reference", ("reference-kl",)),
        Alias("train_rollout_kl", "kl_engine", ("engine-kl",)),
        Alias("ois", "ratio_mean", ("mean-of-responses",)),
        Alias("tis", "ratio_mean_engine", ("mean-of-responses",)),
        *aliases("log_prob_gap_engine", "train_rollout_logprob_abs_diff"),
        *aliases("loss", "pg_loss", "loss"),
        *aliases("grad_norm", "grad_norm"),
        *aliases("reward", "rollout/raw_reward"),
        *aliases("length", "rollout/response_lengths"),
    ),
    rows="update",
    configs=("slime",),
)
