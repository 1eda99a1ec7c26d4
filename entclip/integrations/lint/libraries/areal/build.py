"""From the keys of AReaL to facts: areal/api/cli_args.py, areal/utils/functional/functional.py, areal/trainer/ppo/actor.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import TO_ENGINE, Fact, Reader, TrainerConfig, Updates, either
from entclip.integrations.lint.values import is_number, shown

__all__ = ["DEFAULTS", "build"]

_A = "actor."
_NORMS = (_A + "adv_norm.", _A + "reward_norm.")
DEFAULTS: dict[str, Any] = {
    _A + "eps_clip": 0.2,
    _A + "eps_clip_higher": None,
    _A + "c_clip": None,
    _A + "ppo_n_minibatches": 4,
    _A + "use_sapo_loss": False,
    _A + "sapo_tau_pos": 1.0,
    _A + "sapo_tau_neg": 1.05,
    _A + "importance_sampling_level": "token",
    _A + "recompute_logprob": False,
    _A + "use_decoupled_loss": False,
    _A + "prox_logp_method": "recompute",
    _A + "kl_ctl": 0.1,
    _A + "temperature": 1.0,
    _A + "dtype": "bfloat16",
    "gconfig.n_samples": 1,
    "gconfig.temperature": 1.0,
    "gconfig.top_p": 1.0,
    "gconfig.top_k": int(1e8),
    "rollout.max_head_offpolicyness": 0,
}
# Of a normalisation that is given without its levels.
_LEVEL = "batch"


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what AReaL computes from its keys."""
    soft, level, decoupled = read(_A + "use_sapo_loss"), read(_A + "importance_sampling_level"), read(_A + "use_decoupled_loss")
    (low, high), cap = read.widths(_A + "eps_clip", _A + "eps_clip_higher"), read.number(_A + "c_clip", optional=True)
    kind = "sapo" if soft.value is True else "clip" if cap.value is None else "dual_clip"
    none, penalty = replace(soft, value=None), read.number(_A + "kl_ctl")
    referred = any(key == "ref" or key.startswith("ref.") for key in read.values)
    size = read("gconfig.n_samples")
    # Whether samples far from the engine are filtered; only the decoupled loss reads it.
    filtered = next((key for key in read.values if key.startswith(_A + "rejection_sampling.")), None)
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=replace(soft, value="sapo") if kind == "sapo" else Fact("ppo", _A + "eps_clip", low.explicit),
        kind=kind,
        space="none" if kind == "sapo" else "ratio",
        level=level,
        low=none if kind == "sapo" else low,
        high=none if kind == "sapo" else high,
        cap=Fact(None, _A + "c_clip") if kind == "sapo" else cap,
        updates=_updates(read),
        temperature=either(
            Fact(read.values.get("gconfig.temperature"), "gconfig.temperature", True), read.number(_A + "temperature")
        ),
        advantage=_advantage(read),
        aggregation=Fact("token-mean", ""),
        group_size=size,
        kl_coef=penalty if referred else replace(penalty, value=0.0),
        log_prob_dtype=read.half(_A + "dtype"),
        engine_correction=_engine(read, filtered if decoupled.value is True else None),
        alone="a mean over a group of one is the reward itself" if size.value == 1 and _by_group(read) else "",
        unread=tuple(key for key in (_A + "eps_clip", _A + "eps_clip_higher", _A + "c_clip") if kind == "sapo"),
    )


def _engine(read: Reader, filtered: str | None) -> Fact:
    if filtered is not None:
        return Fact("rejection_sampling", _A + "rejection_sampling", True)
    if read(_A + "use_decoupled_loss").value is True or read(_A + "recompute_logprob").value is True:
        return Fact(None, _A + "rejection_sampling")
    return Fact(TO_ENGINE, _A + "recompute_logprob", read(_A + "recompute_logprob").explicit)


def _updates(read: Reader) -> Updates:
    recomputed = read(_A + "recompute_logprob").value is True or read(_A + "use_decoupled_loss").value is True
    late = read.number("rollout.max_head_offpolicyness")
    stale = f"up to {late.key} = {shown(late.value)} versions" if late.value != 0 else ""
    engine = "" if recomputed else f"{_A}recompute_logprob and {_A}use_decoupled_loss are False"
    found = read.updates((_A + "ppo_n_minibatches",), engine=engine, stale=stale)
    only = engine and not stale and found.count is not None and found.count <= 1
    mismatch = "One update per batch and no stale rollouts: only the mismatch between trainer and engine moves the ratio from 1."
    return replace(found, mismatch_only=mismatch if only else "")


def _by_group(read: Reader) -> bool:
    return any(read.values.get(f"{norm}mean_level") == "group" for norm in _NORMS)


def _advantage(read: Reader) -> Fact:
    """The last division that is made: advantages over the batch after rewards over the group."""
    for norm in _NORMS:
        if any(key.startswith(norm) for key in read.values):
            level = read.values.get(f"{norm}std_level", _LEVEL)
            if level is not None and not is_number(level):
                return Fact(level, f"{norm}std_level", f"{norm}std_level" in read.values)
    return Fact("none", _A + "adv_norm")
