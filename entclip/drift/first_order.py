"""Expected first-order entropy change of one update, by cause, for any reward and objective. Claims T5, T6, T10."""

from __future__ import annotations

from typing import NamedTuple

from entclip.objectives.base import Change
from entclip.objectives.drop import Keep, split_survivors
from entclip.policies.softmax import Array, Geometry, centered_kappa
from entclip.rewards.advantage import AdvantageMoments
from entclip.support.namespace import namespace

__all__ = ["ClipSetStats", "clip_set_stats", "expected_first_order", "expected_weights"]


class ClipSetStats(NamedTuple):
    """pi(LOW), pi(HIGH) and the masses pi(X) (E[kappa|X] - E[kappa]), each (...). A gap of T6 is mass / probability."""

    pi_low: Array
    pi_high: Array
    mass_low: Array
    mass_high: Array


def _like(moment: Array, array: Array) -> Array:
    """A numpy moment as an array of the caller's library, dtype and device."""
    xp = namespace(array)
    return xp.asarray(moment, dtype=array.dtype, device=getattr(array, "device", None))


def expected_weights(change: Change, moments: AdvantageMoments, keep: Keep | None = None) -> dict[str, Array]:
    """w(a) = E[c | a] / r(a) by cause, each (..., V); with `keep`, of samples that survive a random drop. Claims T5, T10."""
    plus, minus = (_like(moments.by_action(name), change.gains.plus) for name in ("plus", "minus"))
    if keep is not None:
        plus, minus = plus * keep.plus, minus * keep.minus
    return split_survivors(change, plus, minus, keep)


def expected_first_order(
    weights: dict[str, Array], log_probs: Array, *, learning_rate: Array | float, geometry: Geometry
) -> dict[str, Array]:
    """eta Cov_pi(kappa, w) for each cause, each (...), nats per update. Claim T5."""
    xp = namespace(log_probs)
    value = xp.exp(log_probs) * centered_kappa(log_probs, geometry)
    return {cause: learning_rate * xp.sum(value * w, axis=-1) for cause, w in weights.items()}


def clip_set_stats(change: Change, log_probs: Array, geometry: Geometry) -> ClipSetStats:
    """Probability and entropy value of the clip sets under pi. Claim T6: dH = eta M (mass_low - mass_high)."""
    xp = namespace(log_probs)
    probs = xp.exp(log_probs)
    value = probs * centered_kappa(log_probs, geometry)
    low, high = (xp.astype(s, probs.dtype) for s in (change.low, change.high))
    return ClipSetStats(*(xp.sum(x * s, axis=-1) for x in (probs, value) for s in (low, high)))
