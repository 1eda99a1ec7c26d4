"""Expected curvature of one minibatch update: eta^2/2 times the mean second derivative along the random step. Claim T8.

    eta^2/2 { tr(Hess S)/B + (1 - 1/B) [ c tr(Hess C) + (1 - c) g' Hess g ] }

S second moment and g mean of one sample's step, C = E[g_i g_j'] for two samples of one group, c the probability that two
samples of the minibatch share a group. A bonus b, a step that is taken whatever is drawn, adds 2 g' Hess b + b' Hess b. With
visit probability d: euclidean steps carry d (so S, C, g, b -> d S, d^2 C, d g, d b), natural steps 1/d (S -> S/d).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entclip.drift.actions import (
    Actions,
    Listed,
    centred,
    covariance,
    curvature_form,
    hessian_diagonal,
    hessian_product,
    mean_step,
    single_bend,
)
from entclip.drift.first_order import ActionMoments, _like, mean_square_weights, mean_weights
from entclip.objectives.base import Change, Keep
from entclip.objectives.drop import surviving
from entclip.policies.softmax import Array, Geometry
from entclip.rewards.advantage import AdvantageMoments, PairMoments

__all__ = [
    "JointValues",
    "SampleWeights",
    "curvature_of",
    "expected_curvature",
    "expected_step_variance",
    "noise_trace",
    "pair_sum",
    "second_order",
    "single_curvature",
    "single_variance",
    "step_variance_of",
    "weights_by_sign",
]


def noise_trace(log_probs: Array, ratio: Array, square: Array, *, geometry: Geometry) -> Array:
    """Return tr(Hess S) of one sample whose (c/r)^2 has mean `square` (..., V) given the action, shape (...). Claim T8."""
    return single_curvature(Listed(log_probs), ratio, square, geometry)[..., 0]


def single_curvature(p: Actions, ratio: Array, square: Array, geometry: Geometry) -> Array:
    """Return tr(Hess S): the form of one sample's step with itself, on the average. Claim T8."""
    if geometry == "natural":
        # sum_a Hess_aa square_a / pi0_a: Hess_aa carries a factor pi_a, so pi_a / pi0_a = r keeps rare actions finite.
        x = centred(p, p.log_probs)
        return -p.total(ratio, single_bend(x, p.probs), square)
    by_probs = hessian_product(p, p.probs)
    return p.mean(ratio, square, hessian_diagonal(p) - 2 * by_probs + p.mean(by_probs))


def single_variance(p: Actions, ratio: Array, square: Array, geometry: Geometry) -> Array:
    """Return E Var_pi of one sample's step."""
    if geometry == "natural":
        # Var_pi(e_a / pi0_a) = pi_a (1 - pi_a) / pi0_a^2, and a has probability pi0_a.
        return p.total(ratio, 1 - p.probs, square)
    # Var_pi(r_a (e_a - pi)) = r_a^2 [pi_a - 2 pi_a^2 + P3 - (P2 - pi_a)^2], P_k = sum pi^k: E x^2 - (E x)^2 for x = e_a - pi.
    p2, p3 = p.total(p.probs**2), p.total(p.probs**3)
    return p.mean(ratio, square, p.probs - 2 * p.probs**2 + p3 - (p.probs - p2) ** 2)


Form = Callable[[Any, Any], Any]  # (u, v) to u' M v, of steps as the caller has them
# The terms of tr(M C) by reward level: a factor, the pair moment, and whose mean steps it joins (see `pair_sum`).
_PAIR_TERMS = (
    (1, "plus_plus", "plus", "plus"),
    (1, "minus_minus", "minus", "minus"),
    (-2, "plus_minus", "plus", "minus"),
    (2, "plus_if_plus", "plus", "extra_plus"),
    (2, "plus_if_minus", "plus", "extra_minus"),
    (-2, "minus_if_plus", "minus", "extra_plus"),
    (-2, "minus_if_minus", "minus", "extra_minus"),
    (1, "both_plus", "extra_plus", "extra_plus"),
    (1, "both_minus", "extra_minus", "extra_minus"),
    (2, "opposite", "extra_plus", "extra_minus"),
    (1, "joint", "weight", "weight"),  # of objectives whose weights go by the value of the advantage
)


def weights_by_sign(change: Change) -> dict[str, Array]:
    """Say what a change gives samples by the sign of A: gains, and extra weights where it has any, each (..., V)."""
    extra = {} if change.extra_plus is None else {"extra_plus": change.extra_plus, "extra_minus": change.extra_minus}
    return {"plus": change.gains.plus, "minus": change.gains.minus} | extra


def pair_sum(pair: PairMoments | JointValues, steps: Mapping[str, Sequence[Any]], form: Form) -> Array:
    """Return tr(M C), C = E[d_i d_j'] for two samples of one group, from mean steps at the reward levels. Claim T8.

    With weights by the value of the advantage ("weight") it is the sum of their joint chances times u'M v of their mean steps.
    With gains alone, u+- the mean step of gain g+- at a level: the sum over levels of
    E[A+A+] u+'M u+ + E[A-A-] u-'M u- - 2 E[A+_i A-_j] u+'M u-.

    Args:
        steps: mean steps by level of each of `weights_by_sign`.
        form: u' M v, (...) or (..., 1).
    """
    terms = [(k, getattr(pair, name), *(steps[x] for x in ends)) for k, name, *ends in _PAIR_TERMS if set(ends) <= set(steps)]
    levels, total = range(len(next(iter(steps.values())))), 0.0
    for i in levels:  # one when the reward ignores the action
        for j in levels:
            for factor, table, left, right in terms:
                total = total + factor * table[..., i, j] * form(left[i], right[j])
    return total


@dataclass(frozen=True)
class JointValues:
    """Chances that two samples of one group have two pairs of own reward and advantage, (..., 1, Q, Q), given their rewards."""

    joint: Array


@dataclass(frozen=True)
class SampleWeights:
    """What T8 needs of the weights c/r of a sample, given its action.

    Attributes:
        mean, square: E[c/r] and E[(c/r)^2].   by_sign: those of `weights_by_sign` at each reward level, times its chance.
        pair: moments of two samples of one group, as arrays of the same library; None where samples are independent.
        bonus: weights of a step beside that of the samples; None where there is none.
    """

    mean: Array
    square: Array
    by_sign: Mapping[str, Sequence[Array]]
    pair: PairMoments | JointValues | None
    bonus: Array | None = None

    @classmethod
    def of(cls, change: Change, moments: AdvantageMoments, keep: Keep | None) -> SampleWeights:
        """Return those of samples that survive a drop; moments of all actions."""
        at, kept, array = ActionMoments.of(moments, change.gains.plus), surviving(change, keep), change.gains.plus
        share = _like(moments.level_probs, array)
        by_sign = {name: [w * share[..., k] for k in range(share.shape[-1])] for name, w in weights_by_sign(kept).items()}
        # With an axis for actions, as means and sums have one.
        pair = None if moments.pair is None else moments.pair.map(lambda x: _like(x, array)[..., None, :, :])
        bonus = change.bonus_weights if change.bonus else None
        return cls(mean_weights(kept, at), mean_square_weights(change, at, keep), by_sign, pair, bonus)


def second_order(
    p: Actions,
    ratio: Array,
    weights: SampleWeights,
    single: Callable[[Actions, Array, Array, Geometry], Array],
    form: Callable[[Actions, Array, Array], Array],
    *,
    geometry: Geometry,
    batch: int,
    shared_group: float,
    visits: Array | float = 1.0,
) -> Array:
    """Return E[d' M d] of the step d of one update per squared learning rate, M the Hessian or the covariance. Claim T8.

    Args:
        single: mean of one sample's step with itself.   form: u' M v.   The other arguments are those of `expected_curvature`.
    """

    def bilinear(u: Array, v: Array) -> Array:
        return form(p, u, v)

    mean = mean_step(p, weights.mean, geometry)
    pair = (1 - shared_group) * bilinear(mean, mean)
    if shared_group > 0:
        assert weights.pair is not None
        steps = {name: [mean_step(p, w, geometry) for w in levels] for name, levels in weights.by_sign.items()}
        pair = pair + shared_group * pair_sum(weights.pair, steps, bilinear)
    one, two = (visits, visits**2) if geometry == "euclidean" else (1 / visits, 1.0)
    out = one * single(p, ratio, weights.square, geometry) / batch + (1 - 1 / batch) * two * pair
    if weights.bonus is None:
        return out
    bonus = mean_step(p, weights.bonus, geometry)
    return out + two * bilinear(2 * mean + bonus, bonus)


def expected_curvature(
    log_probs: Array,
    ratio: Array,
    change: Change,
    moments: AdvantageMoments,
    *,
    learning_rate: Array | float,
    geometry: Geometry,
    batch: int,
    shared_group: float = 0.0,
    visits: Array | float = 1.0,
    keep: Keep | None = None,
) -> Array:
    """Return the expected second-order entropy change of one update of `batch` samples, (...), nats. Claims T8, T15.

    Args:
        log_probs, ratio: log pi and pi/pi_old, (..., V).   change: what the objective makes of them.
        shared_group: c, the probability that two samples of the minibatch are of one group: (G-1)/(B-1) for whole groups,
            (G-1)/(N-1) when the minibatch is drawn at random from the N samples of the rollout, 0 for independent samples.
        visits: probability d that a sample visits this context, (...); 1 when every context gets all `batch` samples.
        keep: chances that a sample survives random drops.
    """
    return curvature_of(
        log_probs,
        ratio,
        SampleWeights.of(change, moments, keep),
        learning_rate=learning_rate,
        geometry=geometry,
        batch=batch,
        shared_group=shared_group,
        visits=visits,
    )


def curvature_of(
    log_probs: Array,
    ratio: Array,
    weights: SampleWeights,
    *,
    learning_rate: Array | float,
    geometry: Geometry,
    batch: int,
    shared_group: float,
    visits: Array | float = 1.0,
) -> Array:
    """Return `expected_curvature` of samples whose weights are given, (...), nats. Claims T8, T15."""
    out = second_order(
        Listed(log_probs),
        ratio,
        weights,
        single_curvature,
        curvature_form,
        geometry=geometry,
        batch=batch,
        shared_group=shared_group,
        visits=_broadcast(visits),
    )
    return learning_rate**2 / 2 * out[..., 0]


def _broadcast(visits: Array | float) -> Array | float:
    """(...) as (..., 1), to go with sums over actions; a number as it is."""
    return visits if isinstance(visits, float) else visits[..., None]


def expected_step_variance(
    log_probs: Array,
    ratio: Array,
    change: Change,
    moments: AdvantageMoments,
    *,
    geometry: Geometry,
    batch: int,
    shared_group: float = 0.0,
    visits: Array | float = 1.0,
    keep: Keep | None = None,
) -> Array:
    """Return E Var_pi(step) per squared learning rate, (...): twice the expected KL step to leading order.

    T8 with the covariance under pi in the place of the Hessian: E_sample Var_pi(step of one sample)/B and, for two samples,
    (1 - 1/B) [ c Cov_pi of two of one group + (1 - c) Var_pi(g) ]. KL-matched controls set their learning rate by it. Arguments
    are those of `expected_curvature`.
    """
    return step_variance_of(
        log_probs,
        ratio,
        SampleWeights.of(change, moments, keep),
        geometry=geometry,
        batch=batch,
        shared_group=shared_group,
        visits=visits,
    )


def step_variance_of(
    log_probs: Array,
    ratio: Array,
    weights: SampleWeights,
    *,
    geometry: Geometry,
    batch: int,
    shared_group: float,
    visits: Array | float,
) -> Array:
    """Return `expected_step_variance` of samples whose weights are given, (...)."""
    out = second_order(
        Listed(log_probs),
        ratio,
        weights,
        single_variance,
        covariance,
        geometry=geometry,
        batch=batch,
        shared_group=shared_group,
        visits=_broadcast(visits),
    )
    return out[..., 0]
