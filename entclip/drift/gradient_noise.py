"""Signal and noise of the policy gradient against the success rate of a reward.

References: arXiv:2505.24630 (FSPO), whose theory is the variance of a sparse binary reward; Chen et al. 2025, arXiv:2512.16912.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from entclip.drift.second_order import pair_sum
from entclip.policies.softmax import SoftmaxPolicy
from entclip.rewards.advantage import Advantage, AdvantageMoments, GroupRelative, Independent
from entclip.rewards.reward import RewardLaw
from entclip.support.errors import SpecError

__all__ = ["GradientNoise", "gradient_noise"]


class GradientNoise(NamedTuple):
    """The policy gradient of one minibatch at the policy that made it, each (...).

    Attributes:
        signal: |E g|^2, the squared length of the mean gradient.   variance: trace of its covariance.
    """

    signal: np.ndarray
    variance: np.ndarray

    @property
    def ratio(self) -> np.ndarray:
        """Return signal over variance: what share of the squared length is not noise, over what is."""
        return self.signal / self.variance


def gradient_noise(
    policy: SoftmaxPolicy, reward: RewardLaw, *, batch: int, advantage: Advantage = Independent()
) -> GradientNoise:
    """Return signal and variance of the gradient (1/B) sum_i A_i (e_{a_i} - pi) with respect to the logits, on-policy.

    Var = { E[A^2 |e_a - pi|^2] - |E g|^2 + (G - 1)(E g_i'g_j - |E g|^2) } / B,  |e_a - pi|^2 = 1 - 2 pi_a + sum pi^2,

    with the two samples i, j of one group of G; independent samples have E g_i'g_j = |E g|^2. For a reward of 1 with chance p and
    A = r - p, two actions: |E g|^2 = 2 p^2 (1 - p)^2 and B Var = 2 p (1 - p) (1 - 2p)^2: at p = 1/2 there is no noise at all.

    Args:
        policy: SoftmaxPolicy, logits (..., V).   reward, advantage: laws; a TableReward makes a signal.
        batch: B, samples in a minibatch, whole groups.
    Raises: SpecError if B is not a positive multiple of the group size.
    """
    size = advantage.size if isinstance(advantage, GroupRelative) else 1
    if batch < 1 or batch % size:
        raise SpecError(f"batch = {batch} must be a positive multiple of the group size, {size}: a minibatch holds whole groups.")
    probs = np.asarray(policy.probs)
    moments = advantage.moments(reward, probs)
    square = moments.by_action("plus_sq") + moments.by_action("minus_sq")
    p2 = np.sum(probs**2, axis=-1, keepdims=True)
    own = np.sum(probs * square * (1 - 2 * probs + p2), axis=-1)
    mean = _push(probs, moments.by_action("plus") - moments.by_action("minus"))
    signal = np.sum(mean**2, axis=-1)
    both = signal if moments.pair is None else _pair(probs, moments)
    return GradientNoise(signal, (own - signal + (size - 1) * (both - signal)) / batch)


def _push(probs: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean gradient of samples with these mean weights given the action, (..., V)."""
    weighted = probs * weight
    return weighted - probs * np.sum(weighted, axis=-1, keepdims=True)


def _pair(probs: np.ndarray, moments: AdvantageMoments) -> np.ndarray:
    """E g_i'g_j of two samples of one group, (...)."""
    assert moments.pair is not None
    steps = [_push(probs, np.broadcast_to(chance, probs.shape)) for chance in moments.level_probs.T]
    out: np.ndarray = pair_sum(moments.pair, {"plus": steps, "minus": steps}, lambda u, v: np.sum(u * v, axis=-1))
    return out
