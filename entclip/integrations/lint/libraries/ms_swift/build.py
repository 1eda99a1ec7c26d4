"""From the keys of ms-swift to facts: TRL's arithmetic with what ms-swift changes."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates
from entclip.integrations.lint.libraries.trl.build import build as build_trl
from entclip.integrations.lint.values import shown

__all__ = ["build"]

_SCALES = {"grpo": "group", "rloo": "none", "reinforce_plus_plus": "batch"}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what ms-swift computes from its keys; ValueError for a training without GRPO's clip."""
    kind = read("rlhf_type")
    if kind.value != "grpo":
        default = "" if kind.explicit else " (the default)"
        raise ValueError(f"rlhf_type = {shown(kind.value)}{default}: only grpo is read here, which is what has this clip.")
    config = build_trl(read, evidence)
    scale, estimator, level = read("scale_rewards"), read("advantage_estimator"), config.level
    if scale.value is None:
        scale = Fact(_SCALES.get(str(estimator.value), estimator.value), estimator.key, estimator.explicit)
    elif isinstance(scale.value, bool):  # up to 3.9
        scale = replace(scale, value="group" if scale.value else "none")
    if level.value == "sequence_token":
        level = replace(level, value="sequence")
    engine = read("rollout_importance_sampling_mode") if read("use_vllm").value is True else Fact("same engine", "use_vllm")
    stale = "async_generate" if read("async_generate").value is True else ""
    updates = _megatron_updates(read) if _by_megatron(read) else config.updates
    return replace(
        config,
        level=level,
        advantage=scale,
        engine_correction=engine,
        entropy_logged=read("log_entropy").value is True,
        updates=replace(updates, stale=stale),
    )


def _by_megatron(read: Reader) -> bool:
    """Whether Megatron trains: by the command, or by batches that count completions of all devices."""
    return read.command.startswith("megatron") or not {"global_batch_size", "micro_batch_size"}.isdisjoint(read.values)


def _megatron_updates(read: Reader) -> Updates:
    """One update for each global batch of completions; num_iterations is refused there."""
    steps = read("steps_per_generation")
    if steps.value is None:
        whole, batch = read.count("generation_batch_size"), read.count("global_batch_size")
        if read("generation_batch_size").value is None:
            return Updates(1.0, "steps_per_generation = 1, the default under Megatron")
        formula = "generation_batch_size / global_batch_size"
        if whole is None or batch is None:
            return Updates(None, f"{formula} with {read.text('generation_batch_size', 'global_batch_size')}")
        return Updates(whole / batch, f"{formula} = {shown(whole)} / {shown(batch)}")
    count = read.count("steps_per_generation")
    return Updates(count, f"steps_per_generation = {shown(steps.value)}")
