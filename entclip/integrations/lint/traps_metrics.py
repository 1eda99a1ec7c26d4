"""Traps around the clip: what the logged numbers mean, and what else moves entropy in the same run."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig, stated
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import is_number, shown

__all__: list[str] = []


@rule("entropy-differences", "info", common=True)
def _differences(config: TrainerConfig) -> str | None:
    if not config.entropy_logged:
        return None
    return (
        "Logged entropy is that of the batch before its update, so the difference between two batches mixes the update with "
        "the change of batch: in a test on TRL 3 of 7 had the wrong sign, up to ten times too large. Evaluate the same states "
        "before and after the step. (Rows of one batch that is used several times in a row are the same states.)"
    )


@rule("temperature", "info")
def _temperature(config: TrainerConfig) -> str | None:
    if not is_number(config.temperature.value) or config.temperature.value == 1:
        return None
    return (
        f"{config.temperature.key} = {shown(config.temperature.value)}: ratios and entropy are those of logits / temperature, "
        "the policy that samples. Entropies at different temperatures are not comparable, and the trained model at 1 has "
        "another one."
    )


@rule("truncated-sampling", "warn")
def _truncated(config: TrainerConfig) -> str | None:
    found = [(config.get(key), neutral) for key, neutral in config.library.truncation.items()]
    cuts = [fact for fact, neutral in found if is_number(fact.value) and fact.value not in neutral]
    if not cuts:
        return None
    return (
        f"{', '.join(f'{fact.key} = {shown(fact.value)}' for fact in cuts)}: tokens are drawn from a truncated policy, but "
        "ratios and entropy are those of the full one. Rare tokens, which the low side acts on, are never sampled; theory "
        "here assumes top-p 1."
    )


@rule("advantage-scale", "info")
def _advantage(config: TrainerConfig) -> str | None:
    if config.advantage.value == "group":
        return (
            f"Advantages are divided by the group's standard deviation ({config.library.std_offset}): the clip's effect scales "
            "with M = E|A|/2 (T7: .43 instead of .22 for G = 8, p = .5), and easy and hard prompts weigh alike. Offsets "
            "differ by library; the paper divides by nothing."
        )
    if config.advantage.value == "batch":
        return (
            f"Advantages are divided by a standard deviation over the batch ({config.advantage.key}): the clip's effect then "
            "scales with the spread of the other prompts' rewards, and so does M of T6."
        )
    return None


@rule("entropy-bonus", "info")
def _bonus(config: TrainerConfig) -> str | None:
    value = config.entropy_coef.value
    if not is_number(value) or value == 0:
        return None
    size = "1e-2 exploded and 5e-3 was stable in published runs" if value > 0 else "a negative bonus pushes entropy down"
    return (
        f"{config.entropy_coef.key} = {shown(value)} adds an entropy bonus: it moves entropy whatever the clip does ({size}). "
        "Switch it off to see the clip's effect, or account for it on a line of its own."
    )


@rule("kl-term", "info")
def _kl(config: TrainerConfig) -> str | None:
    value = config.kl_coef.value
    if not is_number(value) or value == 0:
        return None
    default = "" if config.kl_coef.explicit else " (the library's default)"
    what = (
        "penalises the squared log-ratio to the sampling policy"
        if config.library.kl_to_sampler
        else "pulls the policy to a reference"
    )
    return (
        f"{config.kl_coef.key} = {shown(value)}{default} {what}: a force on entropy beside the clip's. The paper's runs have "
        "none; set it to 0 to attribute a change of entropy to the clip."
    )


@rule("engine-mismatch", "warn", common=True)
def _mismatch(config: TrainerConfig) -> str | None:
    if config.engine_correction.value not in (False, None, "off"):
        return None
    return (
        f"Rollouts come from an inference engine and {config.engine_correction.key} = {shown(config.engine_correction.value)}: "
        "its probabilities differ from the trainer's, and nothing corrects the gradient for it. The ratio does not see this "
        "mismatch."
    )


@rule("low-precision-log-probs", "warn", common=True)
def _precision(config: TrainerConfig) -> str | None:
    if config.log_prob_dtype.value != "bf16":
        return None
    default = "" if config.log_prob_dtype.explicit else " by default"
    return (
        f"The model runs in {config.log_prob_dtype.value}{default}: rounded log-probabilities bias the ratio upward, which "
        "acts like a clip that lowers entropy (2603.11682: full precision turned a collapse into growth). For entropy work "
        f"{config.library.precise}."
    )


_METRIC = {
    "merged": "adds low and high clip events into one number. Their effects on entropy are opposite, so the width to change "
    "cannot be read from it: count the two sides yourself, by the sign of the advantage.",
    "ungated": "counts ratios beyond either bound whatever the sign of A: about half of these samples lose no gradient, and both "
    "sides are in one number.",
}


@rule("merged-clip-metric", "info", common=True)
def _merged(config: TrainerConfig) -> str | None:
    metric = config.library.clip_metric
    return None if metric is None or config.space == "none" or config.doubtful else f"{metric[0]} {_METRIC[metric[1]]}"


@rule("singleton-group", "error")
def _alone(config: TrainerConfig) -> str | None:
    if not config.alone or config.doubtful:
        return None
    return f"{stated(config.group_size)}: {config.alone}, so no sample is better or worse than its group. Set it to 8 or more."


@rule("settings-elsewhere", "warn")
def _elsewhere(config: TrainerConfig) -> str | None:
    if not config.elsewhere:
        return None
    return (
        f"{', '.join(config.elsewhere)}: not read here, so what is called a default may be set there. Lint the resolved "
        "configuration, which most trainers print at start or save with the run, or a script with these arguments written out."
    )
