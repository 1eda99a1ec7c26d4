"""One policy of some units as points: probabilities, entropy and the sums that the theory is made of. Claims T1 to T3.

Formulas are those of drift/, with every sum over actions written as a sum over points (chunk.py): `mass` = weight pi is the
probability that a point stands for, pi itself stays the probability of one action.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

__all__ = ["Points", "Slopes", "path_range", "ratio_of", "total", "whole_weight"]

_LIMIT = 0.975 * math.log(float(np.finfo(np.float64).max))  # of a log-ratio, as in policy.importance_ratio
PADDING = -800.0  # log-probability of room: its probability is 0 in float64
LEAST, MOST = math.exp(-_LIMIT), math.exp(_LIMIT)


def total(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return sum_c a_c b_c of each unit, (u,)."""
    out: np.ndarray = np.einsum("uc,uc->u", a, b)
    return out


def ratio_of(probs: np.ndarray, old_probs: np.ndarray) -> np.ndarray:
    """Return policy.importance_ratio from probabilities that are there already, held in the same range; 1 where neither is
    one."""
    out = np.ones(probs.shape)
    np.divide(probs, old_probs, out=out, where=old_probs > 0)
    out.clip(LEAST, MOST, out=out)
    return out


def whole_weight(weight: np.ndarray, count: np.ndarray, width: int) -> np.ndarray:
    """Return weights of all points (u, width) from those of nodes (u, n): 1 for the first `count` (u,) tracked actions, then
    0."""
    n = weight.shape[1]
    return np.concatenate([weight, np.arange(width - n) < count[:, None]], axis=1)


class Slopes(NamedTuple):
    """H'' and H''' along a step, and Var_pi(d), each (u,). Claim T3."""

    second: np.ndarray
    third: np.ndarray
    variance: np.ndarray


@dataclass(frozen=True)
class Points:
    """log pi, pi and mass (u, c), l + H (u, c) and H (u,): sums over actions are sums with `weight` (u, c)."""

    log_probs: np.ndarray
    weight: np.ndarray
    probs: np.ndarray
    mass: np.ndarray
    entropy: np.ndarray
    excess: np.ndarray

    @classmethod
    def of(cls, log_probs: np.ndarray, weight: np.ndarray, probs: np.ndarray | None = None) -> Points:
        """Build from normalised log-probabilities."""
        probs = np.exp(log_probs) if probs is None else probs
        mass = weight * probs
        entropy = -np.sum(mass * log_probs, axis=1)  # pairwise sums: the ledger's identities hold it to a few ulps
        return cls(log_probs, weight, probs, mass, entropy, log_probs + entropy[:, None])

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Return E_pi[x], (u,)."""
        return total(self.mass, x)

    def centred(self, x: np.ndarray) -> np.ndarray:
        """Return x - E_pi[x]."""
        out: np.ndarray = x - self.mean(x)[:, None]
        return out

    def moved(self, step: np.ndarray) -> tuple[Points, np.ndarray]:
        """Return the policy after a logit step (u, c), and what was taken off the logits to normalise it, (u,)."""
        logits = self.log_probs + step
        probs = np.exp(logits)
        z = total(self.weight, probs)[:, None]
        top = 0.0
        if not np.all((z > 1e-200) & (z < 1e200)):  # a logit rose so far that exp left float64's range
            top = np.max(np.where(self.weight == 0, -np.inf, logits), axis=1, keepdims=True)
            logits -= top
            probs = np.exp(np.minimum(logits, 0.0))  # points without weight may lie above
            z = total(self.weight, probs)[:, None]
        log_z = np.log(z)
        logits -= log_z
        probs /= z
        return Points.of(logits, self.weight, probs), (top + log_z)[:, 0]

    def slopes(self, step: np.ndarray) -> Slopes:
        """Return second = -kappa_3(l, d, d) - Var(d);  third = -kappa_4(l, d, d, d) - 2 kappa_3(d, d, d)."""
        d = self.centred(step)
        pd = self.mass * d
        dl = d * self.excess
        pdd = pd * d
        variance, covariance = total(pd, d), total(pd, self.excess)
        kappa_4 = total(pdd, dl) - 3 * covariance * variance
        return Slopes(-total(pd, dl) - variance, -kappa_4 - 2 * total(pdd, d), variance)


def path_range(step: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return max d - min d over the points that stand for actions, (u,)."""
    used = weight != 0
    return np.max(step, axis=1, where=used, initial=-np.inf) - np.min(step, axis=1, where=used, initial=np.inf)
