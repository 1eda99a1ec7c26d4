"""Euclidean runs along deterministic paths of the noise: the largest actions move one by one, the others as pairs. Claim T11.

With plain policy gradient the likely actions move all others with them, through log Z and through the sum of all weights: the
log-ratios are not independent, and a closure by their densities fails on peaked policies. Given the summed weights S_a of all
actions a step is exact,

    d_a = eta (S_a - pi_a sum_b S_b),     E S_a = pi_a m_a,
    Cov(S_a, S_b) = [ delta_ab pi0_a r_a^2 q_a - G mu_a mu_b + (G - 1) sum_st K_st u_sa u_tb ] / B,

mu = pi m, u_+- = pi g_+-, and only the law of S is approximated, by a Gaussian. Its paths are quadrature points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from operator import mul
from typing import Any

import numpy as np

from entclip.objectives.base import Change, Objective, View
from entclip.prediction.meanfield.law import SampleLaw
from entclip.prediction.meanfield.nodes import Nodes, pool
from entclip.prediction.meanfield.population import BinnedChange, binned_change

__all__ = ["Noise", "Paths", "block_size", "correlated", "path_step", "paths_of", "representatives"]

LARGEST = 64  # actions that move one by one
_BIN_WIDTH = 0.5  # nats of log pi: the other actions are pooled in bins of this width
_LEADING = 32  # actions whose slow noise is laid out by Sobol points
_WAVES = 8  # how many of the slowest components in time of that noise are laid out so
_COORDINATES = 2048  # coordinates of a Sobol point, for all rollouts together


@dataclass(frozen=True)
class Paths:
    """Log-probabilities (Q, K) of the actions of one context along Q paths of the noise.

    count (K,): actions that an entry stands for, so that sum_k count e^log_probs = 1 on each path. An entry of a pair has the
    entry before it as its twin: `twin` (K,) is the correlation of their noise, 0 for entries that are no second of a pair.
    linear_noise (Q, 1): <grad H, noise of the steps so far>, the part of the entropy change that averages to 0 over paths.
    """

    log_probs: np.ndarray
    old_log_probs: np.ndarray
    count: np.ndarray
    twin: np.ndarray
    linear_noise: np.ndarray
    objective: Objective

    @cached_property
    def log_ratio(self) -> np.ndarray:
        return self.log_probs - self.old_log_probs

    @cached_property
    def ratio(self) -> np.ndarray:
        out: np.ndarray = np.exp(self.log_ratio)
        return out

    @cached_property
    def probs(self) -> np.ndarray:
        out: np.ndarray = np.exp(self.log_probs)
        return out

    @cached_property
    def old_probs(self) -> np.ndarray:
        out: np.ndarray = np.exp(self.old_log_probs)
        return out

    def total(self, *factors: Any) -> np.ndarray:
        """Return sum_a of the product of the factors on each path, (Q, 1)."""
        out: np.ndarray = reduce(mul, factors) @ self.count[:, None]
        return out

    def mean(self, *factors: Any) -> np.ndarray:
        """Return E_pi of the product of the factors on each path, (Q, 1)."""
        return self.total(self.probs, *factors)

    @cached_property
    def entropy(self) -> np.ndarray:
        return -self.mean(self.log_probs)

    @property
    def level(self) -> np.ndarray:
        """Return the entropy without its linear noise, (Q, 1): its mean over paths is the expected entropy."""
        return self.entropy - self.linear_noise

    @cached_property
    def change(self) -> Change:
        """Return what the objective does to every entry."""
        return self.objective.change(View(self.ratio, self.old_probs, self.log_probs))

    @property
    def gated(self) -> bool:
        """Tell whether the objective's sets act on one sign of the advantage each."""
        return self.change.gated

    @cached_property
    def binned(self) -> BinnedChange:
        return binned_change(self.change)

    def first(self, size: int) -> Paths:
        """Return the first `size` paths."""
        return replace(self, **{name: getattr(self, name)[:size] for name in ("log_probs", "old_log_probs", "linear_noise")})

    def restarted(self) -> Paths:
        """Start a rollout: the old policy is the present one."""
        return replace(self, old_log_probs=self.log_probs)


def representatives(log_probs: np.ndarray, most: int) -> list[tuple[float, Nodes]]:
    """Take contexts (C, V) as (share of contexts, actions): the likeliest LARGEST one by one, the others pooled.

    Equal contexts are one; of more than `most`, that many are kept, evenly spaced in the order of their entropies.
    """
    if np.ptp(log_probs, axis=0).max() == 0:
        log_probs = log_probs[:1]
    if len(log_probs) > most:
        groups = np.array_split(np.argsort(-np.sum(np.exp(log_probs) * log_probs, axis=-1)), most)
        chosen, shares = [int(g[len(g) // 2]) for g in groups], [len(g) / len(log_probs) for g in groups]
    else:
        chosen, shares = list(range(len(log_probs))), [1 / len(log_probs)] * len(log_probs)
    return [(share, _entries(log_probs[row])) for share, row in zip(shares, chosen, strict=True)]


def _entries(log_prob: np.ndarray) -> Nodes:
    ordered = np.sort(log_prob)[::-1]
    few, rest = ordered[:LARGEST], ordered[LARGEST:]
    if not len(rest):
        return Nodes(few, np.ones(len(few)))
    left = float(np.sum(np.exp(rest)))
    pooled = pool(rest - np.log(left), np.ones(len(rest)), _BIN_WIDTH)
    order = np.argsort(-pooled.log_prob)
    logs, counts = pooled.log_prob[order] + np.log(left), pooled.count[order]
    return Nodes(np.concatenate([few, logs]), np.concatenate([np.ones(len(few)), counts]))


def paths_of(nodes: Nodes, objective: Objective, size: int) -> Paths:
    """Make all paths at the start.

    A node of n > 1 actions is two entries of n/2 whose noises have correlation 2/n - 1: then the node's sum has the variance of n
    independent actions, and each entry that of one.
    """
    times = np.where(nodes.count > 1, 2, 1)
    second = np.concatenate([np.arange(t) > 0 for t in times]) if len(times) else np.zeros(0, dtype=bool)
    count, log_prob = np.repeat(nodes.count / times, times), np.repeat(nodes.log_prob, times)
    start = np.tile(log_prob, (size, 1))
    return Paths(start, start, count, np.where(second, 1 / count - 1, 0.0), np.zeros((size, 1)), objective)


class Noise:
    """Standard normal numbers for successive blocks of paths, the same on every machine and for every arm.

    The slow components in time of the likeliest actions, on which the outcome depends most, are Sobol points (each rollout has
    coordinates of its own); all others come from a seeded generator.
    """

    def __init__(self, rollouts: int, minibatches: int) -> None:
        from scipy.stats import qmc

        self.rollouts, self.minibatches = rollouts, minibatches
        self.waves = min(_WAVES, minibatches, _COORDINATES // (_LEADING * rollouts))
        width = max(1, rollouts * self.waves * _LEADING)
        self._sobol = qmc.Sobol(width, scramble=True, rng=np.random.default_rng([0, width]))
        self._rest = np.random.default_rng([1, width])

    def block(self, size: int, entries: int) -> Iterator[np.ndarray]:
        """Yield for each rollout (minibatches, size, entries)."""
        from scipy.fft import idct
        from scipy.special import ndtri

        leading = min(_LEADING, entries)
        points = ndtri(np.clip(self._sobol.random(size), 1e-12, 1 - 1e-12))
        for rollout in range(self.rollouts):
            z = self._rest.standard_normal((self.minibatches, size, entries))
            if self.waves:
                slow = points.reshape(size, self.rollouts, self.waves, _LEADING)[:, rollout, :, :leading]
                z[: self.waves, :, :leading] = slow.transpose(1, 0, 2)
            yield idct(z, axis=0, norm="ortho", overwrite_x=True)


def path_step(p: Paths, law: SampleLaw, rate: float, batch: int, normal: np.ndarray) -> Paths:
    """Take one minibatch along each path, from numbers of mean 0 and variance 1, (Q, K): standard normal, or `jumps.counted`."""
    g = p.binned
    mean = p.probs * (law.moment("plus") * g.plus - law.moment("minus") * g.minus)
    noise = correlated(p, law, normal) / np.sqrt(batch)
    gradient = -p.probs * (p.log_probs + p.entropy)
    linear = p.total(gradient * noise) - p.total(gradient * p.probs) * p.total(noise)
    summed = mean + noise
    moved = p.log_probs + rate * (summed - p.probs * p.total(summed))
    top = moved.max(axis=1, keepdims=True)
    log_probs = moved - top - np.log(p.total(np.exp(moved - top)))
    return replace(p, log_probs=log_probs, linear_noise=p.linear_noise + rate * linear)


def correlated(p: Paths, law: SampleLaw, normal: np.ndarray) -> np.ndarray:
    """Return sqrt(B) (S - E S) of a minibatch along each path, (Q, K), linear in independent normals.

    With D = pi0 r^2 q its covariance is sqrt(D) (1 + V N V') sqrt(D), V = (u_+, u_-)/sqrt(D), N = law.coupling. The root of the
    bracket is 1 + V X V' with X = N (1 + T)^-1, T^2 = 1 + V'V N: a root of two by two matrices, whatever the number of actions.
    """
    g = p.binned
    scale = np.sqrt(p.probs * p.ratio * (g.plus_sq * law.moment("plus_sq") + g.minus_sq * law.moment("minus_sq")))
    z = normal
    pairs = np.flatnonzero(p.twin)
    if len(pairs):
        z = z.copy()
        z[:, pairs] = p.twin[pairs] * z[:, pairs - 1] + np.sqrt(1 - p.twin[pairs] ** 2) * z[:, pairs]
    n = law.coupling
    inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=scale > 0)
    a, b = p.probs * g.plus * inverse, p.probs * g.minus * inverse
    aa, ab, bb = p.total(a * a)[:, 0], p.total(a * b)[:, 0], p.total(b * b)[:, 0]
    gram = np.stack([np.stack([aa, ab], axis=-1), np.stack([ab, bb], axis=-1)], axis=-2)
    one = np.eye(2)
    m = one + gram @ n
    # A root of a two by two matrix: (m + sqrt(det m)) / sqrt(tr m + 2 sqrt(det m)); rounding may take a det of 0 below it.
    root = np.sqrt(np.maximum(_det(m), 0.0))[:, None, None]
    t = one + (m + root * one) / np.sqrt(np.trace(m, axis1=1, axis2=2)[:, None, None] + 2 * root)
    adjugate = np.trace(t, axis1=1, axis2=2)[:, None, None] * one - t
    x = n @ adjugate / _det(t)[:, None, None]
    projected = np.concatenate([p.total(a * z), p.total(b * z)], axis=1)
    weights = np.einsum("qij,qj->qi", x, projected)
    return scale * (z + a * weights[:, :1] + b * weights[:, 1:])


def _det(m: np.ndarray) -> np.ndarray:
    out: np.ndarray = m[:, 0, 0] * m[:, 1, 1] - m[:, 0, 1] * m[:, 1, 0]
    return out


def block_size(paths: int, entries: int) -> int:
    """Return how many of `paths` (both powers of 2) are worked off at once: arrays that stay in a processor's cache."""
    return min(paths, max(32, 1 << int(np.log2(max(1, 16_384 // entries)))))
