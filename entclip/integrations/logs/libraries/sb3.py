"""Stable-Baselines3's PPO, by ppo.py of 2.8.0: printed boxes, progress.csv and TensorBoard."""

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

SB3 = LogLibrary(
    name="sb3",
    title="Stable-Baselines3",
    version="2.8.0",
    marks=(
        "approx_kl & entropy_loss",
        "policy_gradient_loss",
        "n_updates",
        "clip_range",
        "time/total_timesteps",
        "rollout/ep_rew_mean",
    ),
    aliases=(
        *aliases("step", "time/total_timesteps", "step", "_step"),
        Alias("clip_fraction", "clip_any", ("merged-sides", "ungated")),
        Alias("entropy_loss", "entropy", ("negated-entropy",), scale=-1.0),
        Alias("approx_kl", "kl_old_k3", ("last-epoch",)),
        Alias("clip_range", "clip_width"),
        *aliases("reward", "rollout/ep_rew_mean"),
        Alias("policy_gradient_loss", "loss"),
        Alias("n_updates", "epochs_done"),
    ),
    rows="rollout",
    tokens=False,
    configs=("sb3",),
)
