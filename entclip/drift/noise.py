"""Noise-driven drift: what sampling alone does to entropy, on-policy and unclipped, under a random reward. Claim T9.

natural     eta^2 m2/(2B) [ sum_a s_a - V H - (V - 1) ]
euclidean   eta^2 m2/(2B) [ -c2 (1 + 2 P2) + 3 c3 + 2 P3 - P2 - P2^2 ],   c_k = sum pi^k (l + H),  P_k = sum pi^k
"""

from __future__ import annotations

from entclip.policies.softmax import Array, Geometry, weighted_mean
from entclip.support.namespace import namespace

__all__ = ["noise_drift"]


def noise_drift(log_probs: Array, *, learning_rate: float, second_moment: float, batch: int, geometry: Geometry) -> Array:
    """Return the expected entropy change per update, (...), nats, for advantages of second moment m2. Claim T9.

    Args:
        log_probs: log pi = log pi_old, (..., V).
        second_moment: m2 = E[A^2] of advantages independent of the action, in groups or not.
    """
    xp = namespace(log_probs)
    p = xp.exp(log_probs)
    x = log_probs - weighted_mean(p, log_probs)
    vocab = log_probs.shape[-1]
    if geometry == "natural":
        bracket = -xp.sum(x, axis=-1) - (vocab - 1)
    else:
        c2, c3 = xp.sum(p**2 * x, axis=-1), xp.sum(p**3 * x, axis=-1)
        p2, p3 = xp.sum(p**2, axis=-1), xp.sum(p**3, axis=-1)
        bracket = -c2 * (1 + 2 * p2) + 3 * c3 + 2 * p3 - p2 - p2**2
    return learning_rate**2 * second_moment / (2 * batch) * bracket
