"""Whether a clip can act at all, and which way entropy is then expected to move. Claims T4, T6, T10."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from entclip.integrations.lint.facts import Fact, TrainerConfig
from entclip.integrations.lint.values import Unresolved, is_number, shown

__all__ = ["NEVER", "OUT_OF_REACH", "Bias", "Liveness", "cap_cuts", "expected_bias", "in_percent", "liveness", "side_off"]

# Both verl and OpenRLHF clamp log-ratios to +-20 before they clip: a wider bound never acts.
NEVER = 1e8
OUT_OF_REACH = 0.1  # width of a sequence's ratio: a hundred times what one update moves it
_UNBOUNDED = {
    "kl_cov": "KL-Cov has no ratio clip: it adds a penalty to the tokens of largest covariance",
    "gpg": "The loss has no importance ratio at all",
    "dro": "DRO has no ratio clip: it penalises the squared log-ratio",
    "reinforce": "The reinforce loss has no clip: it weights by a truncated ratio",
    "unused": "The algorithm does not use the rl loss, so its mask is never evaluated",
}


@dataclass(frozen=True)
class Liveness:
    """alive: yes, no or unknown; the reason in one sentence."""

    alive: Literal["yes", "no", "unknown"]
    reason: str


@dataclass(frozen=True)
class Bias:
    """Expected sign of the clip's first-order effect on entropy under random reward.

    low, high: what clipping at that side does (raises, lowers, none, either); net: their sum, where the theory decides it.
    """

    low: str
    high: str
    net: str
    text: str


def side_off(config: TrainerConfig, side: Literal["low", "high"]) -> bool | None:
    """Tell whether a side never clips; None if unknown, True also where the objective has no such side."""
    fact = config.low if side == "low" else config.high
    if fact.value is None:
        return True
    if not is_number(fact.value):
        return None
    if config.space == "probability":
        return bool(fact.value >= 1)
    if config.space in ("log_ratio", "divergence"):
        return bool(fact.value >= 20)
    return bool(fact.value >= (1 if side == "low" else NEVER))


def cap_cuts(config: TrainerConfig) -> bool:
    """Tell whether the third bound is no higher than the second: then it is no bound on rare ratios."""
    cap, high = config.cap.value, config.high.value
    if config.space != "ratio" or side_off(config, "high") is not False or not is_number(cap):
        return False
    return bool(cap <= 1 + high)


def in_percent(config: TrainerConfig) -> bool:
    """Tell whether both widths are a hundred times what widths are, 20 and 28: no ratio gets there, and none means off."""
    low, high = config.low.value, config.high.value
    if config.kind not in ("clip", "dual_clip") or config.space != "ratio" or not (is_number(low) and is_number(high)):
        return False
    return bool(1 < low <= 100 and 1 < high <= 100)


def liveness(config: TrainerConfig) -> Liveness:
    """Tell whether a ratio can leave the band. It cannot where the objective has none, both sides are off, or the ratio is
    always 1."""
    updates = config.updates
    if config.elsewhere:
        return Liveness("unknown", f"{', '.join(config.elsewhere)} may hold settings and cannot be read here.")
    if config.doubtful:
        first, more = config.doubtful[0], len(config.doubtful) - 1
        keys = f"{first} = {shown(config.values[first])}{f' (and {more} more)' if more else ''}"
        return Liveness(
            "unknown", f"{keys} is not a key of {config.library.release} (a fork's?), and it may decide what the clip does."
        )
    if config.kind in _UNBOUNDED:
        return Liveness("no", f"{_UNBOUNDED[config.kind]}.")
    if config.kind == "unknown" and config.objective.unknown:
        return Liveness("unknown", f"{config.objective.key} = {config.objective.value} is not in the configuration.")
    if config.kind in ("unknown", "custom"):
        return Liveness("unknown", f"{config.objective.key} = {config.objective.value} is a loss that this table does not hold.")
    soft = config.kind in ("sapo", "vespo")
    off = [side_off(config, "low"), side_off(config, "high")]
    if all(off) and not soft:
        return Liveness("no", f"Both sides are off (low {shown(config.low.value)}, high {shown(config.high.value)}).")
    if in_percent(config):
        low, high = config.low, config.high
        keys = " and ".join(dict.fromkeys(f"{fact.key} = {shown(fact.value)}" for fact in (low, high)))
        return Liveness(
            "no",
            f"{keys}: probably percent. A width is a part of 1, {shown(low.value / 100)} and {shown(high.value / 100)}; as it is "
            f"the low side is off and no ratio reaches {shown(1 + high.value)}.",
        )
    if config.kind == "cispo" and is_number(config.high.value) and config.high.value < 0:
        return Liveness("yes", f"Every weight is held at {shown(1 + config.high.value)}, below 1, on every update.")
    if config.level.value == "sequence" and all(
        is_number(f.value) and f.value >= OUT_OF_REACH for f in (config.low, config.high)
    ):
        return Liveness(
            "no",
            f"One ratio for a sequence, the mean of its tokens' log-ratios, stays within about 1e-3 of 1: widths of "
            f"{shown(config.low.value)} and {shown(config.high.value)}, meant for tokens, are not reached in training.",
        )
    if updates.engine:
        return _against_engine(config)
    if updates.stop:
        at = "too large" if updates.stop_at is None else f"beyond {shown(updates.stop_at)} nats"
        most = updates.formula if updates.most is None else f"{shown(updates.most)} ({updates.formula})"
        return Liveness("yes", f"{updates.stop} ends a rollout's updates once their KL is {at}, at the latest after {most}.")
    if updates.count is None and updates.least > 1:
        return Liveness("yes", f"At least {shown(updates.least)} updates per rollout ({updates.formula}).")
    if updates.count is None:
        return Liveness("unknown", f"Updates per rollout are not in the configuration: {updates.formula}.")
    if updates.count <= 1:
        return Liveness(
            "no",
            f"One update per rollout ({updates.formula}): the current policy is the old policy, every ratio is 1 up to "
            f"rounding, and {'the gate is flat there' if soft else 'neither bound can be reached'}.",
        )
    inside = f"{shown(updates.count)} updates per rollout ({updates.formula}): the ratio is 1 on the first and free on the rest"
    if soft:
        return Liveness("yes", f"{inside}; there is no hard bound, a soft gate scales every token.")
    if None in off:
        return Liveness("yes", f"{inside}; a width is not in the configuration.")
    return Liveness("yes", f"{inside}; how many tokens leave the band depends on the step size, so watch the clip fraction.")


def _against_engine(config: TrainerConfig) -> Liveness:
    if config.updates.mismatch_only:
        return Liveness("unknown", config.updates.mismatch_only)
    return Liveness(
        "yes",
        "The ratio is to the sampling engine's probabilities, so it differs from 1 on the first update too; "
        f"{config.updates.formula}.",
    )


_READINGS = (
    "Two readings, not to be confused: *clipping at* the high bound lowers entropy and *clipping at* the low bound raises it; "
    "so *raising* eps_high (less such clipping) raises entropy, and *lowering* eps_low (more such clipping) raises it too. "
    "Both hold where the clipped tokens have above-average entropy value: gap_low > 0 and gap_high > 0 of T6, to be measured, "
    "not assumed."
)


def _readings(config: TrainerConfig) -> str:
    """How to read the sign: what raising and lowering a width does, where a width is one for each side or for both."""
    if not config.one_width:
        return _READINGS
    return (
        f"{config.one_width} is the width of both sides: raising it clips less on both, which takes away what clipping "
        "high lowers and what clipping low raises. The first is expected to weigh more, so that raising it raises entropy: "
        "gap_high of T6, to be measured, not assumed."
    )


def expected_bias(config: TrainerConfig) -> Bias:
    """Return the sign that T6 and T10 predict for this objective, stated for random reward, where the unclipped term is 0."""
    alive = liveness(config).alive
    if alive == "no":
        rest = (
            "KL-Cov's penalty on the tokens of largest covariance is expected to raise it."
            if config.kind == "kl_cov"
            else "What is left is the reward's covariance and curvature."
        )
        return Bias("none", "none", "none", f"None from a ratio clip: it does not act. {rest}")
    if config.kind == "clip_cov":
        text = "Dropping the tokens of largest covariance is expected to raise entropy; the ratio clip beside it acts as usual."
        return Bias("raises", "lowers", "either", f"{text} {_readings(config)}")
    if config.kind in ("unknown", "custom") or config.doubtful:
        return Bias("unknown", "unknown", "unknown", "Unknown, as a key or loss that may decide it is not known here.")
    if config.kind == "cispo":
        return Bias(
            "none", "none", "none", "None to first order under random reward: CISPO bounds weights and drops no token (T10)."
        )
    if config.kind == "sapo":
        pos, neg = (config.get(key).value for key in config.library.sapo_keys or ())
        text = (
            f"tau_pos {shown(pos)}, tau_neg {shown(neg)}: sech^2(tau_pos (r-1)/2) - sech^2(tau_neg (r-1)/2) weights the drift "
            "(T10), 0 where the two are equal and small otherwise."
        )
        return Bias("none", "none", "none" if pos == neg else "either", text)
    if config.space in ("probability", "divergence"):
        text = (
            "A mask on probabilities acts on frequent tokens, a ratio clip on rare ones: the same sides can have the opposite "
            "sign. Positive gaps: dropping at the low side raises entropy, at the high side lowers it."
        )
        return Bias("either", "either", "either", text)
    if config.kind == "vespo" or config.level.value == "sequence":
        return Bias(
            "either", "either", "either", "Not settled: T6 is about token ratios, and here one ratio is shared by a sequence."
        )
    kept = _kept_mass(config)
    if kept is not None and not side_off(config, "low"):
        text = (
            f"Samples are cut to {kept.key} = {shown(kept.value)} and the ratio is to what is left, so it starts at the mass "
            f"that was kept, {shown(kept.value)} or more, below 1: the low side acts from the first update, "
            "the high side hardly ever."
        )
        return Bias("raises", "none", "up", f"{text} {_readings(config)}")
    low = "none" if side_off(config, "low") else "raises"
    high = "none" if side_off(config, "high") else "lowers"
    prefix = "If the clip acts at all: " if alive == "unknown" else ""
    net = _net(config, low, high)
    text = _NET_TEXT[net]
    open_ = [fact.value.why for fact in (config.low, config.high) if isinstance(fact.value, Unresolved) and fact.value.why]
    if open_:
        of = (
            "depends on a condition of the script"
            if not all("sweep" in why for why in open_)
            else "differs between runs of a sweep"
        )
        text = f"A width {of}, so the balance of the two sides is not known."
    if net in ("up", "down") and config.elsewhere and config.resting:
        net, text = "unknown", "What is not read here may set a width, so the balance of the two sides is not known."
    return Bias(low, high, net, f"{prefix}{text} {_readings(config)}")


def _kept_mass(config: TrainerConfig) -> Fact | None:
    """top_p where the ratio is to the truncated policy that sampled: then it starts at the probability that truncation kept."""
    key = next((key for key in config.library.truncation if key.endswith("top_p")), None)
    if key is None or not config.updates.engine or config.space != "ratio":
        return None
    fact = config.get(key)
    return fact if is_number(fact.value) and fact.value < 1 else None


_NET_TEXT = {
    "up": "Only the low side can clip: the clip is expected to raise entropy under random reward.",
    "down": "The clip is expected to lower entropy under random reward.",
    "unknown": "A width is not in the configuration, so the balance of the two sides is not known.",
    "either": "Low-side clipping raises and high-side clipping lowers entropy; their balance is not fixed by the widths alone.",
}


def _net(config: TrainerConfig, low: str, high: str) -> str:
    if not (is_number(config.low.value) and is_number(config.high.value)):
        return "unknown"
    if high == "none":
        return "up"
    if low == "none":
        return "down"
    return "down" if config.low.value == config.high.value else "either"
