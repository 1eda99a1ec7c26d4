"""From the keys of ROLL to facts: roll/configs, and in roll/pipeline/rlvr rlvr_config, actor_worker and actor_pg_worker."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates
from entclip.integrations.lint.values import Unresolved, is_number, shown

__all__ = ["DEFAULTS", "build"]

_T, _I = "actor_train.", "actor_infer.generating_args."
_ARGS, _STRATEGY = _T + "training_args.", _T + "strategy_args.strategy_config."
_PARALLEL = tuple(f"{_STRATEGY}{name}_parallel_size" for name in ("tensor_model", "pipeline_model", "context"))
DEFAULTS: dict[str, Any] = {
    "pg_clip": 0.2,
    "use_pg_clip_range": False,
    "pg_clip_low": 0.2,
    "pg_clip_high": 0.2,
    "dual_clip_loss": False,
    "use_policy_loss_type": "PPO",
    "importance_sampling": "token",
    "loss_agg_mode": "seq-mean-token-mean",
    "ppo_epochs": 1,
    "rollout_batch_size": 128,
    "num_return_sequences_in_group": 1,
    "train_env_manager.group_size": 1,
    "adv_estimator": "gae",
    "norm_mean_type": None,
    "norm_std_type": None,
    "whiten_advantages": False,
    "use_kl_loss": False,
    "kl_loss_coef": 0,
    "add_token_level_kl": False,
    "init_kl_coef": 0.2,
    "entropy_loss_coef": 0,
    "async_generation_ratio": 0,
    "pg_variant": None,
    "cispo_epsilon_low": 0.1,
    "cispo_epsilon_high": 0.1,
    "train_infer_correction.is_weight.enabled": False,
    _T + "device_mapping": None,
    _ARGS + "per_device_train_batch_size": 8,
    _ARGS + "gradient_accumulation_steps": 1,
    _T + "model_args.dtype": "bf16",
    _I + "temperature": 0.95,
    _I + "top_p": 0.7,
    _I + "top_k": 50,
    **dict.fromkeys(_PARALLEL, 1),
}
_VARIANTS = {"ppo": "clip", "vanilla": "gpg", "cispo": "cispo"}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what ROLL computes from its keys."""
    kind, loss = _loss(read)
    level, ranged, single = read("importance_sampling"), read("use_pg_clip_range"), read.bound("pg_clip")
    low, high = (read.bound("pg_clip_low"), read.bound("pg_clip_high")) if ranged.value is True else (single, single)
    if kind == "cispo":
        low, high = read.bound("cispo_epsilon_low"), read.bound("cispo_epsilon_high")
    capped = read("dual_clip_loss").value is True and kind == "clip"
    # An agentic pipeline plays an environment of one seed several times; else a prompt has several answers.
    agentic = any(key.startswith("train_env_manager.") for key in read.values)
    size = read("train_env_manager.group_size" if agentic else "num_return_sequences_in_group")
    bare = kind in ("gpg", "custom", "unknown")
    kl = (
        "kl_loss_coef"
        if read("use_kl_loss").value is True
        else "init_kl_coef"
        if read("add_token_level_kl").value is True
        else ""
    )
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind="dual_clip" if capped else kind,
        space="none" if kind == "gpg" else "unknown" if bare else "ratio",
        level=replace(level, value="sequence" if level.value == "seq" else "token"),
        low=replace(loss, value=None) if bare else low,
        high=replace(loss, value=None) if bare else high,
        # The cap takes pg_clip whatever the two widths are.
        cap=replace(single, value=1 + 2 * single.value) if capped and is_number(single.value) else Fact(None, "dual_clip_loss"),
        updates=_updates(read),
        temperature=read.number(_I + "temperature"),
        advantage=_advantage(read),
        aggregation=read("loss_agg_mode"),
        group_size=size,
        entropy_coef=read.number("entropy_loss_coef"),
        kl_coef=read.number(kl) if kl else replace(read("use_kl_loss"), value=0.0),
        log_prob_dtype=read.half(_T + "model_args.dtype"),
        engine_correction=read("train_infer_correction.is_weight.enabled"),
        alone="the mean of a group of one is the reward itself"
        if size.value == 1 and (read("adv_estimator").value == "grpo" or read("norm_mean_type").value == "group")
        else "",
        entropy_logged=read("entropy_loss_coef").value != 0,
    )


def _loss(read: Reader) -> tuple[str, Fact]:
    """The worker decides: ActorPGWorker reads pg_variant, the other use_policy_loss_type."""
    worker = str(read.values.get(_T + "worker_cls", ""))
    if worker.endswith("ActorPGWorker"):
        own = _T + "pg_variant"
        variant = Fact(read.values.get(own, read.values.get("pg_variant", "vanilla")), own, own in read.values)
        return ("unknown" if variant.unknown else _VARIANTS.get(str(variant.value), "custom")), variant
    loss = read("use_policy_loss_type")
    known = not worker or worker.endswith("rlvr.actor_worker.ActorWorker")
    return ("clip" if loss.value == "PPO" else "gpg" if loss.value == "PG" else "unknown") if known else "custom", loss


def _updates(read: Reader) -> Updates:
    keys = ("rollout_batch_size", "num_return_sequences_in_group", "ppo_epochs")
    steps = (_ARGS + "per_device_train_batch_size", _ARGS + "gradient_accumulation_steps")
    formula = f"{' x '.join(keys)} / ({' x '.join(key.rpartition('.')[2] for key in steps)} x data-parallel ranks)"
    late = read.number("async_generation_ratio")
    stale = f"{late.key} = {shown(late.value)}" if late.value != 0 else ""
    numbers, ranks = [read.count(key) for key in (*keys, *steps)], _ranks(read)
    epochs = read.count("ppo_epochs") or 1
    if None in numbers or ranks is None:
        return Updates(None, f"{formula} with {read.text(*keys, *steps)}", stale=stale, least=epochs)
    prompts, size, epochs, device, accumulated = (float(n) for n in numbers if n is not None)
    over, under = (" x ".join(map(shown, each)) for each in ((prompts, size, epochs), (device, accumulated, ranks)))
    text = f"{formula} = {over} / ({under})"
    return Updates(prompts * size * epochs / (device * accumulated * ranks), text, stale=stale)


def _ranks(read: Reader) -> float | None:
    """Devices of the actor by list(range(a, b)) over its parallel sizes; None where they are written otherwise."""
    mapping = read(_T + "device_mapping").value
    found = re.fullmatch(r"list\(range\((\d+), *(\d+)\)\)", str(mapping))
    if isinstance(mapping, Unresolved) or found is None:
        return None
    sizes = [read.count(key) for key in _PARALLEL]
    split = 1.0
    for size in sizes:
        split *= size or 1
    return None if None in sizes else (int(found[2]) - int(found[1])) / split


def _advantage(read: Reader) -> Fact:
    """The last division that is made."""
    white, estimator, std = read("whiten_advantages"), read("adv_estimator"), read("norm_std_type")
    if white.value is True:
        return replace(white, value="batch")
    return replace(estimator, value="group") if estimator.value == "grpo" else replace(std, value=std.value or "none")
