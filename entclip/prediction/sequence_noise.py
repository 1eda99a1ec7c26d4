"""How often a ratio of whole sequences is clipped, and what that does to entropy, from the noise of its tokens. Claim T16.

GSPO's ratio is s = exp(mean_t log r_t). Of T tokens whose log-ratios have standard deviation sd and mean m it is nearly
normal in its logarithm, with standard deviation sd/sqrt(T) and mean m: the mean does not average out. Normalised noise has m
= -sd^2/2, so that at sd = .05 and T = 1,000 sequences lie .0013 low with a spread of .0016, several times the published
widths of 3e-4 and 4e-4.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from entclip.drift.actions import step_value
from entclip.objectives.none import NoClip
from entclip.policies.softmax import Geometry
from entclip.prediction.meanfield.nodes import Nodes
from entclip.prediction.meanfield.noise_law import noisy, share_kept, variance_of
from entclip.prediction.noise_words import Gauss
from entclip.support.errors import SpecError

__all__ = ["SequenceShares", "sequence_shares", "sequence_terms"]

_POINTS = 1024  # of the grid of a token's log-ratio, over 16 standard deviations


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

    _check(sd, length)
    part = np.arange(1, minibatches) / minibatches
    spread = sd * np.sqrt(part / length)
    centre = part * (-(sd**2) / 2 if mean is None else mean)
    below = -math.inf if low >= 1 else math.log1p(-low)
    under = ndtr((below - centre) / spread)
    over = ndtr((centre - math.log1p(high)) / spread)
    shares = (float(np.sum(x)) / minibatches / 2 for x in (under, over))
    return SequenceShares(next(shares), next(shares), (1 - 1 / minibatches) / 2)


def sequence_terms(
    kinds: list[tuple[float, Nodes]],
    geometry: Geometry,
    sd: float,
    length: float,
    widths: list[tuple[float, float]],
    minibatches: int,
) -> list[tuple[float, float]]:
    """Return the terms of T6 of the low and of the high side, in nats per eta M and rollout, for each pair of widths. Claim T16.

    A token's mean weight is an average over the sequences that pass its prefix: w(a) = M E[s 1(s < 1 - low) | a]/r(a) on the low
    side, where log s = (log r(a) + what the other T - 1 tokens add)/T, and the latter is normal. Given r(a) the hard clip of
    the sequence is a soft one of the token, and the term is eta Cov_pi(kappa, w), summed over the minibatches.

    Args:
        kinds: contexts with their weights; a token's noise is flat over actions.
        sd, length, minibatches: as in `sequence_shares`; sd is that of the actions which were drawn, over all contexts.
        widths: pairs of eps_low and eps_high.
    Raises: SpecError as `sequence_shares` does.
    """
    from scipy.special import ndtr

    _check(sd, length)
    if length < 2:
        raise SpecError(f"--length must be at least 2 tokens, got {length:g}: the ratio of one is a token's.")
    flat = [variance_of(nodes, "flat", 1.0) for _, nodes in kinds]
    drawn = share_kept(kinds, "flat")
    out = np.zeros((len(widths), 2))
    for step in range(1, minibatches):
        size = sd**2 * step / minibatches
        ps = [(w, noisy(n, NoClip(), "flat", v * size / drawn, Gauss())) for (w, n), v in zip(kinds, flat, strict=True)]
        mean = sum(w * p.total(p.old_probs, p.log_ratio) for w, p in ps)
        spread = math.sqrt(size * (length - 1)) / length
        own = np.concatenate([p.log_ratio.ravel() for _, p in ps])
        # kappa pi/r of every point of every context, of which the sides take different parts.
        worth = np.concatenate([(w * p.weight * step_value(p, geometry) / p.ratio).ravel() for w, p in ps])
        x, worth = _spread_out(own, worth)
        centre = (x + (length - 1) * mean) / length
        # E[s 1(log s < b)] of a normal log s is that of one shifted by its variance, times E s.
        worth = worth * np.exp(centre + spread**2 / 2)
        for row, (low, high) in enumerate(widths):
            below = -math.inf if low >= 1 else math.log1p(-low)
            out[row] += (
                worth @ ndtr((below - centre) / spread - spread),
                -worth @ ndtr((centre - math.log1p(high)) / spread + spread),
            )
    return [(float(low), float(high)) for low, high in out]


def _spread_out(x: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a grid of x and the mass at its points, each point's shared by its two neighbours: sums and first moments are kept.

    What a sequence does depends on one token's x by x/T, so that nothing is seen of the grid.
    """
    grid = np.linspace(x.min(), x.max(), _POINTS)
    place = (x - grid[0]) / (grid[1] - grid[0])
    left = np.minimum(place.astype(np.int64), _POINTS - 2)
    right = mass * (place - left)
    return grid, np.bincount(left, mass - right, _POINTS) + np.bincount(left + 1, right, _POINTS)


def _check(sd: float, length: float) -> None:
    if not (sd > 0 and math.isfinite(sd)):
        raise SpecError(f"--noise: the root mean square must be positive and finite, got {sd}.")
    if not 1 <= length < math.inf:
        raise SpecError(f"--length must be at least 1 token, got {length:g}.")
