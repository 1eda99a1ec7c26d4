"""The noise of rare rewards: samples counted by action and advantage, where a Gaussian would miss that they come one by one.

A reward that is rarely 1 (or rarely 0) moves an action seldom and far: over a rollout its log-ratio is a sum of a few large steps
to one side, whose law is skewed. The counts of one minibatch are Poisson, N_al ~ Poisson(B pi0_a P(A = v_l)), and

    sum_i x_ia - B E x_a = r_a sum_l v_l g_a(v_l) (N_al - E N_al)

has the variance B D_a, D = pi0 r^2 q, and the third moment of the true law. That the numbers of samples are fixed, and groups,
is what `paths.correlated` adds to it.
"""

from __future__ import annotations

import numpy as np

from entclip.objectives.base import Objective
from entclip.prediction.meanfield.law import SampleLaw
from entclip.prediction.meanfield.paths import Paths

__all__ = ["counted", "lopsided", "poisson_quantile"]

_WIDEST = 0.5  # a width beyond this, or none, counts as this one: the third order of a large move matters without a clip
_MANY = 25.0  # a Poisson law of this mean is followed by its first four cumulants


def lopsided(law: SampleLaw, objective: Objective, old_probs: np.ndarray, step: float) -> np.ndarray:
    """Return the skewness that a log-ratio has when its standard deviation reaches the clip width, for each action.

    It is (eta/B) |E A^3| / (E A^2 width), whatever the action's probability; `step` is eta/B.
    """
    third = sum(prob * value**3 for value, prob in law.atoms)
    square = sum(prob * value**2 for value, prob in law.atoms)
    out: np.ndarray = np.full(old_probs.shape, step * abs(third) / square if square else 0.0) / np.minimum(
        objective.widths(old_probs), _WIDEST
    )
    return out


def counted(p: Paths, law: SampleLaw, batch: int, normal: np.ndarray) -> np.ndarray:
    """Return noise of mean 0 and variance 1 for every entry, (Q, K), from normals (Q, L K), K of them for each of L atoms.

    Entries that stand for one action are counted. Pooled ones, which stand for many, stay Gaussian: their twins have to cancel.
    """
    entries, alone = len(p.count), p.count == 1
    out = normal[:, :entries].copy()
    total, variance = (np.zeros((len(normal), int(alone.sum()))) for _ in range(2))
    for level, (value, prob) in enumerate(law.atoms):
        weight = value * (p.binned.plus if value > 0 else p.binned.minus)[:, alone]
        expected = batch * prob * p.old_probs[:, alone]
        total += weight * (poisson_quantile(normal[:, level * entries : (level + 1) * entries][:, alone], expected) - expected)
        variance += weight**2 * expected
    root = np.sqrt(variance)
    out[:, alone] = np.divide(total, root, out=np.zeros_like(total), where=root > 0)
    return out


def poisson_quantile(z: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Return the numbers that a Poisson law of the given mean has at the quantiles of standard normal numbers, both (Q, K).

    Columns whose means exceed _MANY have Cornish and Fisher's expansion, not whole numbers: its mean and variance are exact.
    """
    from scipy.special import ndtr

    out, few = np.empty(np.broadcast_shapes(z.shape, mean.shape)), mean.max(axis=0, initial=0.0) <= _MANY
    out[:, few] = _counts(ndtr(z[:, few]).ravel(), mean[:, few].ravel()).reshape(len(z), -1)
    out[:, ~few] = _expanded(z[:, ~few], mean[:, ~few])
    return out


def _expanded(z: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Cornish and Fisher's quantiles of Poisson laws, from their first four cumulants."""
    root = np.sqrt(mean)
    out: np.ndarray = mean + root * z + (z**2 - 1) / 6 + (z - z**3) / (72 * np.maximum(root, 1e-9))
    return out


def _counts(level: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """The smallest whole numbers whose chance of not being exceeded reaches the level.

    Most of them are 0 or nearly so: only entries that are still beyond go on.
    """
    number, chance = np.zeros_like(mean), np.exp(-mean)
    below, beyond = chance.copy(), np.flatnonzero(level > chance)
    for k in range(1, int(_MANY + 12 * np.sqrt(_MANY))):
        if not len(beyond):
            break
        number[beyond] = k
        chance[beyond] *= mean[beyond] / k
        below[beyond] += chance[beyond]
        beyond = beyond[level[beyond] > below[beyond]]
    return number
