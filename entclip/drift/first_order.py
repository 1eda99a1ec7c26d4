"""Expected first-order entropy change of one update, by cause, for any reward and objective. Claims T5, T6, T10."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from entclip.drift.actions import Listed, step_value
from entclip.objectives.base import Change, Keep, weights_of
from entclip.objectives.drop import split_survivors, surviving
from entclip.policies.softmax import Array, Geometry
from entclip.rewards.advantage import Moment
from entclip.support.namespace import namespace

__all__ = [
    "ActionMoments",
    "ClipSetStats",
    "GivenAction",
    "clip_set_stats",
    "expected_first_order",
    "expected_weights",
    "mean_square_weights",
    "mean_weights",
    "weights_by_cause",
]


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


class GivenAction(Protocol):
    """What has moments of the advantage given the action: those of a rule, of one value of A, or of whole sequences."""

    def by_action(self, name: Moment) -> Array:
        """Return the named moment, in a shape that fits the policies."""


class ActionMoments(NamedTuple):
    """Moments of the advantage given the action, (..., V) or numbers: E[A+], E[A-], E[A+^2], E[A-^2], P(A > 0), P(A < 0)."""

    plus: Array
    minus: Array
    plus_sq: Array
    minus_sq: Array
    share_plus: Array
    share_minus: Array

    @classmethod
    def of(cls, moments: GivenAction, array: Array) -> ActionMoments:
        """Return those of all actions, in the library, dtype and device of an array."""
        return cls(*(_like(moments.by_action(name), array) for name in cls._fields))  # type: ignore[arg-type]


def expected_weights(change: Change, moments: GivenAction, keep: Keep | None = None) -> dict[str, Array]:
    """Return w(a) = E[c | a] / r(a) by cause, each (..., V), of samples that survive a random drop. Claims T5, T10."""
    return weights_by_cause(change, ActionMoments.of(moments, change.gains.plus), keep)


def weights_by_cause(change: Change, moments: ActionMoments, keep: Keep | None = None) -> dict[str, Array]:
    """Return `expected_weights` of the actions that the moments are given for."""
    plus, minus, _, _, n_plus, n_minus = moments
    if keep is not None:
        plus, minus, n_plus, n_minus = plus * keep.plus, minus * keep.minus, n_plus * keep.plus, n_minus * keep.minus
    return split_survivors(change, plus, minus, keep, n_plus, n_minus)


def mean_weights(change: Change, moments: ActionMoments) -> Array:
    """Return E[c | a] / r(a), (..., V): the sum of `expected_weights`. Claim T5."""
    return weights_of(change, moments.plus, moments.minus, moments.share_plus, moments.share_minus)


def mean_square_weights(change: Change, moments: ActionMoments, keep: Keep | None = None) -> Array:
    """Return E[(c/r)^2 | a], (..., V), of samples that survive a random drop. Claim T8.

    c/r is A+ g_plus + x_plus or -A- g_minus + x_minus by the sign of A, x the extra weights.
    """
    gains, m = surviving(change, keep).gains, moments
    out = gains.plus_sq * m.plus_sq + gains.minus_sq * m.minus_sq
    if change.extra_plus is None:
        return out
    x, y = change.extra_plus, change.extra_minus
    up = x * (2 * change.gains.plus * m.plus + x * m.share_plus)
    down = y * (y * m.share_minus - 2 * change.gains.minus * m.minus)
    return out + (up + down if keep is None else keep.plus * up + keep.minus * down)


def expected_first_order(
    weights: dict[str, Array], log_probs: Array, *, learning_rate: Array | float, geometry: Geometry
) -> dict[str, Array]:
    """Return eta Cov_pi(kappa, w) for each cause, each (...), nats per update. Claim T5."""
    p = Listed(log_probs)
    value = step_value(p, geometry)
    return {cause: learning_rate * p.mean(value, w)[..., 0] for cause, w in weights.items()}


def clip_set_stats(change: Change, log_probs: Array, geometry: Geometry) -> ClipSetStats:
    """Return the probability and entropy value of the clip sets under pi. Claim T6: dH = eta M (mass_low - mass_high)."""
    p = Listed(log_probs)
    value = step_value(p, geometry)
    low, high = (namespace(log_probs).astype(s, log_probs.dtype) for s in (change.low, change.high))
    sums = (p.mean(low), p.mean(high), p.mean(value, low), p.mean(value, high))
    return ClipSetStats(*(x[..., 0] for x in sums))
