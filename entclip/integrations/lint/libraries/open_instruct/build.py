"""From the flags of open-instruct to facts: grpo_utils.py, data_loader.py and grpo_fast.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.facts import TO_ENGINE, Fact, Reader, TrainerConfig
from entclip.integrations.lint.values import shown

__all__ = ["DEFAULTS", "build"]

DEFAULTS: dict[str, Any] = {
    "clip_lower": 0.2,
    "clip_higher": 0.272,
    "loss_fn": "dapo",
    "beta": 0.05,
    "load_ref_policy": True,
    "num_mini_batches": 1,
    "num_epochs": 1,
    "async_steps": 8,
    "num_samples_per_prompt_rollout": 4,
    "advantage_normalization_type": "centered",
    "temperature": 1.0,
    "vllm_top_p": 1.0,
    "use_rho_correction": True,
    "use_vllm_logprobs": False,
    "record_entropy": False,
    "model_dtype": "bfloat16",
}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what open-instruct computes from its flags."""
    loss, scaled, size = read("loss_fn"), read("advantage_normalization_type"), read("num_samples_per_prompt_rollout")
    kind = {"dapo": "clip", "cispo": "cispo"}.get(str(loss.value), "unknown")
    # CISPO here has no lower bound.
    low = Fact(1.0, loss.key, loss.explicit) if kind == "cispo" else read.bound("clip_lower")
    late, own = read.number("async_steps"), read("use_vllm_logprobs")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space="unknown" if kind == "unknown" else "ratio",
        level=Fact("token", loss.key, loss.explicit),
        low=low,
        high=read.bound("clip_higher"),
        updates=read.updates(
            ("num_mini_batches", "num_epochs"),
            engine=f"{own.key} = True" if own.value is True else "",
            stale=f"up to async_steps = {shown(late.value)} steps",
        ),
        temperature=read.number("temperature"),
        advantage=replace(scaled, value={"standard": "group", "centered": "none"}.get(str(scaled.value), scaled.value)),
        aggregation=Fact("token-mean", ""),
        group_size=size,
        kl_coef=read.number("beta") if read("load_ref_policy").value is True else Fact(0.0, "load_ref_policy", True),
        log_prob_dtype=read.half("model_dtype"),
        engine_correction=replace(own, value=TO_ENGINE) if own.value is True else read("use_rho_correction"),
        entropy_logged=read("record_entropy").value is True,
        alone="the mean of a group of one is the reward itself" if size.value == 1 else "",
        unread=("clip_lower",) if kind == "cispo" else (),
    )
