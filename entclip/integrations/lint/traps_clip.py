"""Traps in the clip itself: bounds that do nothing, bounds that mean something else, ratios that are not what they seem."""

from __future__ import annotations

from math import exp
from typing import Literal

from entclip.integrations.lint.facts import Fact, TrainerConfig, is_number, shown
from entclip.integrations.lint.liveness import NEVER, liveness, side_off
from entclip.integrations.lint.reading import Unresolved
from entclip.integrations.lint.rules import rule

__all__: list[str] = []

_A = "actor_rollout_ref.actor."
_TRL_LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")
_VERL_LOSSES = (
    "vanilla", "dppo_tv", "dppo_kl", "gspo", "sapo", "gpg", "clip_cov", "kl_cov", "geo_mean", "dro", "cispo", "bypass_mode",
)  # fmt: skip


def _many(config: TrainerConfig) -> bool:
    return config.updates.count is not None and config.updates.count > 1


def _set(*facts: Fact) -> str:
    return ", ".join(dict.fromkeys(f"{f.key} = {shown(f.value)}{'' if f.explicit else ' (default)'}" for f in facts))


@rule("clip-inert", "warn", "trl", "verl", "openrlhf")
def _inert(config: TrainerConfig) -> str | None:
    once = config.updates.count is not None and config.updates.count <= 1 and not config.updates.engine
    if not once or liveness(config).alive != "no":
        return None
    more = {
        "trl": "raise num_iterations, or steps_per_generation above gradient_accumulation_steps",
        "verl": "set ppo_mini_batch_size below data.train_batch_size, or ppo_epochs above 1",
        "openrlhf": "set train.batch_size below rollout.batch_size x rollout.n_samples_per_prompt, or train.max_epochs above 1",
    }[config.library.name]
    return (
        f"The rollout is used for one update ({config.updates.formula}), so every ratio is 1 up to rounding: epsilons, dual "
        "clip, CISPO "
        f"and covariance rules that need an off-policy step do nothing, and clip fractions stay 0. If you want a clip, {more}."
    )


@rule("side-off", "info")
def _side_off(config: TrainerConfig) -> str | None:
    if config.low.value is None or config.kind == "cispo":
        return None
    sides: tuple[Literal["low", "high"], ...] = ("low", "high")
    off = [side for side in sides if side_off(config, side)]
    if not off:
        return None
    facts = {"low": config.low, "high": config.high}
    return (
        f"The {' and '.join(off)} side never clips ({_set(*(facts[side] for side in off))}): a width of 1 below, or an "
        "infinite one "
        "above, switches a side off. Fine if meant: low-side clipping is what raises entropy, high-side clipping what lowers it."
    )


@rule("verl-clip-ratio-dead", "error", "verl")
def _dead(config: TrainerConfig) -> str | None:
    shared = config.get(_A + "clip_ratio")
    sides = [config.get(_A + "clip_ratio_low"), config.get(_A + "clip_ratio_high")]
    winning = [side for side in sides if side.value is not None and side.value != shared.value]
    if not shared.explicit or not winning or config.space == "none":
        return None
    return (
        f"clip_ratio = {shown(shared.value)} is not read: clip_ratio_low and clip_ratio_high win, and both are 0.2 unless set "
        f"({_set(*winning)}). Set these two instead, or set them to null to make clip_ratio count."
    )


@rule("widths-ignored", "warn", "trl", "verl")
def _ignored(config: TrainerConfig) -> str | None:
    dead: tuple[str, ...]
    if config.library.name == "trl":
        dead = {
            "sapo": ("epsilon", "epsilon_high", "delta"),
            "vespo": ("epsilon", "epsilon_high", "delta"),
            "cispo": ("epsilon", "delta") if config.get("epsilon_high").value is not None else ("delta",),
        }.get(config.kind, ())
    else:
        widths = (_A + "clip_ratio", _A + "clip_ratio_low", _A + "clip_ratio_high")
        dead = widths if config.space == "none" else ()
        if config.kind not in ("dual_clip", "dppo_tv", "dppo_kl", "unknown"):
            dead += (_A + "clip_ratio_c",)
    given = [config.get(key) for key in dead if key in config.values and config.values[key] is not None]
    if not given:
        return None
    return (
        f"{config.objective.key} = {config.objective.value} does not read {', '.join(fact.key for fact in given)} "
        f"({_set(*given)}). "
        "Remove them, or choose a clipped loss if you meant a clip."
    )


@rule("openrlhf-eps-shadowed", "error", "openrlhf")
def _shadowed(config: TrainerConfig) -> str | None:
    single, both = config.get("actor.eps_clip"), config.get("actor.eps_clip_low_high")
    if not single.explicit or both.value is None or both.value == [single.value, single.value]:
        return None
    return (
        f"--actor.eps_clip {shown(single.value)} is not read: --actor.eps_clip_low_high {both.value} wins. Remove the first, "
        "or give "
        "the widths you want to the second."
    )


@rule("openrlhf-flat-flags", "error", "openrlhf")
def _flat(config: TrainerConfig) -> str | None:
    if not config.renamed:
        return None
    return (
        f"{len(config.renamed)} flags have no group ({', '.join('--' + key for key in config.renamed[:4])}): they were grouped "
        "in 0.11 "
        f"(--eps_clip is --actor.eps_clip) and {config.library.release} refuses them. They are read here under their new names, "
        "where they have one, with the new version's defaults for the rest."
    )


@rule("absolute-widths", "error", "trl", "verl", "openrlhf")
def _absolute(config: TrainerConfig) -> str | None:
    low, high = config.low.value, config.high.value
    if config.kind == "cispo" or config.space != "ratio" or not (is_number(low) and is_number(high)):
        return None
    if not (0.5 <= low < 1 and 1 < high < 3):
        return None
    return (
        f"Low {shown(low)} and high {shown(high)} look like bounds on the ratio, but they are widths: the interval is "
        f"[{shown(1 - low)}, {shown(1 + high)}]. For the interval [{shown(low)}, {shown(high)}] set low to "
        f"{shown(round(1 - low, 6))} "
        f"and high to {shown(round(high - 1, 6))}."
    )


@rule("tiny-token-width", "warn", "trl", "verl", "openrlhf")
def _tiny(config: TrainerConfig) -> str | None:
    widths = [fact for fact in (config.low, config.high) if is_number(fact.value) and fact.value < 0.005]
    if config.level.value != "token" or config.space != "ratio" or not widths or config.kind == "cispo":
        return None
    return (
        f"{_set(*widths)} on token ratios: that is the size for sequence ratios (GSPO: 3e-4, 4e-4). After one update nearly "
        "every "
        "token is outside, so each keeps its gradient on the first update only. Use about 0.2, or a sequence-level ratio."
    )


@rule("wide-sequence-width", "warn", "trl", "verl", "openrlhf")
def _wide(config: TrainerConfig) -> str | None:
    widths = [fact for fact in (config.low, config.high) if is_number(fact.value) and fact.value >= 0.01]
    if config.level.value != "sequence" or config.kind not in ("clip", "dual_clip") or not widths:
        return None
    return (
        f"{_set(*widths)} on sequence ratios, which are means of log-ratios over many tokens and stay within about 1e-3 of 1: at "
        "widths meant for tokens the clip never acts. GSPO's paper uses 3e-4 below and 4e-4 above."
    )


@rule("sequence-aggregation", "warn", "trl", "verl")
def _aggregation(config: TrainerConfig) -> str | None:
    trl = config.library.name == "trl"
    wrong = ("bnpo", "dr_grpo", "dapo", "cispo") if trl else ("token-mean", "token-sum")
    if config.level.value != "sequence" or config.kind == "vespo" or config.aggregation.value not in wrong:
        return None
    right = "loss_type = grpo" if trl else f"{_A}loss_agg_mode = seq-mean-token-mean"
    return (
        f"One ratio per sequence, summed per token ({_set(config.aggregation)}): each sequence then weighs as much as it is "
        "long, "
        f"which is not GSPO's objective. Set {right}."
    )


@rule("trl-cispo-bound", "error", "trl")
def _cispo(config: TrainerConfig) -> str | None:
    given = config.get("epsilon_high") if config.get("epsilon_high").value is not None else config.get("epsilon")
    if config.kind != "cispo" or not is_number(given.value) or given.value >= 1:
        return None
    return (
        f"With loss_type = cispo, epsilon_high is an absolute bound on the weight, not a width: {_set(given)} scales every "
        "token down "
        f"to at most {shown(given.value)} of its gradient, on-policy too. The published value is 5.0; a width of "
        f"{shown(given.value)} is epsilon_high = {shown(1 + given.value)}."
    )


@rule("same-name-different-math", "info", "trl", "verl", "openrlhf")
def _same_name(config: TrainerConfig) -> str | None:
    texts = {
        "cispo": "CISPO is three objectives: TRL bounds the weight above by an absolute epsilon_high and not below; verl clips "
        "it to "
        "[1 - low, 1 + high]; TorchRL clips without detaching, so clipped tokens lose their gradient.",
        "gspo": "GSPO differs by library: TRL shares one clipped ratio per sequence; verl multiplies a detached sequence ratio "
        "by a "
        "token's gradient; OpenRLHF masks the ratio and forces a mean over sequences.",
        "geo_mean": "GMPO's bounds are in log space: verl clamps each token's log-ratio to [-low, high], then takes a mean.",
    }
    name = "gspo" if config.level.value == "sequence" and config.kind in ("clip", "dual_clip") else config.kind
    return f"{texts[name]} Compare runs across libraries by `entclip convert`, not by name." if name in texts else None


@rule("log-space-widths", "warn", "verl")
def _log_space(config: TrainerConfig) -> str | None:
    if config.space != "log_ratio" or not (is_number(config.low.value) and is_number(config.high.value)):
        return None
    low, high = config.low.value, config.high.value
    return (
        f"Under loss_mode = geo_mean the widths bound the logarithm of the ratio ({_set(config.low, config.high)}): the "
        "interval is "
        f"[{exp(-low):.4g}, {exp(high):.4g}], not [{1 - low:.4g}, {1 + high:.4g}]. GMPO's own setting is 0.4 on both sides."
    )


@rule("probability-mask", "warn", "verl", "prime-rl")
def _mask(config: TrainerConfig) -> str | None:
    if config.space not in ("probability", "divergence") or liveness(config).alive == "no":
        return None
    quantity = "a change of probability, pi - pi_old" if config.space == "probability" else "a divergence"
    cap = (
        f" clip_ratio_c = {shown(config.cap.value)} truncates the ratio here (DPPO uses 20)."
        if config.cap.value is not None and config.cap.value != 20
        else ""
    )
    return (
        f"The thresholds ({_set(config.low, config.high)}) bound {quantity}, not a ratio: rare tokens are never masked, frequent "
        "ones soon are, the reverse of a ratio clip, and its entropy effect can have the opposite sign. Do not compare them with "
        f"epsilons.{cap}"
    )


@rule("dual-clip-on", "info", "verl", "openrlhf", "trl")
def _dual(config: TrainerConfig) -> str | None:
    if not is_number(config.cap.value) or config.cap.value >= NEVER or config.space != "ratio" or liveness(config).alive == "no":
        return None
    always = " verl's vanilla loss has no way to switch it off but a large value." if config.library.name == "verl" else ""
    return (
        f"A third bound is on ({_set(config.cap)}): tokens with A < 0 and a ratio above it lose their gradient. It is neither "
        "clip-low "
        f"nor clip-high, and adds a term of its own to the entropy drift (T10).{always}"
    )


@rule("trl-delta-below-high", "error", "trl")
def _delta(config: TrainerConfig) -> str | None:
    if not (is_number(config.cap.value) and is_number(config.high.value)) or config.cap.value > 1 + config.high.value:
        return None
    return (
        f"delta = {shown(config.cap.value)} is not above 1 + eps_high = {shown(1 + config.high.value)}: it caps the ratio for "
        "both "
        "signs, so tokens with A > 0 stop at delta, and clip_ratio/high_mean reads 0 since the capped ratio never passes "
        "eps_high. "
        "Set delta well above 1 + eps_high."
    )


@rule("ratio-against-engine", "warn", "verl", "openrlhf", "prime-rl")
def _engine(config: TrainerConfig) -> str | None:
    if not config.updates.engine or config.space in ("none", "unknown") or liveness(config).alive == "no":
        return None
    why = {
        "verl": "algorithm.rollout_correction.bypass_mode = True",
        "openrlhf": f"gspo with {config.engine_correction.key} = {config.engine_correction.value}",
        "prime-rl": "prime-rl's losses always do",
    }[config.library.name]
    return (
        f"The ratio is taken to the sampling engine's probabilities ({why}), so numerical mismatch between engine and trainer "
        "counts as policy change and is clipped, on the first update too. Read the clip fraction as mismatch plus learning."
    )


@rule("verl-loss-replaced", "error", "verl")
def _replaced(config: TrainerConfig) -> str | None:
    asked = config.get(_A + "policy_loss.loss_mode")
    if not config.updates.engine or not asked.explicit or asked.value in ("vanilla", "bypass_mode"):
        return None
    return (
        f"algorithm.rollout_correction.bypass_mode = True replaces the loss by bypass_mode: loss_mode = {asked.value} is never "
        "used. "
        "Drop one of the two."
    )


@rule("unknown-loss", "error")
def _unknown_loss(config: TrainerConfig) -> str | None:
    if config.kind != "unknown" or isinstance(config.objective.value, Unresolved):
        return None
    names = {"trl": _TRL_LOSSES, "verl": _VERL_LOSSES, "openrlhf": ("ppo", "gspo"), "prime-rl": ("default", "ipo", "custom")}[
        config.library.name
    ]
    spelt = str(config.objective.value).replace("-", "_")
    hint = f" Its name is {spelt}." if spelt in names else ""
    return (
        f"{config.objective.key} = {config.objective.value} is not a loss of {config.library.release} ({', '.join(names)}): "
        "training "
        f"stops with an error unless a plugin registers it.{hint}"
    )


@rule("sawtooth", "info", "trl", "verl", "openrlhf")
def _sawtooth(config: TrainerConfig) -> str | None:
    if not _many(config) or config.updates.engine or config.space == "none" or liveness(config).alive != "yes":
        return None
    return (
        f"{shown(config.updates.count)} updates per rollout: the first never clips (its ratio is 1) and later ones clip more, "
        "so the "
        "logged clip fraction is a sawtooth. An average over the rollout hides it: report it by inner step."
    )


@rule("stale-rollouts", "info", "verl", "openrlhf", "prime-rl")
def _stale(config: TrainerConfig) -> str | None:
    mode = config.values.get("trainer.v1.trainer_mode", "sync")
    if config.kind == "unused" or (not config.updates.stale and mode in ("sync", None)):
        return None
    if config.updates.engine:
        consequence = "the ratio sees this age, so the clip acts on it"
    else:
        consequence = "old log-probabilities are recomputed when training starts, so the ratio, and the clip, do not see this age"
    return f"Rollouts may come from an older policy than the one being updated: {consequence}."
