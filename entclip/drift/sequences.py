"""Ratios of whole sequences (GSPO, GMPO): their weights on tokens, and how many sequences a clip of them can reach. Claim T16."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from entclip.drift.first_order import expected_first_order
from entclip.objectives.base import View
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import Geometry, importance_ratio
from entclip.support.errors import SpecError

__all__ = ["SeenSequences", "gspo_drift", "normal_clip_share", "sequence_ratio", "share_ceiling"]


def sequence_ratio(tree: PrefixTree, log_probs: np.ndarray, old_log_probs: np.ndarray) -> np.ndarray:
    """Return GSPO's ratio of every sequence, exp of its mean log-ratio, (..., V^length), from log pi and log pi_old (..., N, V).

    Claim T16. References: Zheng et al. 2025, arXiv:2507.18071.
    """
    mean = (tree.sequence_log_probs(log_probs) - tree.sequence_log_probs(old_log_probs)) / tree.length
    out: np.ndarray = importance_ratio(mean, np.zeros_like(mean))  # within the dtype's range, as a token's is
    return out


@dataclass(frozen=True)
class SeenSequences:
    """The sequences of some units, for objectives whose weights on tokens belong to the whole sequence. Claim T16.

    A token of sequence y carries s(y) A/length times its gain; at prefix p, where a sequence passes with chance d_p under pi_old,
    the mean weight of the tokens a is that of the sequences through p and a.

    Attributes:
        tree: all prefixes.   log_probs, old_log_probs: log pi and log pi_old, (u, N, V).
    """

    tree: PrefixTree
    log_probs: np.ndarray
    old_log_probs: np.ndarray

    @cached_property
    def view(self) -> View:
        """Return what an objective sees: an entry for each token of each sequence, (u, V^length, length)."""
        now, old = self.tree.along(self.log_probs), self.tree.along(self.old_log_probs)
        share = np.full_like(now, 1 / self.tree.length)
        return View(np.broadcast_to(self.ratio, now.shape), np.exp(old), now, share=share)

    @cached_property
    def ratio(self) -> np.ndarray:
        """Return s of each sequence, (u, V^length, 1)."""
        return sequence_ratio(self.tree, self.log_probs, self.old_log_probs)[..., None]

    @cached_property
    def _reach(self) -> np.ndarray:
        """d_p pi0(a|p), (u, N, V)."""
        return self.tree.visits(self.old_log_probs)[..., None] * np.exp(self.old_log_probs)

    @cached_property
    def _chance(self) -> np.ndarray:
        """pi0(y), (u, V^length, 1)."""
        return np.exp(self.tree.sequence_log_probs(self.old_log_probs))[..., None]

    def _relative(self, x: np.ndarray, power: int = 1) -> np.ndarray:
        """Weights c of tokens, (u, N, V), as c/r to a power; none where a ratio underflowed, since such a token does not move."""
        return _quotient(x, np.exp(self.log_probs - self.old_log_probs) ** power)

    def drawn(self, x: np.ndarray) -> np.ndarray:
        """Return c/r of tokens, (u, N, V), from sums over drawn sequences of A g by token."""
        return self._relative(self.added(x * (self.ratio / self.tree.length)))

    def mean(self, x: np.ndarray, power: int = 1) -> np.ndarray:
        """Return E[(c/r)^power | prefix, token], (u, N, V), from that of (A g)^power given the sequence."""
        total = self.added(self._chance * x * (self.ratio / self.tree.length) ** power)
        return self._relative(_quotient(total, self._reach), power)

    def share(self, side: np.ndarray) -> np.ndarray:
        """Return the chance under pi_old that the sequence of a token has a property of the token, (u, N, V)."""
        return _quotient(self.added(self._chance * side), self._reach)

    def added(self, x: np.ndarray) -> np.ndarray:
        """Add tokens of sequences up, (u, N, V)."""
        return self.tree.added(np.broadcast_to(x, np.broadcast_shapes(x.shape, self.view.log_probs.shape)))


def _quotient(x: np.ndarray, by: np.ndarray) -> np.ndarray:
    """x over `by`, which is not negative; 0 where it is 0."""
    out: np.ndarray = np.divide(x, by, out=np.zeros_like(x), where=by > 0)
    return out


def gspo_drift(
    tree: PrefixTree,
    log_probs: np.ndarray,
    old_log_probs: np.ndarray,
    plus: np.ndarray,
    minus: np.ndarray,
    *,
    low: float,
    high: float,
    learning_rate: float,
    geometry: Geometry,
) -> np.ndarray:
    """Return the expected first-order entropy change of every prefix's policy in one GSPO update, (..., N), nats. Claim T16.

    A sequence y carries the weight c(y) = s A g of the clip at s, and each of its tokens c(y)/length. At prefix p that is

        dH_p = eta Cov_pi(kappa, w_p),   r_a d_p pi0_a w_p(a) = sum over sequences through p and a of pi0(y) E[c(y)|y]/length,

    with d_p the chance of p under pi_old: all sequences are listed.

    Args:
        log_probs, old_log_probs: log pi and log pi_old, (..., N, V).
        plus, minus: E[A+|y] and E[A-|y], (..., V^length), or numbers.
        low, high: widths of the clip of s; low in [0, 1], high at least 0.
        learning_rate: eta per sequence, logits per unit score.
    Notes: euclidean steps carry d_p, natural ones do not (the state-weighted Fisher matrix divides by it), as everywhere here.
    """
    ratio, visits = sequence_ratio(tree, log_probs, old_log_probs), tree.visits(old_log_probs)
    weight = ratio * (plus * (ratio <= 1 + high) - minus * (ratio >= 1 - low)) / tree.length
    pushed = tree.per_token(np.exp(tree.sequence_log_probs(old_log_probs)) * weight)
    # r pi0 = pi: the weight of a token, relative to its own ratio. A prefix or token that nothing reaches carries none.
    weights = _quotient(pushed, visits[..., None] * np.exp(log_probs))
    out: np.ndarray = expected_first_order({"all": weights}, log_probs, learning_rate=learning_rate, geometry=geometry)["all"]
    return visits * out if geometry == "euclidean" else out


def share_ceiling(minibatches: int) -> float:
    """Return the largest share of samples that a sign-gated clip can act on over a rollout, (1 - 1/K)/2. Claim T16.

    Either sign of A has chance 1/2 whatever the ratio, LOW and HIGH are disjoint, and the first of K minibatches never clips.
    Raises: SpecError unless K is at least 1.
    """
    if minibatches < 1:
        raise SpecError(f"minibatches must be at least 1, got {minibatches}: a rollout has one.")
    return (1 - 1 / minibatches) / 2


def normal_clip_share(length: int, spread: float, low: float, high: float) -> float:
    """Return the share of sequences beyond the bounds of a sequence clip on the side that their sign gates. Claim T16.

    [Phi(-sqrt(T) log(1 + high)/sigma) + Phi(sqrt(T) log(1 - low)/sigma)]/2, for log s normal about 0: T independent token
    log-ratios of standard deviation sigma. An approximation: tokens of one sequence are not independent.

    Args:
        length: T, tokens.   spread: sigma, of one token's log-ratio.   low, high: widths of the clip.
    Raises: SpecError for a length below 1, a spread that is not positive and finite, or widths out of range.
    """
    if length < 1 or not (0 < spread < math.inf):
        raise SpecError(f"length = {length} must be at least 1 and spread = {spread} positive and finite.")
    if not (0 <= low <= 1 and high >= 0):
        raise SpecError(f"low = {low} must be in [0, 1] and high = {high} at least 0: they are widths of the clip.")
    scale = math.sqrt(length) / spread
    up = math.erfc(scale * math.log1p(high) / math.sqrt(2))
    down = math.erfc(-scale * math.log1p(-low) / math.sqrt(2)) if low < 1 else 0.0
    return (up + down) / 4
