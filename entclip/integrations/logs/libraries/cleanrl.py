"""CleanRL's PPO scripts at commit fe8d8a0: TensorBoard, often exported from W&B."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

CLEANRL = LogLibrary(
    name="cleanrl",
    title="CleanRL",
    version="of 2026-04-20",
    marks=("losses/clipfrac", "losses/old_approx_kl", "losses/entropy", "losses/approx_kl", "charts/episodic_return"),
    aliases=(
        *aliases("step", "global_step", "step", "_step"),
        Alias("losses/clipfrac", "clip_any", ("merged-sides", "ungated")),
        Alias("losses/entropy", "entropy", ("last-minibatch",)),
        Alias("losses/approx_kl", "kl_old_k3", ("last-minibatch",)),
        Alias("losses/old_approx_kl", "kl_old", ("last-minibatch",)),
        *aliases("reward", "charts/episodic_return"),
        *aliases("loss", "losses/policy_loss"),
        *aliases("rate", "charts/learning_rate"),
    ),
    rows="rollout",
    tokens=False,
    configs=("cleanrl",),
)
