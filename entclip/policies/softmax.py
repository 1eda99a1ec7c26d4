"""Softmax policies over V actions: log-probabilities, entropy, the entropy value of an action, initial laws.

Notation (docs/theory.md): logits theta, pi = softmax(theta), l = log pi, surprisal s = -l, entropy H = E_pi[s] in nats.
The functions work on the last axis of numpy or torch arrays; `SoftmaxPolicy` is the validated public wrapper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from entclip.support.namespace import namespace

__all__ = [
    "Geometry",
    "SoftmaxPolicy",
    "centered_kappa",
    "entropy",
    "importance_ratio",
    "kappa",
    "log_softmax",
    "weighted_mean",
]

Array = Any  # numpy.ndarray or torch.Tensor: formula files serve both through array-api-compat
Geometry = Literal["natural", "euclidean"]


def log_softmax(logits: Array) -> Array:
    """Return log pi = theta - log sum exp theta, shape (..., V). Stable for any finite logits."""
    xp = namespace(logits)
    shifted = logits - xp.max(logits, axis=-1, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))


def weighted_mean(probs: Array, x: Array) -> Array:
    """Return E_pi[x] with the action axis kept, shape (..., 1), so that it broadcasts back over actions."""
    xp = namespace(probs)
    return xp.sum(probs * x, axis=-1, keepdims=True)


def entropy(log_probs: Array) -> Array:
    """Return the entropy H = -sum_a pi_a log pi_a in nats, shape (...)."""
    xp = namespace(log_probs)
    return -xp.sum(xp.exp(log_probs) * log_probs, axis=-1)


def importance_ratio(log_probs: Array, old_log_probs: Array) -> Array:
    """Return r = pi/pi_old from log-probabilities, held within the dtype's range (e^+-690 in float64, e^+-86 in float32).

    Beyond it both a ratio and its inverse (bounded weights divide by it) would be infinite or 0; no clip width is near.
    """
    xp = namespace(log_probs)
    limit = 0.975 * math.log(float(xp.finfo(log_probs.dtype).max))
    return xp.exp(xp.clip(log_probs - old_log_probs, -limit, limit))


def kappa(log_probs: Array, geometry: Geometry) -> Array:
    """Return the entropy value of each action, s (natural) or pi (s - H) (euclidean), shape (..., V). Claim T5.

    It is what one unit of expected advantage on action a contributes to dH / eta, before centring.
    """
    xp = namespace(log_probs)
    if geometry == "natural":
        return -log_probs
    probs = xp.exp(log_probs)
    return -probs * (log_probs - weighted_mean(probs, log_probs))


def centered_kappa(log_probs: Array, geometry: Geometry) -> Array:
    """Return kappa - E_pi[kappa], shape (..., V): centred once so that a small covariance is not a difference of large means."""
    xp = namespace(log_probs)
    value = kappa(log_probs, geometry)
    return value - weighted_mean(xp.exp(log_probs), value)


@dataclass(frozen=True)
class SoftmaxPolicy:
    """A softmax policy pi = softmax(logits) over V actions, for one or many contexts.

    Args:
        logits: finite array (..., V) with V >= 2; numpy or torch. Shifts by a constant do not matter.
    Raises: ValueError if a logit is NaN or infinite, or if V < 2.
    Example:
        >>> float(SoftmaxPolicy([0.0, 0.0]).entropy)  # log 2
        0.6931471805599453
    """

    logits: Array

    def __post_init__(self) -> None:
        value = self.logits
        if not hasattr(value, "dtype") or isinstance(value, np.generic):
            value = np.asarray(value, dtype=np.float64)
        xp = namespace(value)
        if not xp.isdtype(value.dtype, "real floating"):
            value = xp.astype(value, xp.float64)
        if value.ndim < 1 or value.shape[-1] < 2:
            raise ValueError(
                f"policy logits have shape {tuple(value.shape)}: a softmax policy needs V >= 2 actions on the last "
                "axis (with one action the entropy is 0 whatever happens)."
            )
        bad = ~xp.isfinite(value)
        if bool(xp.any(bad)):
            raise ValueError(
                f"policy logits hold {int(xp.sum(xp.astype(bad, xp.int64)))} NaN or infinite values: every logit must "
                "be finite. For an action that must not be taken use a large negative number such as -1e4."
            )
        object.__setattr__(self, "logits", value)

    @classmethod
    def from_probs(cls, probs: Array) -> SoftmaxPolicy:
        """Return the policy with the given probabilities (..., V), each positive, each row summing to 1 within 1e-6
        (renormalised)."""
        value = probs if hasattr(probs, "dtype") else np.asarray(probs, dtype=np.float64)
        xp = namespace(value)
        if bool(xp.any(~xp.isfinite(value))) or bool(xp.any(value <= 0)):
            raise ValueError(
                f"probabilities must be positive and finite, got values down to {float(xp.min(value))}: a softmax "
                "policy never has a probability of exactly 0. Use a small positive number, or drop the action."
            )
        total = xp.sum(value, axis=-1)
        worst = float(xp.max(xp.abs(total - 1)))
        if worst > 1e-6:
            raise ValueError(
                f"probabilities must sum to 1 in every row, worst row is off by {worst:.3g}: divide by their sum first."
            )
        return cls(xp.log(value))

    @cached_property
    def log_probs(self) -> Array:
        """Return log pi, shape (..., V)."""
        return log_softmax(self.logits)

    @property
    def probs(self) -> Array:
        """Return pi, shape (..., V)."""
        return namespace(self.logits).exp(self.log_probs)

    @property
    def surprisal(self) -> Array:
        """Return the surprisal s = -log pi in nats, shape (..., V)."""
        return -self.log_probs

    @property
    def entropy(self) -> Array:
        """Return the entropy H in nats, shape (...)."""
        return entropy(self.log_probs)

    @property
    def vocab(self) -> int:
        """Return V, the number of actions."""
        return int(self.logits.shape[-1])
