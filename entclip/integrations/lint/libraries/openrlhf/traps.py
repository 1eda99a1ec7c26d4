"""Traps that only OpenRLHF has, or that it has in its own way."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import is_number, shown

__all__: list[str] = []


@rule("openrlhf-eps-shadowed", "error", "openrlhf")
def _shadowed(config: TrainerConfig) -> str | None:
    single, both = config.get("actor.eps_clip"), config.get("actor.eps_clip_low_high")
    if not single.explicit or both.value is None or single.value in both.value:
        return None
    return (
        f"--actor.eps_clip {shown(single.value)} is not read: --actor.eps_clip_low_high {both.value} wins. Remove the first, "
        "or give the widths you want to the second."
    )


@rule("width-unused", "info", "openrlhf")
def _unused(config: TrainerConfig) -> str | None:
    single, both = config.get("actor.eps_clip"), config.get("actor.eps_clip_low_high")
    if not single.explicit or both.value is None or single.value not in both.value or len(set(both.value)) == 1:
        return None
    return (
        f"--actor.eps_clip {shown(single.value)} is not used, as --actor.eps_clip_low_high {shown(both.value)} is set: it can be "
        "left out."
    )


@rule("openrlhf-flat-flags", "error", "openrlhf")
def _flat(config: TrainerConfig) -> str | None:
    if not config.renamed:
        return None
    return (
        f"{len(config.renamed)} flags have no group ({', '.join('--' + key for key in config.renamed[:4])}): they were grouped "
        f"in 0.11 (--eps_clip is --actor.eps_clip) and {config.library.release} refuses them. They are read here under their "
        "new names, where they have one, with the new version's defaults for the rest."
    )


@rule("openrlhf-entropy-temperature", "warn", "openrlhf")
def _entropy_temperature(config: TrainerConfig) -> str | None:
    if not is_number(config.temperature.value) or config.temperature.value == 1 or config.get("actor.entropy_coef").value is None:
        return None
    return (
        f"rollout.temperature = {shown(config.temperature.value)} with an entropy metric: up to 0.11.0 OpenRLHF took "
        "log-probabilities at this temperature but entropy at 1, up to 1.03 nats apart at 0.5. Use 0.11.2 or later, where "
        "both are at this temperature."
    )


@rule("entropy-not-logged", "warn", "openrlhf")
def _not_logged(config: TrainerConfig) -> str | None:
    if config.entropy_logged:
        return None
    return "actor.entropy_coef is unset, so entropy is not computed: --actor.entropy_coef 0 logs it without adding a bonus."


@rule("singleton-group", "error", "openrlhf")
def _singleton(config: TrainerConfig) -> str | None:
    grouped = ("rloo", "reinforce_baseline", "group_norm", "dr_grpo")
    if config.group_size.value != 1 or config.values.get("algo.advantage.estimator") not in grouped:
        return None
    return "rollout.n_samples_per_prompt = 1 with a group estimator: OpenRLHF refuses it, every advantage would be 0."
