"""Sums over the actions of a policy: the two operations that the theory's formulas are made of.

T5 and T8 are means under pi and sums over actions of products. Written against these two, one formula serves a table of all
actions and a population of which only some are kept (prediction). Engines that stream or reduce their sums have formulas of their
own for speed, and tests hold them to these.
"""

from __future__ import annotations

from functools import cached_property, reduce
from operator import mul
from typing import Protocol

from entclip.policies.softmax import Array, Geometry
from entclip.support.namespace import namespace

__all__ = [
    "Actions",
    "Listed",
    "centred",
    "covariance",
    "curvature_form",
    "hessian_diagonal",
    "hessian_product",
    "mean_step",
    "single_bend",
    "step_value",
]


class Actions(Protocol):
    """A policy's actions, or what stands for them, with log pi and pi of each."""

    @property
    def log_probs(self) -> Array:
        """Return log pi of each."""

    @property
    def probs(self) -> Array:
        """Return pi of each."""

    def mean(self, *factors: Array) -> Array:
        """Return E_pi of the product of some functions of the action, so that it broadcasts back over actions."""

    def total(self, *factors: Array) -> Array:
        """Return the sum over actions of the product, so that it broadcasts back over actions."""


class Listed:
    """All actions of a policy, log pi (..., V): means and sums are (..., 1)."""

    def __init__(self, log_probs: Array) -> None:
        self.log_probs = log_probs

    @cached_property
    def probs(self) -> Array:
        return namespace(self.log_probs).exp(self.log_probs)

    def mean(self, *factors: Array) -> Array:
        return self.total(self.probs, *factors)

    def total(self, *factors: Array) -> Array:
        return namespace(self.log_probs).sum(reduce(mul, factors), axis=-1, keepdims=True)


def centred(p: Actions, x: Array) -> Array:
    """Return x - E_pi[x] of each action."""
    return x - p.mean(x)


def step_value(p: Actions, geometry: Geometry) -> Array:
    """Return kappa - E_pi[kappa], what weight on an action is worth: kappa = s (natural) or pi (s - H) (euclidean). Claim T5."""
    excess = centred(p, p.log_probs)
    return -excess if geometry == "natural" else centred(p, -p.probs * excess)


def mean_step(p: Actions, weights: Array, geometry: Geometry) -> Array:
    """Return the mean step per unit learning rate of weights w = E[c|a]/r: w (natural) or pi (w - E_pi w) (euclidean)."""
    return weights if geometry == "natural" else p.probs * centred(p, weights)


def hessian_diagonal(p: Actions) -> Array:
    """Return d2H/dtheta_a^2 = -pi_a (l_a + H + 1) + pi_a^2 (2 l_a + 2 H + 1) of each action. Claim T1."""
    return -p.probs * single_bend(centred(p, p.log_probs), p.probs)


def single_bend(x: Array, probs: Array) -> Array:
    """Return -(d2H/dtheta_a^2)/pi_a = x + 1 - pi_a (2 x + 1) of each action, x = log pi_a + H. Claim T1.

    A step that is divided by pi_a takes it in the place of the second derivative, which has a factor pi_a too small for a float.
    """
    return x + 1 - probs * (2 * x + 1)


def hessian_product(p: Actions, vector: Array) -> Array:
    """Return (Hess H) v of each action: -pi_a [ (v_a - E v)(l_a + H + 1) - Cov(l, v) ]. Claim T1."""
    x, v = centred(p, p.log_probs), centred(p, vector)
    return -p.probs * (v * (x + 1) - p.mean(x, v))


def curvature_form(p: Actions, u: Array, v: Array) -> Array:
    """Return u' Hess(H) v = -E[(u - E u)(v - E v)(l + H + 1)]. Claim T1."""
    return -p.mean(centred(p, u), centred(p, v), centred(p, p.log_probs) + 1)


def covariance(p: Actions, u: Array, v: Array) -> Array:
    """Return Cov_pi(u, v)."""
    return p.mean(centred(p, u), centred(p, v))
