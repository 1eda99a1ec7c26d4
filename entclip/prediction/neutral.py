"""Entropy-neutral clip widths: the eps_low at which the predicted drift is 0, or a target, for a given eps_high. Claim T12."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import Arm
from entclip.prediction.meanfield import predict
from entclip.prediction.meanfield.forecast import PATHS, check_covered
from entclip.prediction.size import forecast_size
from entclip.support.errors import SpecError
from entclip.support.foresight import Size, refuse_oversize
from entclip.support.memory import available_bytes
from entclip.support.workers import in_threads

__all__ = ["STANDARD", "NeutralPoint", "neutral_clip", "neutral_size"]

# eps_high: the eps_low that is commonly set beside it (PPO, GRPO; DAPO's clip-higher; low side alone; tight).
STANDARD = {0.1: 0.1, 0.2: 0.2, 0.28: 0.2, math.inf: 0.15}
_LEAST = 0.01  # of eps_low: below it nearly every ratio is clipped
_TOLERANCE = 1e-3  # of eps_low; one secant step follows
_CHANGE = 0.05  # relative, of finite differences
_EVALUATIONS = 20  # of the prediction for one high width, the finer one at the last counted by its cost
_FINER = 8 * PATHS  # of the last secant step: a euclidean drift near 0 may be no larger than the quadrature's usual error


@dataclass(frozen=True)
class NeutralPoint:
    """One point of the neutral curve.

    Attributes:
        high, low: the widths; low is None where no eps_low has the target drift.
        low_error: what the prediction's own error of discretisation makes of low: that error over |slope|.
        slope: d(drift per rollout)/d eps_low at the point, nats; negative where widening the low bound lowers entropy.
        by_high: d eps_low/d eps_high along the curve; None where the high side is off.
        by_rate: d eps_low/d log(learning rate) along the curve: ten percent more moves the neutral width by a tenth of it.
        drift_closed, drift_off: predicted drift per rollout at eps_low = .01 and with the low side off (eps_low = 1).
        usual, drift_usual: the eps_low of STANDARD beside this eps_high and its predicted drift; None for other eps_high.
        outside: conditions of validity that the prediction does not meet at the point; without one, at either end.
    """

    high: float
    low: float | None
    low_error: float | None
    slope: float | None
    by_high: float | None
    by_rate: float | None
    drift_closed: float
    drift_off: float
    usual: float | None
    drift_usual: float | None
    outside: tuple[str, ...]


def neutral_clip(
    experiment: Experiment,
    target: float = 0.0,
    highs: Iterable[float] = tuple(STANDARD),
    *,
    progress: Callable[[], None] | None = None,
) -> list[NeutralPoint]:
    """Find for each eps_high the eps_low whose predicted entropy change per rollout is `target` nats. Claim T12.

    The arms of the experiment are ignored; everything else is its configuration. F(eps_low) is predicted (T11) and solved by
    Brent's method between .01 and 1, for euclidean steps with eight times the usual paths at the last. There is no solution where
    F - target has the same sign at both ends (and at the usual width, if STANDARD has one); where it has several, this is the
    widest that the ends and the usual width tell apart.

    Args:
        experiment: one case (no grid), random reward.
        target: nats per rollout; 0 keeps entropy still.
        progress: called after each high width.
    Raises: SpecError for a grid, a high width below 0 or NaN, or for what `predict` does not cover.
    """
    highs = tuple(highs)
    if experiment.grid:
        raise SpecError("neutral: the experiment has a grid; choose one of its cases by --set.")
    if not math.isfinite(target):
        raise SpecError(f"neutral: target must be finite, got {target}: it is in nats per rollout.")
    if bad := [h for h in highs if not h >= 0]:
        raise SpecError(f"neutral: eps_high = {bad[0]} must be at least 0: it is the width above 1 (inf: off).")

    check_covered(_single(experiment))
    size = neutral_size(experiment, len(highs))
    refuse_oversize(
        size, available_bytes(), f"solving for {experiment.name}", "use fewer contexts, minibatches, rollouts or widths"
    )

    def one(high: float) -> NeutralPoint:
        point = _solve(experiment, target, high)
        if progress is not None:
            progress()
        return point

    return in_threads(one, highs, 2)


def neutral_size(experiment: Experiment, highs: int) -> Size:
    """Estimate what solving for so many high widths takes."""
    return forecast_size(_single(experiment), PATHS, times=_EVALUATIONS * highs)


def _single(experiment: Experiment) -> Experiment:
    """Return the configuration with one arm: what is predicted again and again."""
    return experiment.model_copy(update={"arm": (Arm(name="clip", low=0.2, high=0.2),)})


def _drift(
    experiment: Experiment, low: float, high: float, rate: float = 1.0, paths: int = PATHS
) -> tuple[float, tuple[str, ...], float]:
    """Return nats per rollout, the conditions of validity that are not met, and the drift's error of discretisation.

    `rate` multiplies the learning rate."""
    update = experiment.update.model_copy(update={"learning_rate": rate * experiment.update.learning_rate})
    one = experiment.model_copy(update={"arm": (Arm(name="clip", low=low, high=high),), "update": update})
    arm = predict(one, paths=paths).summary()["arms"]["clip"]
    rollouts = experiment.update.rollouts
    return arm["expected_measured"] / rollouts, tuple(arm["outside"]), arm["discretisation"] / rollouts


def _solve(experiment: Experiment, target: float, high: float) -> NeutralPoint:
    from scipy import optimize

    @cache
    def at(low: float, high: float = high, rate: float = 1.0) -> tuple[float, tuple[str, ...], float]:
        return _drift(experiment, low, high, rate)

    usual = STANDARD.get(high)
    ends = at(_LEAST)[0], at(1.0)[0], usual, None if usual is None else at(usual)[0]
    tried = sorted({_LEAST, 1.0} | ({usual} if usual else set()))
    brackets = [(a, b) for a, b in itertools.pairwise(tried) if (at(a)[0] - target) * (at(b)[0] - target) <= 0]
    if not brackets:
        return NeutralPoint(high, None, None, None, None, None, *ends, tuple(dict.fromkeys(at(_LEAST)[1] + at(1.0)[1])))
    low = float(optimize.brentq(lambda x: at(float(x))[0] - target, *brackets[-1], xtol=_TOLERANCE))
    there, outside, error = at(low)
    h = min(_CHANGE * low, 1.0 - low) or -_CHANGE * low
    slope = (at(low + h)[0] - there) / h
    by_rate = -(at(low, high, 1 + _CHANGE)[0] - there) / (slope * math.log1p(_CHANGE))
    by_high = None
    if 0 < high < math.inf:
        by_high = -(at(low, high * (1 + _CHANGE))[0] - there) / (slope * high * _CHANGE)
    if experiment.update.geometry == "euclidean":
        there, _, error = _drift(experiment, low, high, paths=_FINER)
    return NeutralPoint(high, low - (there - target) / slope, error / abs(slope), slope, by_high, by_rate, *ends, outside)
