"""From the keys of TRL to facts, as its source computes them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, Updates
from entclip.integrations.lint.values import is_number, shown

__all__ = ["build"]

# Loss names whose bound acts on importance ratios, by library, and what they are here.
_KINDS = {
    **dict.fromkeys(("grpo", "bnpo", "dr_grpo", "dapo", "luspo"), "clip"),
    "cispo": "cispo",
    "sapo": "sapo",
    "vespo": "vespo",
}


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what TRL computes from its keys."""
    loss, level = read("loss_type"), read("importance_sampling_level")
    kind = "unknown" if loss.unknown else _KINDS.get(str(loss.value), "unknown")
    low, high = read.widths("epsilon", "epsilon_high")
    if kind == "cispo":
        # An absolute bound on the weight, 1 + high here; there is no lower one.
        low = Fact(1.0, "loss_type", loss.explicit)
        high = replace(high, value=high.value - 1 if is_number(high.value) else high.value)
    elif kind in ("sapo", "vespo"):
        low = high = Fact(None, "loss_type", loss.explicit)
    if kind == "vespo":
        level = Fact("sequence", "loss_type", loss.explicit)
    scale = read("scale_rewards")
    correction = read("vllm_importance_sampling_correction")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space={"sapo": "none", "vespo": "none", "unknown": "unknown"}.get(kind, "ratio"),
        level=level,
        low=low,
        high=high,
        cap=read.number("delta", optional=True) if kind == "clip" else Fact(None, "delta"),
        caps_both=True,
        updates=_trl_updates(read),
        temperature=read.number("temperature"),
        advantage=replace(scale, value="group" if scale.value is True else "none" if scale.value is False else scale.value),
        aggregation=loss,
        group_size=read("num_generations"),
        entropy_coef=read.number("entropy_coef"),
        kl_coef=read.number("beta"),
        log_prob_dtype=_trl_dtype(read),
        engine_correction=correction if read("use_vllm").value is True else Fact("same engine", "use_vllm"),
        unread=_unread(read, kind),
    )


def _trl_updates(read: Reader) -> Updates:
    grad, iterations = read.count("gradient_accumulation_steps"), read.count("num_iterations")
    generation = read("generation_batch_size")
    if read("steps_per_generation").value is None and generation.value is not None:
        device = read("per_device_train_batch_size")
        return Updates(
            None,
            f"generation_batch_size / (per_device_train_batch_size x processes) x num_iterations / gradient_accumulation_steps = "
            f"{shown(generation.value)} / ({shown(device.value)} x processes) x {shown(iterations)} / {shown(grad)}",
        )
    per = grad if read("steps_per_generation").value is None else read.count("steps_per_generation")
    formula = "steps_per_generation x num_iterations / gradient_accumulation_steps"
    if not (grad and per and iterations):
        return Updates(
            None, f"{formula} with {read.text('steps_per_generation', 'num_iterations', 'gradient_accumulation_steps')}"
        )
    # A generation that ends inside an optimiser step is as good as one that ends with it: nothing moved in between.
    count = 1.0 if grad % (per * iterations) == 0 else per * iterations / grad
    return Updates(count, f"{formula} = {shown(per)} x {shown(iterations)} / {shown(grad)}")


def _trl_dtype(read: Reader) -> Fact:
    if read("cast_lm_head_to_fp32").value is True:
        return Fact("float32", "cast_lm_head_to_fp32", True)
    if read("fp16").value is True:
        return Fact("fp16", "fp16", True)
    half = read("bf16")
    return replace(half, value="float32" if half.value is False else half.value if half.unknown else "bf16")


def _unread(read: Reader, kind: str) -> tuple[str, ...]:
    if kind in ("sapo", "vespo"):
        return ("epsilon", "epsilon_high", "delta")
    if kind == "cispo":
        return ("epsilon", "delta") if read("epsilon_high").value is not None else ("delta",)
    return ()
