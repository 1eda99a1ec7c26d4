"""From the keys of OpenRLHF to facts, as its source computes them."""

from __future__ import annotations

from dataclasses import replace

from entclip.integrations.lint.facts import Fact, Reader, TrainerConfig, either
from entclip.integrations.lint.values import Unresolved, is_number

__all__ = ["build"]


def build(read: Reader, evidence: str) -> TrainerConfig:
    """Return what OpenRLHF computes from its keys."""
    loss = read("actor.policy_loss_type")
    sequence = loss.value == "gspo"
    low, high = _openrlhf_widths(read)
    cap = read.number("actor.dual_clip", optional=True)
    kind = "unknown" if loss.value not in ("ppo", "gspo") else "clip" if cap.value is None else "dual_clip"
    estimator, no_std = read("algo.advantage.estimator"), read("algo.advantage.no_std_norm")
    whitened = estimator.value in ("gae", "reinforce", "reinforce_baseline") and no_std.value is not True
    correction, engines = _correction(read), read("vllm.num_engines")
    return TrainerConfig(
        library=read.library,
        evidence=evidence,
        objective=loss,
        kind=kind,
        space="unknown" if kind == "unknown" else "ratio",
        level=Fact("sequence" if sequence else "token", loss.key, loss.explicit),
        low=low,
        high=high,
        cap=cap,
        updates=read.updates(
            ("rollout.batch_size", "rollout.n_samples_per_prompt"),
            "train.batch_size",
            ("train.max_epochs",),
            engine=f"gspo with {correction.key} = {correction.value}"
            if sequence and correction.value in ("token", "seq")
            else "",
            stale="train.async_enable" if read("train.async_enable").value is True else "",
        ),
        temperature=read.number("rollout.temperature"),
        advantage=replace(estimator, value="group" if estimator.value == "group_norm" else "batch" if whitened else "none"),
        aggregation=Fact("seq-mean-token-mean", loss.key, True) if sequence else read("actor.loss_agg_mode"),
        group_size=read("rollout.n_samples_per_prompt"),
        entropy_coef=either(read.number("actor.entropy_coef", optional=True), Fact(0.0, "actor.entropy_coef")),
        kl_coef=read.number("algo.kl.init_coef"),
        log_prob_dtype=read("ds.param_dtype"),
        engine_correction=Fact("same engine", engines.key, engines.explicit) if engines.value in (0, None) else correction,
        entropy_logged=read("actor.entropy_coef").value is not None,
    )


def _correction(read: Reader) -> Fact:
    """The importance correction; 0.11.0 had a switch, which its own examples still set, where 0.11.2 has levels."""
    level, switch = read("algo.advantage.is_correction_level"), read("algo.advantage.is_correction_enable")
    return replace(switch, value="token") if switch.value is True and level.value == "off" else level


def _openrlhf_widths(read: Reader) -> tuple[Fact, Fact]:
    both = read("actor.eps_clip_low_high")
    if both.value is None:
        single = read.bound("actor.eps_clip")
        return single, single
    if both.unknown:
        return both, both
    pair = both.value if isinstance(both.value, list) else [both.value]
    if len(pair) != 2 or not all(isinstance(v, Unresolved) or (is_number(v) and v >= 0) for v in pair):
        raise ValueError(f"actor.eps_clip_low_high takes two widths at least 0, LOW HIGH, got {both.value}.")
    return replace(both, value=pair[0]), replace(both, value=pair[1])
