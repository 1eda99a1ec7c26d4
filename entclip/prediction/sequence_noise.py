"""How often a ratio of whole sequences is clipped, from the noise of its tokens. Claim T16.

GSPO's ratio is s = exp(mean_t log r_t). Of T tokens whose log-ratios have standard deviation sd and mean m it is nearly
normal in its logarithm, with standard deviation sd/sqrt(T) and mean m: the mean does not average out. Normalised noise has m
= -sd^2/2, so that at sd = .05 and T = 1,000 sequences lie .0013 low with a spread of .0016, several times the published
widths of 3e-4 and 4e-4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from entclip.support.errors import SpecError

__all__ = ["SequenceShares", "sequence_shares"]


class SequenceShares(NamedTuple):
    """Shares of all sequences of a rollout that the low and the high side clip, and what neither can exceed."""

    low: float
    high: float
    ceiling: float


def sequence_shares(
    sd: float, length: float, low: float, high: float, minibatches: int, *, mean: float | None = None
) -> SequenceShares:
    """Return the clip shares of a ratio of sequences, averaged over the minibatches of a rollout. Claim T16.

    The tokens' variance grows in proportion to the updates, to sd^2 at the last; half of the sequences have A < 0 (low
    side) and half A > 0 (high side), so that no share exceeds (1 - 1/K)/2: the first minibatch has ratio 1.

    Args:
        sd: of a token's log-ratio at the end of the rollout, nats. Tokens are taken as independent; the shares are larger where
            tokens of a sequence move together.
        length: tokens of a sequence, at least 1.
        low, high: widths of the clip, [1 - low, 1 + high] for the sequence's ratio.
        mean: of a token's log-ratio at the end; by default -sd^2/2, that of noise alone.
    Raises: SpecError for an sd that is not positive and finite, or a length below 1.
    """
    from scipy.special import ndtr

    if not (sd > 0 and math.isfinite(sd)):
        raise SpecError(f"--noise: the root mean square must be positive and finite, got {sd}.")
    if not 1 <= length < math.inf:
        raise SpecError(f"--length must be at least 1 token, got {length:g}.")
    part = np.arange(1, minibatches) / minibatches
    spread = sd * np.sqrt(part / length)
    centre = part * (-(sd**2) / 2 if mean is None else mean)
    below = -math.inf if low >= 1 else math.log1p(-low)
    under = ndtr((below - centre) / spread)
    over = ndtr((centre - math.log1p(high)) / spread)
    shares = (float(np.sum(x)) / minibatches / 2 for x in (under, over))
    return SequenceShares(next(shares), next(shares), (1 - 1 / minibatches) / 2)
