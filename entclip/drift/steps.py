"""Logit steps from summed sample weights: the natural and the euclidean (plain policy-gradient) step.

With W_a = (1/B) sum over samples of action a of c(r, A)/r (the weight of objective.py divided by the ratio), one update
of learning rate eta moves the logits by

    natural     d_a = eta W_a / pi0_a                          one sample: c e_a / pi_a
    euclidean   d_a = eta (r_a W_a - pi_a sum_b r_b W_b)       one sample: c (e_a - pi)

Both are linear in W, so each cause has its own step and the steps add up. Working with c/r keeps the natural step free of
the cancelling ratio: c / pi = (c/r) / pi0.
"""

from __future__ import annotations

from entclip.drift.actions import Listed, mean_step
from entclip.policies.softmax import Array, Geometry, importance_ratio
from entclip.support.namespace import namespace

__all__ = ["expected_step", "logit_step", "step_adjoint"]


def logit_step(
    weights: Array, log_probs: Array, old_log_probs: Array, *, learning_rate: Array | float, geometry: Geometry
) -> Array:
    """Return the step d (..., V) that sampled weights W (..., V) make; learning_rate may be an array that broadcasts (..., 1)."""
    xp = namespace(weights)
    if geometry == "natural":
        return learning_rate * weights / _sampled_probs(old_log_probs)
    push = importance_ratio(log_probs, old_log_probs) * weights
    return learning_rate * (push - xp.exp(log_probs) * xp.sum(push, axis=-1, keepdims=True))


def step_adjoint(
    gradient: Array, log_probs: Array, old_log_probs: Array, *, learning_rate: Array | float, geometry: Geometry
) -> Array:
    """Return the v (..., V) with sum_a v_a W_a = <gradient, logit_step(W)> for every W: it prices causes without their steps.

    natural: eta gradient / pi0;  euclidean: eta r (gradient - E_pi[gradient]).
    """
    xp = namespace(gradient)
    if geometry == "natural":
        return learning_rate * gradient / _sampled_probs(old_log_probs)
    mean = xp.sum(xp.exp(log_probs) * gradient, axis=-1, keepdims=True)
    return learning_rate * importance_ratio(log_probs, old_log_probs) * (gradient - mean)


def _sampled_probs(old_log_probs: Array) -> Array:
    """pi_old, with 1 where it underflows: such an action is never sampled, its W is 0, and 0 / 0 must stay 0."""
    xp = namespace(old_log_probs)
    old = xp.exp(old_log_probs)
    return xp.where(old > 0, old, xp.ones_like(old))


def expected_step(gains: Array, log_probs: Array, *, geometry: Geometry) -> Array:
    """Return the mean step per unit learning rate when action a carries w_a = E[c|a]/r_a, shape (..., V).

    natural: w;  euclidean: pi (w - E_pi w). It is `logit_step` with W_a = pi0_a w_a, written without the ratio.
    """
    return mean_step(Listed(log_probs), gains, geometry)
