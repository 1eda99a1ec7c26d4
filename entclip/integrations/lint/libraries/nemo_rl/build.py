"""From the keys of NeMo-RL to facts, as its clipped policy-gradient loss reads them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates
from entclip.integrations.lint.values import shown

__all__ = ["build"]

_L, _G = "loss_fn.", "grpo."


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what NeMo-RL computes from its keys."""
    bare, sequence = read(_L + "disable_ppo_ratio"), read(_L + "sequence_level_importance_ratios")
    cap, normalised, precision = (
        read.number(_L + "ratio_clip_c", optional=True),
        read(_G + "normalize_rewards"),
        read("policy.precision"),
    )
    kind = "custom" if bare.value is True else "clip" if cap.value is None else "dual_clip"
    average = read(_L + "token_level_loss")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=replace(bare, value="no ratio") if bare.value is True else Fact("clipped", _L + "ratio_clip_min"),
        kind=kind,
        space="unknown" if kind == "custom" else "ratio",
        level=replace(sequence, value="sequence" if sequence.value is True else "token"),
        low=read.bound(_L + "ratio_clip_min"),
        high=read.bound(_L + "ratio_clip_max"),
        cap=cap,
        updates=_updates(read),
        temperature=read.number("policy.generation.temperature"),
        advantage=replace(normalised, value="group" if normalised.value is True else "none"),
        aggregation=replace(average, value="token-mean" if average.value is True else "seq-mean-token-mean"),
        group_size=read(_G + "num_generations_per_prompt"),
        entropy_coef=Fact(0.0, _L + "ratio_clip_min"),
        kl_coef=read.number(_L + "reference_policy_kl_penalty"),
        log_prob_dtype=replace(
            precision, value={"bfloat16": "bf16", "float16": "fp16"}.get(str(precision.value), precision.value)
        ),
        engine_correction=read(_L + "use_importance_sampling_correction"),
    )


def _updates(read: Reader) -> Updates:
    stale = _G + "async_grpo.enabled" if read(_G + "async_grpo.enabled").value is True else ""
    if read(_L + "force_on_policy_ratio").value is True:
        return Updates(1.0, f"{_L}force_on_policy_ratio = True sets every ratio to 1", "", stale)
    keys = (_G + "num_prompts_per_step", _G + "num_generations_per_prompt", "policy.train_global_batch_size")
    prompts, group, batch = (read.count(key) for key in keys)
    formula = f"{keys[0]} x {keys[1]} / {keys[2]}"
    if not (prompts and group and batch):
        return Updates(None, f"{formula} with {read.text(*keys)}", "", stale)
    return Updates(prompts * group / batch, f"{formula} = {shown(prompts)} x {shown(group)} / {shown(batch)}", "", stale)
