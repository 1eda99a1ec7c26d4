"""Entropy-neutral clip widths: the eps_low at which the predicted drift is 0, or a target, for a given eps_high. Claim T12."""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from entclip.meanfield import predict
from entclip.spec import Arm, Experiment, SpecError

__all__ = ["NeutralPoint", "neutral_clip"]

STANDARD = (0.1, 0.2, 0.28, math.inf)
_LEAST = 0.01  # of eps_low: below it nearly every ratio is clipped
_TOLERANCE = 1e-4  # of eps_low


@dataclass(frozen=True)
class NeutralPoint:
    """One point of the neutral curve.

    Attributes:
        high, low: the widths; low is None where no eps_low has the target drift.
        slope: d(drift per rollout)/d eps_low at the point, nats; negative where widening the low bound lowers entropy.
        drift_closed, drift_off: predicted drift per rollout at eps_low = .01 and with the low side off (eps_low = 1).
        outside: conditions of validity of the prediction that the configuration does not meet.
    """

    high: float
    low: float | None
    slope: float | None
    drift_closed: float
    drift_off: float
    outside: tuple[str, ...]


def neutral_clip(experiment: Experiment, target: float = 0.0, highs: Iterable[float] = STANDARD) -> list[NeutralPoint]:
    """For each eps_high the eps_low whose predicted entropy change per rollout is `target` nats. Claim T12.

    The arms of the experiment are ignored; everything else is its configuration. F(eps_low) is predicted (T11) and solved by
    Brent's method between .01 and 1. There is no solution where F - target has the same sign at both ends.

    Args:
        experiment: one case (no grid), random reward.
        target: nats per rollout; 0 keeps entropy still.
    Raises: SpecError for a grid, or for what `predict` does not cover.
    """
    if experiment.grid:
        raise SpecError("neutral: the experiment has a grid; choose one of its cases by --set.")
    if not math.isfinite(target):
        raise SpecError(f"neutral: target must be finite, got {target}: it is in nats per rollout.")
    with ThreadPoolExecutor(2) as workers:
        return list(workers.map(lambda high: _solve(experiment, target, high), highs))


def _drift(experiment: Experiment, low: float, high: float) -> tuple[float, tuple[str, ...]]:
    one = experiment.model_copy(update={"arm": (Arm(name="clip", low=low, high=high),)})
    arm = predict(one).summary()["arms"]["clip"]
    return arm["expected_measured"] / experiment.update.rollouts, tuple(arm["outside"])


def _solve(experiment: Experiment, target: float, high: float) -> NeutralPoint:
    from scipy import optimize

    (closed, outside), (off, _) = _drift(experiment, _LEAST, high), _drift(experiment, 1.0, high)
    if (closed - target) * (off - target) > 0:
        return NeutralPoint(high, None, None, closed, off, outside)
    low = float(optimize.brentq(lambda x: _drift(experiment, x, high)[0] - target, _LEAST, 1.0, xtol=_TOLERANCE))
    h = 0.05 * low
    slope = (_drift(experiment, min(1.0, low + h), high)[0] - _drift(experiment, low - h, high)[0]) / (
        min(1.0, low + h) - low + h
    )
    return NeutralPoint(high, low, slope, closed, off, outside)
