"""Derivatives of entropy in the logits and along a step, to third order, with remainder bounds. Claims T1, T2, T3.

Along theta + t d the n-th derivative of the entropy is H^(n) = -kappa_{n+1}(l, d, ..., d) - (n-1) kappa_n(d, ..., d), with
joint cumulants under pi. Every function below takes log pi and works on the last axis.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from entclip.drift import actions
from entclip.drift.actions import Listed
from entclip.policies.softmax import Array, log_softmax
from entclip.support.namespace import namespace

__all__ = [
    "Derivatives",
    "directional_derivatives",
    "entropy_gradient",
    "hessian_diagonal",
    "hessian_form",
    "hessian_product",
    "largest_third_derivative",
    "proved_remainder",
    "remainder_bounds",
]


class Derivatives(NamedTuple):
    """H', H'' and H''' along a step, and Var_pi(d), each (...)."""

    first: Array
    second: Array
    third: Array
    variance: Array


def entropy_gradient(log_probs: Array) -> Array:
    """Return dH/dtheta_a = pi_a (s_a - H), shape (..., V). Claim T1."""
    xp = namespace(log_probs)
    probs = xp.exp(log_probs)
    return -probs * (log_probs - xp.sum(probs * log_probs, axis=-1, keepdims=True))


def _centered(log_probs: Array, *vectors: Array) -> tuple[Array, ...]:
    """pi, then l and each vector minus its mean under pi."""
    xp = namespace(log_probs)
    probs = xp.exp(log_probs)
    return probs, *(x - xp.sum(probs * x, axis=-1, keepdims=True) for x in (log_probs, *vectors))


def directional_derivatives(log_probs: Array, step: Array) -> Derivatives:
    """Return H', H'', H''' at pi along the step d. Claims T2 (first) and T3.

    first  = Cov_pi(s, d)                              (T2)
    second = -kappa_3(l, d, d) - Var(d)
    third  = -kappa_4(l, d, d, d) - 2 kappa_3(d, d, d)
    """
    xp = namespace(log_probs)
    p, l, d = _centered(log_probs, step)
    pd = p * d
    pdd = pd * d
    pddd = pdd * d
    variance = xp.sum(pdd, axis=-1)
    covariance = xp.sum(pd * l, axis=-1)
    kappa_3 = xp.sum(pdd * l, axis=-1)
    kappa_4 = xp.sum(pddd * l, axis=-1) - 3 * covariance * variance
    return Derivatives(-covariance, -kappa_3 - variance, -kappa_4 - 2 * xp.sum(pddd, axis=-1), variance)


def hessian_diagonal(log_probs: Array) -> Array:
    """Return d2H/dtheta_a^2 = -pi_a (l_a + H + 1) + pi_a^2 (2 l_a + 2 H + 1), shape (..., V). Claim T1."""
    return actions.hessian_diagonal(Listed(log_probs))


def hessian_product(log_probs: Array, vector: Array) -> Array:
    """Return (Hess H) v without the V x V matrix: -pi_a [ (v_a - E v)(l_a + H + 1) - Cov(l, v) ], shape (..., V). Claim T1."""
    return actions.hessian_product(Listed(log_probs), vector)


def hessian_form(log_probs: Array, u: Array, v: Array) -> Array:
    """Return u' (Hess H) v = -kappa_3(l, u, v) - Cov(u, v), shape (...). Claim T3."""
    return actions.curvature_form(Listed(log_probs), u, v)[..., 0]


def remainder_bounds(step: Array) -> tuple[Array, Array]:
    """Return the bounds on |dH - H'| and |dH - H' - H''/2| for a step of range D = max d - min d, each (...). Claim T3.

    D^2 (sigma/2 + 1/4)/2 and D^3 (7 sigma/8 + 1/(3 sqrt 3))/6 with sigma = sqrt(log(V-1)^2/4 + 1), which bounds the standard
    deviation of surprisal. They hold for every step and say little beyond D ~ 1.
    """
    xp = namespace(step)
    spread = xp.max(step, axis=-1) - xp.min(step, axis=-1)
    vocab = step.shape[-1]
    return spread**2 * (_surprisal_bound(vocab) / 2 + 0.25) / 2, proved_remainder(spread, vocab)


def proved_remainder(spread: Array, vocab: int) -> Array:
    """Return T3's bound on |dH - H' - H''/2| for a step of range `spread` over V actions, which columns do not count."""
    return spread**3 * (7 * _surprisal_bound(vocab) / 8 + 1 / (3 * math.sqrt(3))) / 6


def _surprisal_bound(vocab: int) -> float:
    """Return sigma, which bounds the standard deviation of surprisal over V actions."""
    return math.sqrt(math.log(vocab - 1) ** 2 / 4 + 1)


def largest_third_derivative(log_probs: Array, step: Array, nodes: int) -> tuple[Array, Array]:
    """Return the largest and smallest |H'''| over `nodes` evenly spaced points of the path theta + t d, 0 <= t <= 1, each (...).

    |dH - H' - H''/2| <= max |H'''| / 6 (Taylor with Lagrange remainder). A grid can miss the maximum between two points;
    the distance between the two returned values says by how much it may.
    """
    xp = namespace(log_probs)
    largest = smallest = xp.abs(directional_derivatives(log_probs, step).third)
    for k in range(1, nodes):  # a handful of points of the path, never a loop over actions or samples
        third = xp.abs(directional_derivatives(log_softmax(log_probs + (k / (nodes - 1)) * step), step).third)
        largest, smallest = xp.maximum(largest, third), xp.minimum(smallest, third)
    return largest, smallest
