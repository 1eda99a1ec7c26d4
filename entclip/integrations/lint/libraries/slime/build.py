"""From the flags of slime to facts: slime/utils/arguments.py, slime/backends/megatron_utils/loss.py, train_async.py at 0.3.1."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import TO_ENGINE, Reader, TrainerConfig, Updates
from entclip.integrations.lint.values import is_number, shown

__all__ = ["DEFAULTS", "build"]

DEFAULTS: dict[str, Any] = {
    "eps_clip": 0.2,
    "eps_clip_high": None,
    "eps_clip_c": None,
    "loss_type": "policy_loss",
    "advantage_estimator": "grpo",
    "rollout_batch_size": None,
    "n_samples_per_prompt": 1,
    "global_batch_size": None,
    "num_steps_per_rollout": None,
    "rollout_temperature": 1.0,
    "rollout_top_k": -1,
    "use_kl_loss": False,
    "kl_loss_coef": 0.0,
    "kl_coef": 0.0,
    "entropy_coef": 0.0,
    "use_rollout_logprobs": False,
    "use_tis": False,
    "calculate_per_token_loss": False,
    "disable_grpo_std_normalization": False,
    "disable_rewards_normalization": False,
    "update_weights_interval": 1,
    "partial_rollout": False,
}
_CENTRED = ("grpo", "gspo", "cispo", "reinforce_plus_plus_baseline")
_SCALED = ("grpo", "gspo", "cispo")


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what slime computes from its flags; ValueError for a training without a policy loss."""
    work, estimator = read("loss_type"), read("advantage_estimator")
    if work.value == "sft_loss":
        raise ValueError("loss_type = sft_loss: supervised training has no ratio and no clip.")
    known = work.value == "policy_loss" and not estimator.unknown
    kind = "cispo" if estimator.value == "cispo" else "clip"
    (low, high), own = read.widths("eps_clip", "eps_clip_high"), read("use_rollout_logprobs")
    kl = read.number("kl_loss_coef" if read("use_kl_loss").value is True else "kl_coef")
    size, per_token = read("n_samples_per_prompt"), read("calculate_per_token_loss")
    normalised = read("disable_rewards_normalization").value is not True
    scaled = normalised and estimator.value in _SCALED and read("disable_grpo_std_normalization").value is not True
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=estimator if work.value == "policy_loss" else work,
        kind=kind if known else "custom",
        space="ratio" if known else "unknown",
        level=replace(estimator, value="sequence" if estimator.value == "gspo" else "token"),
        low=low,
        high=high,
        updates=_updates(read),
        temperature=read.number("rollout_temperature"),
        advantage=replace(estimator, value="group" if scaled and size.value != 1 else "none"),
        aggregation=replace(per_token, value="token-mean" if per_token.value is True else "seq-mean-token-mean"),
        group_size=size,
        entropy_coef=read.number("entropy_coef"),
        kl_coef=kl,
        engine_correction=replace(own, value=TO_ENGINE) if own.value is True else read("use_tis"),
        alone=f"{estimator.value} subtracts the mean of the group, which is the reward itself"
        if size.value == 1 and normalised and estimator.value in _CENTRED
        else "",
    )


def _updates(read: Reader) -> Updates:
    interval = read.number("update_weights_interval").value
    stale = ""
    if "train_async" in read.command:
        stale = f"{shown(interval)} rollout{'s' if interval != 1 else ''}, by train_async.py"
    elif read("partial_rollout").value is True:
        stale = "partial_rollout"
    engine = "use_rollout_logprobs = True" if read("use_rollout_logprobs").value is True else ""
    steps = read.number("num_steps_per_rollout", optional=True)
    if is_number(steps.value):
        return Updates(read.count(steps.key), f"{steps.key} = {shown(steps.value)}", engine, stale)
    return read.updates(("rollout_batch_size", "n_samples_per_prompt"), "global_batch_size", engine=engine, stale=stale)
