"""From a trainer's configuration and a measured noise to what its clip does: shares, the stronger side, the neutral width.

What a trainer's file says of a step, AdamW's learning rate for one, is no step of a table, so that no nats are made of it. Given
the noise of the log-ratios, what is left does not need it: the shares of tokens that each side clips, the two sides' terms in
units of eta M (T6), and the eps_low at which they cancel. Where the geometry's assumption would decide, that is said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.start import start_of
from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.liveness import cap_cuts, liveness, side_off
from entclip.integrations.lint.outlook_words import assumed, left_out, said
from entclip.integrations.lint.values import is_number, shown
from entclip.prediction.meanfield import predict_noise
from entclip.prediction.meanfield.forecast import BIN_WIDTH
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.meanfield.nodes import populations
from entclip.prediction.meanfield.noise_law import logit_rms, share_kept
from entclip.prediction.meanfield.noise_shares import Inverted, rms_of_shares
from entclip.prediction.noise_table import NoiseTable
from entclip.prediction.noise_words import LogRatioRms, NoiseLaw, Shares, Tail
from entclip.prediction.sequence_noise import sequence_shares, sequence_terms
from entclip.report.forecast import width_text
from entclip.report.numbers import signed
from entclip.support.errors import SpecError

__all__ = ["Outlook", "Sides", "near", "outlook"]

GEOMETRIES = ("natural", "euclidean")
_FEW = 16  # widths that are all looked at
_GRID = np.geomspace(0.01, 1.0, 49)  # of eps_low, from the least of `neutral` to off: steps of a tenth
_ABOUT = np.geomspace(0.02, 50.0, 65)  # the same about the width that is set, for ratios of sequences, which have no usual size
_RATE = 1e-6  # of the step that is divided out again: small, so that no condition of a step's size speaks
_BATCH = 1024
_AGREE = 0.1  # relative: neutral widths of the two geometries that differ by more are decided by the assumption


@dataclass(frozen=True)
class Sides:
    """What one pair of widths does in one rollout: shares of all tokens (or sequences) clipped, and T6's terms over eta M, in
    nats."""

    share_low: float
    share_high: float
    low: float
    high: float

    @property
    def net(self) -> float:
        return self.low + self.high


@dataclass(frozen=True)
class Outlook:
    """What can be said of a configuration's clip at a given noise.

    carried: what the configuration says. by_default: what its library does where it says nothing. assumed: what neither says,
    and is taken. left_out: what no forecast here can express. contradiction: how the shares that are given split otherwise than
    noise's, empty where they do not.
    now: the sides at its widths, by geometry. wider: the same with eps_high = other_high, .28 (.2 where it is .28 already), or
    with both widths there where the trainer has one, whose key one_width is.
    neutral: eps_low at which both sides cancel, by geometry, None where none does. rms: of the logits' noise, and log_ratio_rms
    that of log(pi/pi_old) of the tokens drawn, which normalisation makes smaller, both after the last update of a rollout; None
    for a table. For ratios of sequences both are a token's log-ratio's.
    outside: where the noise is too large, or its sides are not those of noise. length: tokens of a sequence where the ratio is
    that of sequences, None where it is a token's.
    """

    carried: tuple[str, ...]
    by_default: tuple[str, ...]
    assumed: tuple[str, ...]
    left_out: tuple[str, ...]
    now: dict[str, Sides]
    high: float
    other_high: float
    wider: dict[str, Sides]
    neutral: dict[str, float | None]
    rms: float | None
    log_ratio_rms: float | None
    outside: tuple[str, ...]
    length: float | None = None
    one_width: str = ""
    contradiction: str = ""

    @property
    def setting(self) -> str:
        """Return the name of the width that is changed."""
        return self.one_width or "eps_high"

    def rows(self) -> list[tuple[str, float, Sides]]:
        """Return geometry, eps_high and what the sides do there: as set, and at the other eps_high."""
        return [x for g in GEOMETRIES for x in ((g, self.high, self.now[g]), (g, self.other_high, self.wider[g]))]

    def answer(self) -> str:
        """Say in a sentence or two which way the clip moves entropy, where it is neutral, and what the other eps_high does."""
        values = [self.neutral[g] for g in GEOMETRIES]
        if not self.decided:
            shown_values = " and ".join("none" if v is None else width_text(v) for v in values)
            return (
                f"The geometry decides, so there is no one answer: the neutral eps_low is {shown_values} under natural and "
                "euclidean entropy values. Measure gap_low and gap_high in the run itself."
            )
        way = "raises" if self.now["natural"].net > 0 else "lowers"
        sides = [v for v in values if v is not None]
        where = "is neutral at no eps_low"
        if self.one_width:
            where = f"cannot be balanced, as {self.one_width} is the width of both sides"
        elif sides:
            where = f"is neutral at an eps_low of {width_text(min(sides))} to {width_text(max(sides))}"
        changes = [self.wider[g].net - self.now[g].net for g in GEOMETRIES]
        return (
            f"At this noise the clip {way} entropy by itself and {where}; {self.setting} = {self.other_high:g} instead changes "
            f"its term by {signed(min(changes))} to {signed(max(changes))} nats per eta M and rollout."
        )

    @property
    def decided(self) -> bool:
        """Tell whether the two geometries agree: on the sign of the net term, and on the neutral width within a tenth."""
        first, second = (self.now[g].net for g in GEOMETRIES)
        a, b = (self.neutral[g] for g in GEOMETRIES)
        if a is None or b is None:
            return first * second > 0 and a is b
        return first * second > 0 and abs(a - b) <= _AGREE * max(a, b)


def outlook(
    config: TrainerConfig,
    law: NoiseLaw | NoiseTable,
    rms: float | LogRatioRms | Shares | None = None,
    tail: Tail | None = None,
    *,
    policy: dict[str, Any] | None = None,
    widths: np.ndarray = _GRID,
    length: float | None = None,
    split: bool = True,
) -> Outlook:
    """Say what a configuration's clip does at the given noise of its log-ratios.

    Args:
        law, rms, tail: as in `predict_noise`, at the end of a rollout; or the clip shares that the noise has at the widths of
            the configuration.
        policy: the [policy] table of an experiment; by default the shipped snapshot of SmolLM2-135M.
        widths: of eps_low, among which the neutral one is looked for, rising; for ratios of tokens.
        length: tokens of a sequence, for a ratio of whole sequences: no configuration holds their mean.
        split: whether shares were counted by side; False where only their sum was.
    Raises: SpecError where the clip cannot act or an answer would rest on a guess: an unknown loss or key that may decide, a
        ratio to the engine, widths or updates that are not in the configuration, or a sequence's length that is not given; and
        where the shares split between the sides otherwise than noise's, and the way entropy goes depends on it.
    """
    low, high, updates = _certain(config)
    _refuse_length(config, law, rms, length)
    size, scaled = config.group_size, config.advantage.value == "group"
    group = int(size.value) if is_number(size.value) and size.value > 1 else None
    if length is None:
        other = 0.2 if math.isclose(high, 0.28) else 0.28
    else:
        # The step from .2 to .28, at the size that the widths of sequences have.
        usual = high if math.isfinite(high) else low
        other, widths = float(f"{1.4 * usual:.2g}"), np.minimum(_ABOUT * usual, 1.0)
    # Of tokens every eighth width first: a pair of widths takes a second or more on a snapshot.
    rough = widths if length is not None or len(widths) <= _FEW else np.unique([*widths[::8], widths[-1]])
    if config.one_width:
        widths = rough = widths[:0]  # no low side to look for
    pairs = [(low, high), (other if config.one_width else low, other), *((x, high) for x in rough)]
    base: dict[str, Any] = {
        "name": "configuration",
        "policy": policy or {"kind": "snapshot"},
        "reward": {"kind": "bernoulli", "p": 0.5},
        "advantage": {"kind": "group", "size": group, "scale": "std" if scaled else "none"} if group else {"kind": "independent"},
        "update": {"learning_rate": _RATE, "batch": _BATCH - _BATCH % (group or 1), "minibatches": updates, "rollouts": 1},
        "arm": _arms(pairs[:1]),
    }
    now, wider, neutral, outside = {}, {}, {}, []
    given, inverted, drawn = rms, None, None
    if isinstance(rms, Shares):
        assert not isinstance(law, NoiseTable)
        inverted = rms_of_shares(parse_experiment(base), law, rms, tail)
        rms = inverted.rms
    if length is not None:
        rms = drawn = rms.rms if isinstance(rms, LogRatioRms) else rms
    elif rms is not None and not isinstance(law, NoiseTable):
        kinds = populations(start_of(parse_experiment(base)).old_log_probs[:, 0, :], BIN_WIDTH)
        rms = logit_rms(kinds, law, rms) if isinstance(rms, LogRatioRms) else rms
        drawn = rms * math.sqrt(share_kept(kinds, law))
    assert not isinstance(rms, LogRatioRms)
    for geometry in GEOMETRIES:
        case = base | {"update": base["update"] | {"geometry": geometry}}
        if length is None:
            (now[geometry], wider[geometry], *along), reasons = _sides(case, pairs, law, rms, tail)
            found = _neutral(along, rough)
            if found is not None and len(rough) < len(widths):
                # Its neighbours of all the widths: the terms of the others need not be known.
                k = int(np.searchsorted(rough, found)) - 1
                fine = widths[(widths >= rough[k]) & (widths <= rough[k + 1])]
                along, _ = _sides(case, [(x, high) for x in fine], law, rms, tail)
                found = _neutral(along, fine)
        else:
            assert isinstance(rms, float)
            (now[geometry], wider[geometry], *along), reasons = _sequence_sides(parse_experiment(case), pairs, rms, length), []
            found = _neutral(along, widths)
        neutral[geometry] = found
        outside += reasons
    contradiction = ""
    if inverted is not None and isinstance(given, Shares) and split:
        contradiction = "; ".join(inverted.outside)
        _refuse_where_the_split_decides(contradiction, now, given, inverted)
    return Outlook(
        *said(config, updates),
        assumed(config, policy, group, length),
        left_out(config, None if isinstance(law, NoiseTable) else rms),
        now,
        high,
        other,
        wider,
        neutral,
        rms,
        drawn,
        tuple(dict.fromkeys(outside)),
        length,
        config.one_width,
        contradiction,
    )


def near(found: Outlook) -> np.ndarray:
    """Return widths of eps_low about the neutral ones, few enough to be looked at again at another size of noise."""
    values = [v for v in found.neutral.values() if v is not None]
    if not values:
        return _GRID[::8]
    return np.geomspace(max(0.4 * min(values), 1e-3), min(2.5 * max(values), 1.0), 9)


def _certain(config: TrainerConfig) -> tuple[float, float, int]:
    """The widths and updates per rollout, or SpecError with what is missing."""
    alive = liveness(config)
    if alive.alive == "no":
        raise SpecError(f"predict --from: the clip does nothing, at any noise. {alive.reason}")
    if alive.alive == "unknown":
        raise SpecError(f"predict --from: no answer without a guess. {alive.reason}")
    if config.updates.engine:
        raise SpecError(
            f"predict --from: the ratio is to the sampling engine ({config.updates.engine}), whose mismatch no law of noise "
            "from updates has. Measure it: entclip noise --old --new, then predict --noise TABLE."
        )
    if config.kind not in ("clip", "dual_clip") or config.space != "ratio":
        raise SpecError(
            f"predict --from: {config.objective.key} = {shown(config.objective.value)} is no clip of the ratio by two widths."
        )
    for fact in (config.low, config.high):
        if not is_number(fact.value):
            raise SpecError(
                f"predict --from: {fact.key} = {shown(fact.value)} is not in the configuration. Put its number there."
            )
    if cap_cuts(config):
        both = f"; it caps the ratio of both signs, so that eps_high is {shown(config.cap.value - 1)}" if config.caps_both else ""
        raise SpecError(
            f"predict --from: {config.cap.key} = {shown(config.cap.value)} is not above {shown(1 + config.high.value)}, the high "
            f"bound{both}. The tokens with A < 0 that it drops are in no forecast here: set it well above, or unset it."
        )
    if config.updates.stop:
        raise SpecError(
            f"predict --from: {config.updates.stop} ends a rollout's updates by their KL divergence, so that their number is in "
            "the log and not in the configuration. Put the number of updates that ran there, and unset the stop."
        )
    count = config.updates.count
    if count is None or count != int(count):
        raise SpecError(f"predict --from: updates per rollout must be a whole number, got {config.updates.formula}.")
    high = math.inf if side_off(config, "high") else float(config.high.value)
    return float(config.low.value), high, int(count)


def _refuse_length(
    config: TrainerConfig, law: NoiseLaw | NoiseTable, rms: float | LogRatioRms | Shares | None, length: float | None
) -> None:
    """SpecError where a ratio of sequences lacks their length or a token's noise, or a ratio of tokens has a length."""
    if config.level.value != "sequence":
        if length is not None:
            raise SpecError("predict --from: --length is for ratios of whole sequences, and this configuration clips a token's.")
        return
    if length is None:
        raise SpecError(
            f"predict --from: {config.level.key} = {config.level.value} clips one ratio per sequence, whose spread falls as one "
            "over the root of its length: the mean number of tokens decides, and no configuration holds it (a limit such as "
            "max_completion_length is not it). Give the logged mean: entclip predict --from CONFIG --noise kl:NATS --length "
            "TOKENS."
        )
    if law != "flat" or not isinstance(rms, float | LogRatioRms):
        raise SpecError(
            "predict --from: a ratio of whole sequences needs the noise of a token as one size, --noise flat:RMS or kl:NATS: the "
            "shares of sequences that are clipped, a law that differs between actions or a table do not say it."
        )


def _sequence_sides(spec: Experiment, pairs: list[tuple[float, float]], rms: float, length: float) -> list[Sides]:
    """What the sides of ratios of whole sequences do, by pair of widths."""
    kinds = populations(start_of(spec).old_log_probs[:, 0, :], BIN_WIDTH)
    terms = sequence_terms(kinds, spec.update.geometry, rms, length, pairs, spec.update.minibatches)
    shares = [sequence_shares(rms, length, *pair, spec.update.minibatches) for pair in pairs]
    return [Sides(share.low, share.high, *term) for share, term in zip(shares, terms, strict=True)]


def _arms(pairs: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """The arms of an experiment for pairs of widths."""
    return [{"name": f"arm{i}", "low": min(x, 1.0), "high": y} for i, (x, y) in enumerate(pairs)]


def _sides(
    case: Mapping[str, Any], pairs: list[tuple[float, float]], law: NoiseLaw | NoiseTable, rms: float | None, tail: Tail | None
) -> tuple[list[Sides], list[str]]:
    """What the sides do by pair of widths, and the conditions of validity that the first does not meet."""
    spec = parse_experiment(dict(case) | {"arm": _arms(pairs)})
    arms = list(predict_noise(spec, law, rms, tail).summary()["arms"].values())
    unit = spec.update.learning_rate * sample_law(spec.reward, spec.advantage).moment("plus")  # eta M, M = E|A|/2
    sides = [
        Sides(
            arm["clip_fraction_low"],
            arm["clip_fraction_high"],
            arm["expected_clip_low"] / unit,
            arm["expected_clip_high"] / unit,
        )
        for arm in arms
    ]
    return sides, arms[0]["outside"]


def _neutral(along: list[Sides], widths: np.ndarray) -> float | None:
    """The widest eps_low at which the sides cancel, between points of widths; None where they never do.

    A side's term falls off like the tail of the noise, so that its logarithm is what is nearly linear between two points."""
    nets = np.array([x.net for x in along])
    turns = np.flatnonzero((nets[1:] * nets[:-1] <= 0) & (nets[1:] != nets[:-1]))
    if not len(turns):
        return None
    k = int(turns[-1])
    pair = along[k : k + 2]
    first, second = (math.log(-x.low / x.high) if x.low * x.high < 0 else x.net for x in pair)
    share = first / (first - second) if first * second <= 0 else nets[k] / (nets[k] - nets[k + 1])
    return float(widths[k] * (widths[k + 1] / widths[k]) ** share)


def _refuse_where_the_split_decides(contradiction: str, now: dict[str, Sides], given: Shares, law: Inverted) -> None:
    """SpecError where the way entropy goes is another one by the split of the given shares than by that of the noise."""
    for geometry, sides in now.items() if contradiction else ():
        by_shares = sum(
            term * share / own if own > 0 else 0.0
            for term, share, own in ((sides.low, given.low, law.low), (sides.high, given.high, law.high))
        )
        if by_shares * sides.net < 0:
            way, other = ("raises", "lowers") if sides.net > 0 else ("lowers", "raises")
            raise SpecError(
                f"predict --from: {contradiction}. That decides: with {geometry} entropy values noise of this size {way} entropy "
                f"at these widths, and with the shares as they are the clip {other} it. Find out what else moves the ratio "
                "(entclip diagnose LOG), or give the noise alone by --noise kl:NATS or flat:RMS."
            )
