"""AReaL at commit 4aef98d: a row for each step, means over the tokens of its updates. Its KLs are means of log(pi/pi_old)."""

from __future__ import annotations

from entclip.integrations.logs.names import Alias, LogLibrary, aliases

__all__ = ["AREAL"]


def _of_update(name: str) -> str:
    return f"ppo_actor/update/{name}/avg"


AREAL = LogLibrary(
    name="areal",
    title="AReaL",
    version="1.0.4",
    marks=tuple(_of_update(name) for name in ("clip_ratio", "entropy", "importance_weight", "approx_kl")),
    aliases=(
        *aliases("step", "step", "_step"),
        Alias(_of_update("clip_ratio"), "clip_merged", ("merged-sides",)),
        Alias(_of_update("dual_clip_ratio"), "dual_clip"),
        Alias(_of_update("entropy"), "entropy"),
        Alias(_of_update("importance_weight"), "ratio_mean"),
        Alias(_of_update("approx_kl"), "kl_old", scale=-1.0),
        Alias(_of_update("behave_imp_weight"), "ratio_mean_engine", ("truncated-weights",)),
        Alias(_of_update("behave_approx_kl"), "kl_engine", ("engine-kl",), scale=-1.0),
        *aliases("rejected", "ppo_actor/update/rs_filtered_fraction"),
        *aliases("reward", "ppo_actor/task_reward/avg"),
        *aliases("length", "ppo_actor/seq_len/avg"),
        *aliases("loss", _of_update("actor_loss")),
        *aliases("grad_norm", "ppo_actor/update/grad_norm"),
    ),
    rows="rollout",
    configs=("areal",),
)
