"""What sampled tokens alone say about an update's entropy change: log-probabilities and sums over the vocabulary, no logits.

A token taken with weight c(r, A) moves its context along c (e_a - pi), or in the natural geometry along c (e_a/pi_a - 1). Its
entropy then changes, per unit learning rate and to first order (T2, T5), by c times

    natural     s_a - H
    euclidean   pi_a (s_a - H) - E_pi Q,     Q = pi (s - H),   E_pi Q = - sum pi^2 log pi - H sum pi^2.

Means over tokens drawn from pi_old estimate Cov_pi(kappa, w) by cause without bias. The natural value needs the entropy H of the
token's context, the euclidean one two further sums over the vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from entclip.objectives.base import Objective, View, clip_events, split_by_cause
from entclip.policies.softmax import importance_ratio
from entclip.support.namespace import namespace

__all__ = ["SampledParts", "euclidean_value", "masked_parts", "natural_value", "sampled_parts"]

Array = Any  # numpy.ndarray or torch.Tensor


class SampledParts(NamedTuple):
    """What an update makes of each token that was taken, (...): c(r, A) by cause, and the tokens whose gradient was removed.

    low and high: by the bounds, gated by the sign of A. other: by neither of them, such as a dual clip's cap.
    """

    ratio: Array
    weights: dict[str, Array]
    low: Array
    high: Array
    other: Array


def sampled_parts(objective: Objective, log_probs: Array, old_log_probs: Array, advantages: Array) -> SampledParts:
    """Return c(r, A) of each token by cause (T4), and the clip events.

    Args:
        objective: one that needs nothing beside ratios and probabilities.
        log_probs, old_log_probs, advantages: of the tokens taken, one shape.
    """
    xp = namespace(log_probs)
    view = View.of(log_probs, old_log_probs)
    change = objective.change(view)
    zero = xp.zeros_like(advantages)
    split = split_by_cause(change, xp.maximum(advantages, zero), xp.maximum(-advantages, zero))
    low, high = clip_events(change, advantages)
    gains = xp.where(advantages > 0, change.gains.plus, change.gains.minus)
    removed = (gains == 0) & (advantages != 0) & ~low & ~high
    return SampledParts(view.ratio, {cause: view.ratio * c for cause, c in split.items()}, low, high, removed)


def masked_parts(log_probs: Array, old_log_probs: Array, advantages: Array, low: Array, high: Array) -> SampledParts:
    """Return the same from masks that a trainer saved, of tokens whose gradient its two sides removed whole."""
    xp = namespace(log_probs)
    ratio = importance_ratio(log_probs, old_log_probs)
    whole, nothing = ratio * advantages, xp.zeros_like(ratio)
    weights = {"unclipped": whole, "clip_low": -whole * low, "clip_high": -whole * high, "other": nothing}
    return SampledParts(ratio, weights, low, high, low & ~low)


def natural_value(log_probs: Array, entropy: Array) -> Array:
    """Return s_a - H of each token taken, nats, (...): what one unit of weight does to entropy in the natural geometry."""
    return -log_probs - entropy


def euclidean_value(log_probs: Array, entropy: Array, sum_sq: Array, sum_sq_log: Array) -> Array:
    """Return pi_a (s_a - H) - E_pi Q of each token taken, nats, (...): the same for a step of the logits themselves.

    Args:
        entropy, sum_sq, sum_sq_log: of the token's context: H, sum pi^2, sum pi^2 log pi.
    """
    return namespace(log_probs).exp(log_probs) * (-log_probs - entropy) + sum_sq_log + entropy * sum_sq
