"""From the keys of EasyR1 to facts: verl/workers/actor/config.py and verl/trainer/core_algos.py of its fork."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig
from entclip.integrations.lint.values import is_number

__all__ = ["DEFAULTS", "build"]

_A, _R, _G = "worker.actor.", "worker.rollout.", "algorithm."
DEFAULTS: dict[str, Any] = {
    _A + "clip_ratio_low": 0.2,
    _A + "clip_ratio_high": 0.3,
    _A + "clip_ratio_dual": 3.0,
    _A + "loss_type": "default",
    _A + "loss_avg_mode": "token",
    _A + "ppo_epochs": 1,
    _A + "global_batch_size": 256,
    _A + "tau_positive": 1.0,
    _A + "tau_negative": 1.05,
    _A + "fsdp.mp_param_dtype": "bf16",
    "data.rollout_batch_size": 512,
    _R + "n": 1,
    _R + "temperature": 1.0,
    _R + "top_p": 1.0,
    _R + "top_k": -1,
    _G + "adv_estimator": "grpo",
    _G + "disable_kl": False,
    _G + "kl_coef": 1e-3,
}
_KINDS = {"default": "dual_clip", "gspo": "dual_clip", "gspo_token": "dual_clip", "cispo": "cispo", "sapo": "sapo"}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what EasyR1 computes from its keys."""
    loss, estimator, dtype = read(_A + "loss_type"), read(_G + "adv_estimator"), read(_A + "fsdp.mp_param_dtype")
    kind = "unknown" if loss.unknown else _KINDS.get(str(loss.value), "unknown")
    low, high = read.bound(_A + "clip_ratio_low"), read.bound(_A + "clip_ratio_high")
    if kind == "sapo":
        low = high = replace(loss, value=None)
    size, off = read(_R + "n"), read(_G + "disable_kl").value is True
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space={"sapo": "none", "unknown": "unknown"}.get(kind, "ratio"),
        level=replace(loss, value="sequence" if str(loss.value).startswith("gspo") else "token"),
        low=low,
        high=high,
        cap=read.number(_A + "clip_ratio_dual") if kind == "dual_clip" else Fact(None, _A + "clip_ratio_dual"),
        # Both batch sizes count prompts.
        updates=read.updates(("data.rollout_batch_size",), _A + "global_batch_size", (_A + "ppo_epochs",)),
        temperature=read.number(_R + "temperature"),
        advantage=replace(estimator, value="group") if estimator.value == "grpo" else estimator,
        aggregation=read(_A + "loss_avg_mode"),
        group_size=size,
        kl_coef=Fact(0.0, _G + "disable_kl", True) if off else read.number(_G + "kl_coef"),
        log_prob_dtype=dtype,
        alone="EasyR1 stops: a group of one has no baseline" if size.value == 1 and estimator.value in ("grpo", "rloo") else "",
        unread=tuple(key for key in (_A + "clip_ratio_low", _A + "clip_ratio_high") if kind == "sapo")
        + ((_A + "clip_ratio_dual",) if kind in ("sapo", "cispo") and is_number(read(_A + "clip_ratio_dual").value) else ()),
    )
