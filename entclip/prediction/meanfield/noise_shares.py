"""From the shares of clipped tokens to the size of the log-ratio noise that has them. Claims T6, T11."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.experiments.start import start_of
from entclip.prediction.meanfield.forecast import BIN_WIDTH
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.meanfield.nodes import populations
from entclip.prediction.meanfield.noise_law import noisy, variance_of
from entclip.prediction.noise_words import Gauss, NoiseLaw, Shares, Tail
from entclip.prediction.size import refuse_large_forecast
from entclip.support.errors import SpecError

__all__ = ["TRIES", "Inverted", "rms_of_shares"]

_LOG = logging.getLogger(__name__)

TRIES = 60  # sizes that are tried at most
_LEAST, _MOST = 1e-5, 2.0  # rms at the end of a rollout
_CLOSE = 1e-5  # relative, of the share
_TWICE = 2.0  # by how much the split of the sides may differ from the law's


@dataclass(frozen=True)
class Inverted:
    """The noise that has given shares. low, high: the law's own, which add up to the ones given; outside: where they differ."""

    rms: float
    low: float
    high: float
    outside: tuple[str, ...]


def rms_of_shares(experiment: Experiment, law: NoiseLaw, shares: Shares, tail: Tail | None = None) -> Inverted:
    """Return the rms, at the end of a rollout, of the noise whose sign-gated clip shares add up to the given ones.

    Shares are means over the updates of a rollout, the first with its 0 included, of the first arm that has both sides. Two
    shares and one size: how they split between the sides is the law's, and where the given split is another, `outside` says so,
    since a mean of the log-ratio that is no noise's would do that.

    Args:
        experiment: gives the policy, the arms, the advantage and the updates of a rollout; its first case is looked at.
    Raises: SpecError for shares that no size of this noise has, and where no arm has both sides.
    """
    case = experiment.cases()[0][1]
    objectives = [arm.build() for arm in case.arm]
    two = [x for x in objectives if x.idle[0] > 0 and math.isfinite(x.idle[1])]
    if not two:
        raise SpecError(
            "a one-sided clip is not supported here: no arm of the experiment has a low and a high side, and the size of the "
            "noise is found from the shares of both. Give it by --noise kl:NATS (a logged mean KL to the old policy) or flat:RMS."
        )
    refuse_large_forecast(experiment, 0, TRIES)
    updates, sample, shape = case.update.minibatches, sample_law(case.reward, case.advantage), tail or Gauss()
    kinds = populations(start_of(case).old_log_probs[:, 0, :], BIN_WIDTH)

    def sides(rms: float) -> tuple[float, float]:
        total = np.zeros(2)
        for step in range(1, updates):
            _LOG.info("size of the noise: at %.2g, update %d of %d", rms, step + 1, updates)
            for weight, nodes in kinds:
                p = noisy(nodes, two[0], law, variance_of(nodes, law, rms) * step / updates, shape)
                low = sample.chance_minus * max(p.total(p.old_probs, p.binned.low), 0.0)
                total += weight / updates * np.array([low, sample.chance_plus * max(p.total(p.old_probs, p.binned.high), 0.0)])
        return float(total[0]), float(total[1])

    rms = _root(lambda x: sum(sides(x)), shares.low + shares.high)
    low, high = sides(rms)
    outside = []
    # At least the smaller of the two, so that a side without an event in a short log is no alarm.
    odds = [(a + _CLOSE) / (b + _CLOSE) for a, b in ((shares.low, low), (shares.high, high))]
    if max(odds) > _TWICE * min(odds):
        outside.append(
            f"the shares {shares.low:.2g} and {shares.high:.2g} split otherwise than noise does ({low:.2g} and {high:.2g}): the "
            "log-ratio has a mean of its own (a reward that is learnt, another engine or temperature, an older policy), or its "
            "tails are not these"
        )
    return Inverted(rms, low, high, tuple(outside))


def _root(share: Callable[[float], float], wanted: float) -> float:
    """The size at which the share is the wanted one, by false position (Illinois) on the logarithms of both."""
    left, right = math.log(_LEAST), math.log(0.05)
    value = _log_excess(share, right, wanted)
    while value < 0 and right < math.log(_MOST):
        left, right = right, min(right + math.log(4), math.log(_MOST))
        value = _log_excess(share, right, wanted)
    if value < 0:
        raise SpecError(
            f"--noise shares: {wanted:.3g} of the tokens is more than noise of any size clips in this many updates (at most half "
            "of them have the sign that a side acts on): these are no sign-gated shares of tokens."
        )
    below = _log_excess(share, left, wanted)
    for _ in range(TRIES):
        middle = (left + right) / 2 if not math.isfinite(below) else right - value * (right - left) / (value - below)
        found = _log_excess(share, middle, wanted)
        if abs(found) < _CLOSE:
            return math.exp(middle)
        if found > 0:
            right, value = middle, found
            below /= 2
        else:
            left, below = middle, found
            value /= 2
    return math.exp((left + right) / 2)


def _log_excess(share: Callable[[float], float], at: float, wanted: float) -> float:
    found = share(math.exp(at))
    return math.log(found / wanted) if found > 0 else -math.inf
