"""Traps in the clip itself: bounds that do nothing, bounds that mean something else, ratios that are not what they seem."""

from __future__ import annotations

from math import exp, sqrt
from typing import Literal

from entclip.integrations.lint.facts import TrainerConfig, stated
from entclip.integrations.lint.liveness import NEVER, in_percent, liveness, side_off
from entclip.integrations.lint.rules import rule
from entclip.integrations.lint.values import Unresolved, is_number, shown

__all__: list[str] = []


def _many(config: TrainerConfig) -> bool:
    return config.updates.count is not None and config.updates.count > 1


@rule("clip-inert", "warn")
def _inert(config: TrainerConfig) -> str | None:
    once = config.updates.count is not None and config.updates.count <= 1 and not config.updates.engine
    if not once or liveness(config).alive != "no":
        return None
    return (
        f"The rollout is used for one update ({config.updates.formula}), so every ratio is 1 up to rounding: epsilons, dual "
        "clip, CISPO and covariance rules that need an off-policy step do nothing, and clip fractions stay 0. If you want a "
        f"clip, {config.library.more_updates}."
    )


@rule("side-off", "info")
def _side_off(config: TrainerConfig) -> str | None:
    if config.low.value is None or config.kind == "cispo" or in_percent(config):
        return None
    sides: tuple[Literal["low", "high"], ...] = ("low", "high")
    off = [side for side in sides if side_off(config, side)]
    if not off:
        return None
    facts = {"low": config.low, "high": config.high}
    return (
        f"The {' and '.join(off)} side never clips ({stated(*(facts[side] for side in off))}): a width of 1 below, or an "
        "infinite one above, switches a side off. Fine if meant: low-side clipping is what raises entropy, high-side clipping "
        "what lowers it."
    )


@rule("widths-ignored", "warn")
def _ignored(config: TrainerConfig) -> str | None:
    given = [config.get(key) for key in config.unread if key in config.values and config.values[key] is not None]
    if not given:
        return None
    return (
        f"{config.objective.key} = {config.objective.value} does not read {', '.join(fact.key for fact in given)} "
        f"({stated(*given)}). Remove them, or choose a clipped loss if you meant a clip."
    )


@rule("absolute-widths", "error")
def _absolute(config: TrainerConfig) -> str | None:
    low, high = config.low.value, config.high.value
    if config.kind == "cispo" or config.space != "ratio" or not (is_number(low) and is_number(high)):
        return None
    if not (0.5 <= low < 1 and 1 < high < 3):
        return None
    return (
        f"Low {shown(low)} and high {shown(high)} look like bounds on the ratio, but they are widths: the interval is "
        f"[{shown(1 - low)}, {shown(1 + high)}]. For the interval [{shown(low)}, {shown(high)}] set low to "
        f"{shown(round(1 - low, 6))} and high to {shown(round(high - 1, 6))}."
    )


@rule("percent-widths", "error")
def _percent(config: TrainerConfig) -> str | None:
    if not in_percent(config):
        return None
    return (
        f"{stated(config.low, config.high)} look like percent, but widths are parts of 1: set "
        f"{shown(config.low.value / 100)} and {shown(config.high.value / 100)}. As they are no ratio reaches either bound."
    )


@rule("tiny-token-width", "warn")
def _tiny(config: TrainerConfig) -> str | None:
    widths = [fact for fact in (config.low, config.high) if is_number(fact.value) and fact.value < 0.005]
    if config.level.value != "token" or config.space != "ratio" or not widths or config.kind == "cispo":
        return None
    return (
        f"{stated(*widths)} on token ratios: that is the size for sequence ratios (GSPO: 3e-4, 4e-4). After one update nearly "
        "every token is outside, so each keeps its gradient on the first update only. Use about 0.2, or a sequence-level "
        "ratio."
    )


@rule("wide-sequence-width", "warn")
def _wide(config: TrainerConfig) -> str | None:
    widths = [fact for fact in (config.low, config.high) if is_number(fact.value) and fact.value >= 0.01]
    if config.level.value != "sequence" or config.kind not in ("clip", "dual_clip") or not widths:
        return None
    return (
        f"{stated(*widths)} on sequence ratios, which are means of log-ratios over many tokens and stay within about 1e-3 of "
        "1: at widths meant for tokens the clip never acts. GSPO's paper uses 3e-4 below and 4e-4 above."
    )


@rule("sequence-aggregation", "warn")
def _aggregation(config: TrainerConfig) -> str | None:
    wrong = config.library.wrong_for_sequences
    if config.level.value != "sequence" or config.kind == "vespo" or config.aggregation.value not in wrong:
        return None
    return (
        f"One ratio per sequence, summed per token ({stated(config.aggregation)}): each sequence then weighs as much as it is "
        f"long, which is not GSPO's objective. Set {config.library.right_for_sequences}."
    )


@rule("same-name-different-math", "info")
def _same_name(config: TrainerConfig) -> str | None:
    texts = {
        "cispo": "CISPO is three objectives: TRL bounds the weight above by an absolute epsilon_high and not below; verl clips "
        "it to [1 - low, 1 + high]; TorchRL clips without detaching, so clipped tokens lose their gradient.",
        "gspo": "GSPO differs by library: TRL shares one clipped ratio per sequence; verl multiplies a detached sequence ratio "
        "by a token's gradient; OpenRLHF masks the ratio and forces a mean over sequences.",
        "geo_mean": "GMPO's bounds are in log space: verl clamps each token's log-ratio to [-low, high], then takes a mean.",
    }
    name = "gspo" if config.level.value == "sequence" and config.kind in ("clip", "dual_clip") else config.kind
    return f"{texts[name]} Compare runs across libraries by `entclip convert`, not by name." if name in texts else None


@rule("log-space-widths", "warn")
def _log_space(config: TrainerConfig) -> str | None:
    if config.space != "log_ratio" or not (is_number(config.low.value) and is_number(config.high.value)):
        return None
    low, high = config.low.value, config.high.value
    return (
        f"Under {config.objective.key} = {config.objective.value} the widths bound the logarithm of the ratio "
        f"({stated(config.low, config.high)}): the interval is [{exp(-low):.4g}, {exp(high):.4g}], not [{1 - low:.4g}, "
        f"{1 + high:.4g}]. GMPO's own setting is 0.4 on both sides."
    )


@rule("probability-mask", "warn")
def _mask(config: TrainerConfig) -> str | None:
    if config.space not in ("probability", "divergence") or liveness(config).alive == "no":
        return None
    quantity = "a change of probability, pi - pi_old" if config.space == "probability" else "a divergence"
    cap = (
        f" {config.cap.key.rpartition('.')[2]} = {shown(config.cap.value)} truncates the ratio here (DPPO uses 20)."
        if config.cap.value is not None and config.cap.value != 20
        else ""
    )
    return (
        f"The thresholds ({stated(config.low, config.high)}) bound {quantity}, not a ratio: rare tokens are never masked, "
        "frequent ones soon are, the reverse of a ratio clip, and its entropy effect can have the opposite sign. Do not "
        f"compare them with epsilons.{cap}"
    )


@rule("dual-clip-on", "info", common=True)
def _dual(config: TrainerConfig) -> str | None:
    if not is_number(config.cap.value) or config.cap.value >= NEVER or config.space != "ratio" or config.doubtful:
        return None
    if liveness(config).alive == "no":
        return None
    return (
        f"A third bound is on ({stated(config.cap)}): tokens with A < 0 and a ratio above it lose their gradient. It is "
        f"neither clip-low nor clip-high, and adds a term of its own to the entropy drift (T10).{config.library.cap_note}"
    )


@rule("ratio-against-engine", "warn")
def _engine(config: TrainerConfig) -> str | None:
    if not config.updates.engine or config.space in ("none", "unknown") or liveness(config).alive == "no":
        return None
    return (
        f"The ratio is taken to the sampling engine's probabilities ({config.updates.engine}), so numerical mismatch between "
        "engine and trainer counts as policy change and is clipped, on the first update too. Read the clip fraction as "
        "mismatch plus learning."
    )


@rule("unknown-loss", "error")
def _unknown_loss(config: TrainerConfig) -> str | None:
    names = config.library.losses
    if config.kind != "unknown" or isinstance(config.objective.value, Unresolved) or config.objective.value in names:
        return None
    spelt = str(config.objective.value).replace("-", "_")
    hint = f" Its name is {spelt}." if spelt in names else ""
    return (
        f"{config.objective.key} = {config.objective.value} is not a loss of {config.library.release} ({', '.join(names)}): "
        f"training stops with an error unless a plugin registers it.{hint}"
    )


@rule("sawtooth", "info")
def _sawtooth(config: TrainerConfig) -> str | None:
    if not _many(config) or config.updates.engine or config.space == "none" or liveness(config).alive != "yes":
        return None
    return (
        f"{shown(config.updates.count)} updates per rollout: the first never clips (its ratio is 1) and later ones clip more, "
        "so the logged clip fraction is a sawtooth. An average over the rollout hides it: report it by inner step."
    )


@rule("kl-stop", "info")
def _kl_stop(config: TrainerConfig) -> str | None:
    updates, width = config.updates, config.low.value
    if not updates.stop:
        return None
    if updates.stop_at is None or not updates.stop_at > 0:
        return f"{updates.stop}: a rollout's updates end once its KL divergence is beyond that, before their count is reached."
    rms = sqrt(2 * updates.stop_at)
    beside = f" beside a width of {shown(width)}" if is_number(width) else ""
    return (
        f"A rollout's updates end once its KL divergence is beyond {shown(updates.stop_at)} nats ({updates.stop}): log-ratios "
        f"then have an rms of about {rms:.2g}{beside}. The stop bounds the same thing as the clip, so that a tighter stop leaves "
        "the clip less to do; and as the number of updates varies, a clip share averaged over them is not comparable between "
        "rollouts."
    )


@rule("stale-rollouts", "info")
def _stale(config: TrainerConfig) -> str | None:
    if config.kind == "unused" or not config.updates.stale:
        return None
    if config.updates.engine:
        consequence = "the ratio sees this age, so the clip acts on it"
    else:
        consequence = "old log-probabilities are recomputed when training starts, so the ratio, and the clip, do not see this age"
    return f"Rollouts may come from an older policy than the one being updated ({config.updates.stale}): {consequence}."
