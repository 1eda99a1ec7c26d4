"""OpenRLHF 0.11.2."""

from __future__ import annotations

from entclip.integrations.lint.libraries.openrlhf import traps
from entclip.integrations.lint.libraries.openrlhf.build import build
from entclip.integrations.lint.libraries.openrlhf.defaults import DEFAULTS
from entclip.integrations.lint.libraries.openrlhf.write import write
from entclip.integrations.lint.library import Library

__all__ = ["OPENRLHF", "traps"]

_RENAMED = {
    "eps_clip": "actor.eps_clip",
    "eps_clip_low_high": "actor.eps_clip_low_high",
    "dual_clip": "actor.dual_clip",
    "policy_loss_type": "actor.policy_loss_type",
    "entropy_loss_coef": "actor.entropy_coef",
    "train_batch_size": "train.batch_size",
    "rollout_batch_size": "rollout.batch_size",
    "max_epochs": "train.max_epochs",
    "n_samples_per_prompt": "rollout.n_samples_per_prompt",
    "temperature": "rollout.temperature",
    "top_p": "rollout.top_p",
    "advantage_estimator": "algo.advantage.estimator",
    "no_advantage_std_norm": "algo.advantage.no_std_norm",
    "init_kl_coef": "algo.kl.init_coef",
    "use_kl_loss": "algo.kl.use_loss",
    "async_train": "train.async_enable",
    "vllm_num_engines": "vllm.num_engines",
    "param_dtype": "ds.param_dtype",
}

OPENRLHF = Library(
    name="openrlhf",
    title="OpenRLHF",
    version="0.11.2",
    defaults=DEFAULTS,
    entry=r"openrlhf\.cli\.train_ppo_ray",
    package=__name__,
    build=build,
    write=write,
    losses=("ppo", "gspo"),
    deciding=(
        "actor.",
        "algo.",
        "rollout.",
        "eps_clip",
        "eps_clip_low_high",
        "init_kl_coef",
        "micro_rollout_batch_size",
        "advantage_estimator",
        "vllm_num_engines",
    ),
    more_updates=("set train.batch_size below rollout.batch_size x rollout.n_samples_per_prompt, or train.max_epochs above 1"),
    std_offset="ddof 1, +1e-9",
    truncation={"rollout.top_p": (1,)},
    clip_metric=("ppo_clip_ratio", "merged"),
    precise="logits are cast to float32 only after the head",
    renamed=_RENAMED,
    older_list="flat_keys.txt",
)
