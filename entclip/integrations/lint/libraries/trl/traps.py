"""Traps that only TRL has, or that it has in its own way."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig, stated
from entclip.integrations.lint.liveness import cap_cuts, liveness
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import is_number, shown

__all__ = ["cispo_bound", "delta_below_high", "older_version"]


@rule("trl-cispo-bound", "error", "trl")
def cispo_bound(config: TrainerConfig) -> str | None:
    """Say that a width was given where the loss takes an absolute bound."""
    given = config.get("epsilon_high") if config.get("epsilon_high").value is not None else config.get("epsilon")
    if config.kind != "cispo" or not is_number(given.value) or given.value >= 1:
        return None
    return (
        f"With loss_type = cispo, epsilon_high is an absolute bound on the weight, not a width: {stated(given)} scales every "
        f"token down to at most {shown(given.value)} of its gradient, on-policy too. The published value is 5.0; a width of "
        f"{shown(given.value)} is epsilon_high = {shown(1 + given.value)}."
    )


@rule("trl-delta-below-high", "error", "trl")
def delta_below_high(config: TrainerConfig) -> str | None:
    """Say that the third bound is no higher than the second."""
    if not cap_cuts(config):
        return None
    return (
        f"delta = {shown(config.cap.value)} is not above 1 + eps_high = {shown(1 + config.high.value)}: it caps the ratio for "
        "both signs, so tokens with A > 0 stop at delta, and the high side's clip metric reads 0 since the capped ratio never "
        "passes eps_high. Set delta well above 1 + eps_high."
    )


@rule("trl-liger", "warn", "trl")
def _liger(config: TrainerConfig) -> str | None:
    keys = [key for key in ("use_liger_kernel", "use_liger_loss") if config.values.get(key) is True]
    if not keys:
        return None
    return (
        f"{keys[0]} = True: TRL's fused Liger loss (before 1.14) logs one merged clip_ratio and no entropy, and refuses an "
        f"entropy bonus; {config.library.release} applies Liger's layer kernels only, logs both, and deprecates the key. Check "
        "which one runs."
    )


@rule("trl-clip-extremes", "info", "trl")
def _extremes(config: TrainerConfig) -> str | None:
    if liveness(config).alive != "yes" or config.kind != "clip":
        return None
    return (
        "clip_ratio/low_min and clip_ratio/high_max are extremes over completions of a per-completion share, not over tokens: "
        "use low_mean and high_mean, which are shares of tokens."
    )


@rule("trl-dapo-scale", "info", "trl")
def _dapo(config: TrainerConfig) -> str | None:
    count = config.updates.count
    if config.objective.value not in ("dapo", "cispo") or count is None or count <= 1:
        return None
    return (
        f"loss_type = {config.objective.value} with several updates per generation: before the rescaling that 1.16.0 has (1.10 "
        "had not) the loss was smaller by gradient_accumulation_steps / steps_per_generation, exactly where the clip acts. "
        "AdamW hides most of it, SGD does not: compare runs of one version."
    )


@rule("adaptive-entropy-target", "warn", "trl")
def _adaptive(config: TrainerConfig) -> str | None:
    target = config.get("entropy_target")
    if config.get("use_adaptive_entropy").value is not True or not is_number(target.value) or target.value > 0.2:
        return None
    return (
        f"use_adaptive_entropy with entropy_target = {shown(target.value)}: the bonus is applied only at or below the target, "
        "which a model reaches on collapse only. Set it near the entropy seen early in training."
    )


@rule("negative-sequence-mask", "info", "trl")
def _sequence_mask(config: TrainerConfig) -> str | None:
    threshold = config.get("off_policy_mask_threshold")
    if threshold.value is None:
        return None
    return (
        f"off_policy_mask_threshold = {shown(threshold.value)} drops whole sequences with A < 0 that moved far: a second "
        "low-side clip, which raises entropy where the clip's low side does, and which no clip_ratio metric counts."
    )


@rule("entropy-quantile-mask", "info", "trl")
def _quantile(config: TrainerConfig) -> str | None:
    quantile = config.get("top_entropy_quantile")
    if not is_number(quantile.value) or quantile.value >= 1:
        return None
    return (
        f"top_entropy_quantile = {shown(quantile.value)} keeps the loss on the tokens of highest entropy only: it raises "
        "entropy by itself (highest at 0.2 in the paper), so runs with and without it do not isolate the clip."
    )


@rule("singleton-group", "error", "trl")
def _singleton(config: TrainerConfig) -> str | None:
    if config.group_size.value != 1:
        return None
    return "num_generations = 1: TRL refuses groups of one, whose advantage is 0. Set it to 2 or more."


@rule("older-version", "warn", "trl")
def older_version(config: TrainerConfig) -> str | None:
    """Say that defaults have changed since the version whose keys are used, where one that changed is left unset."""
    moved = [key for key in ("loss_type", "beta") if not config.get(key).explicit]
    if not config.renamed or not moved:
        return None
    return (
        f"{', '.join(config.renamed[:3])}: keys that an earlier TRL or transformers had. What is called a default is that of "
        f"1.16.0; {' and '.join(moved)} had another one before (loss_type grpo, then bnpo; beta 0.04). Set what matters."
    )
