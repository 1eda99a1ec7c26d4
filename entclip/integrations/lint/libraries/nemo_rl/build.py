"""From the keys of NeMo-RL to facts, as its clipped policy-gradient loss reads them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates

__all__ = ["build"]

_L, _G = "loss_fn.", "grpo."


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what NeMo-RL computes from its keys."""
    bare, sequence = read(_L + "disable_ppo_ratio"), read(_L + "sequence_level_importance_ratios")
    cap, normalised = read.number(_L + "ratio_clip_c", optional=True), read(_G + "normalize_rewards")
    soft = read(_L + "use_cispo")
    kind = "gpg" if bare.value is True else "cispo" if soft.value is True else "clip" if cap.value is None else "dual_clip"
    loss = replace(soft, value="cispo") if kind == "cispo" else Fact("clipped", _L + "ratio_clip_min")
    average = read(_L + "token_level_loss")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=replace(bare, value="no ratio") if kind == "gpg" else loss,
        kind=kind,
        space="none" if kind == "gpg" else "ratio",
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
        log_prob_dtype=read.half("policy.precision"),
        engine_correction=read(_L + "use_importance_sampling_correction"),
    )


def _updates(read: Reader) -> Updates:
    stale = _G + "async_grpo.enabled" if read(_G + "async_grpo.enabled").value is True else ""
    if read(_L + "force_on_policy_ratio").value is True:
        return Updates(1.0, f"{_L}force_on_policy_ratio = True sets every ratio to 1", stale=stale)
    each = (_G + "num_prompts_per_step", _G + "num_generations_per_prompt")
    return read.updates(each, "policy.train_global_batch_size", stale=stale)
