"""From clip shares to the size of the log-ratio's noise, and from KL to the same. Claims T6, T16.

The size, everywhere in diagnose and in what `predict --from --log` says of a log: sigma, the root mean square of
log(pi/pi_old) over the tokens that were sampled, after the last of a rollout's K updates, normalisation included. No loss sees
it: the ratio of update k = 0, ..., K - 1 is taken before its step, where the variance is sigma^2 k/K.

Model of a token's log-ratio before update k: normal with variance sigma^2 k/K and, for k > 0, mean shift - sigma^2 k/(2 K),
since E_{pi_old}[r] = 1 makes the mean minus half the variance. `shift` is what remains: 0 unless the two policies of the ratio
differ by more than learning. A sign-gated share is then half the probability beyond the bound, averaged over the updates, the
first with its 0 included; it cannot exceed (1 - 1/K)/2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np

__all__ = ["ceiling", "from_kl", "mean_square_share", "shares", "sigma_of", "update_points"]

_WIDEST = 50.0
_HALVINGS = 44
_POINTS = 12  # of a sum over updates: 3e-6 of a share of .4 % from 1,000 of them


@cache
def update_points(updates: int) -> tuple[tuple[float, float], ...]:
    """Return points and weights of a sum over the updates k = 1, ..., K - 1 whose ratio is not 1: all of them up to 12, else 12.

    :Formula: Gauss's rule of the measure with mass 1 on N = K - 1 integers, whose orthogonal polynomials are Gram's: b_j^2 =
        j^2 (N^2 - j^2) / (4 (4 j^2 - 1)). With as many points as integers it is the sum itself.
    """
    count = updates - 1
    j = np.arange(1, min(_POINTS, count))
    beside = j * np.sqrt((count**2 - j**2) / (4.0 * (4 * j**2 - 1)))
    at, vectors = np.linalg.eigh(np.diag(beside, 1) + np.diag(beside, -1))
    return tuple(zip((at + updates / 2).tolist(), (count * vectors[0] ** 2).tolist(), strict=True))


def ceiling(updates: int | None, gated: bool = True) -> float:
    """Return the largest share that clip events can have: (1 - 1/K)/2, twice that where the sign of A is not looked at."""
    return (0.5 if gated else 1.0) * (1 - 1 / updates if updates else 1.0)


def shares(sigma: float, low: float, high: float, updates: int, shift: float = 0.0, fresh: bool = True) -> tuple[float, float]:
    """Return the sign-gated shares of the low and the high side, averaged over the updates of a rollout.

    fresh: the first update has ratio 1 and clips nothing; else every update has the noise of the last (ratios to an engine).
    """
    stages = [(k / updates, weight / updates) for k, weight in update_points(updates)] if fresh else [(1.0, 1.0)]
    below, above = (math.log1p(-low) if low < 1 else -math.inf), (math.log1p(high) if math.isfinite(high) else math.inf)
    total_low = total_high = 0.0
    for share, weight in stages:
        sd = sigma * math.sqrt(share)
        mean = shift - sd * sd / 2
        total_low += weight * _tail((mean - below) / sd)
        total_high += weight * _tail((above - mean) / sd)
    return total_low / 2, total_high / 2


def _tail(z: float) -> float:
    """Probability of a standard normal beyond z."""
    return math.erfc(z / math.sqrt(2)) / 2


def mean_square_share(updates: int, fresh: bool = True) -> float:
    """Return the mean of sigma_k^2 over the updates of a rollout, in units of sigma^2."""
    return (updates - 1) / (2 * updates) if fresh else 1.0


def from_kl(kl: float) -> float:
    """Return the rms of the log-ratio that a mean of log(pi_old/pi) or of r - 1 - log r implies: sqrt(2 KL)."""
    return math.sqrt(2 * max(kl, 0.0))


@lru_cache(maxsize=1024)  # several claims of a log ask for the same
def sigma_of(total: float, low: float, high: float, updates: int, fresh: bool = True) -> float | None:
    """Return sigma at the end of a rollout for which the two shares add up to `total`; None if none does."""
    return _bisect(lambda sigma: sum(shares(sigma, low, high, updates, fresh=fresh)) - total)


def _bisect(excess: Callable[[float], float]) -> float | None:
    """The root of an increasing function of a positive size, by its logarithm."""
    left, right = math.log(1e-6), math.log(_WIDEST)
    if excess(math.exp(left)) > 0:
        return None
    # Shares fall again where the mean -sigma^2/2 pulls everything below: look only up to their largest value.
    while excess(math.exp(right)) < 0:
        right -= 0.25
        if right <= left:
            return None
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        if excess(math.exp(middle)) > 0:
            right = middle
        else:
            left = middle
    return math.exp((left + right) / 2)
