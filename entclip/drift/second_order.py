"""Expected curvature of one minibatch update: eta^2/2 times the mean second derivative along the random step. Claim T8.

    eta^2/2 { tr(Hess S)/B + (1 - 1/B) [ c tr(Hess C) + (1 - c) g' Hess g ] }

S second moment and g mean of one sample's step, C = E[g_i g_j'] for two samples of one group, c the probability that two
samples of the minibatch share a group. A bonus b, a step that is taken whatever is drawn, adds 2 g' Hess b + b' Hess b. With
visit probability d: euclidean steps carry d (so S, C, g, b -> d S, d^2 C, d g, d b), natural steps 1/d (S -> S/d).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from entclip.drift.cumulants import hessian_diagonal, hessian_form, hessian_product
from entclip.drift.first_order import ActionMoments, _like, mean_square_weights, mean_weights
from entclip.drift.steps import expected_step
from entclip.objectives.base import Change, Keep
from entclip.objectives.drop import surviving
from entclip.policies.softmax import Array, Geometry
from entclip.rewards.advantage import AdvantageMoments, PairMoments
from entclip.support.namespace import namespace

__all__ = ["expected_curvature", "expected_step_variance", "noise_trace", "pair_sum", "weights_by_sign"]


def noise_trace(log_probs: Array, ratio: Array, square: Array, *, geometry: Geometry) -> Array:
    """tr(Hess S) of one sample whose (c/r)^2 has mean `square` (..., V) given the action, shape (...)."""
    xp = namespace(log_probs)
    probs = xp.exp(log_probs)
    if geometry == "natural":
        # sum_a Hess_aa square_a / pi0_a: Hess_aa carries a factor pi_a, so pi_a / pi0_a = r keeps rare actions finite.
        x = log_probs - xp.sum(probs * log_probs, axis=-1, keepdims=True)
        return -xp.sum(ratio * (x + 1 - probs * (2 * x + 1)) * square, axis=-1)
    by_probs = hessian_product(log_probs, probs)
    form = hessian_diagonal(log_probs) - 2 * by_probs + xp.sum(probs * by_probs, axis=-1, keepdims=True)
    return xp.sum(probs * ratio * square * form, axis=-1)


Form = Callable[[Any, Any], Any]  # (u, v) to u' M v, of steps as the caller has them
# The terms of tr(M C) by reward level: a factor, the pair moment, and whose mean steps it joins (see `pair_sum`).
_PAIR_TERMS = (
    (1, "plus_plus", "plus", "plus"), (1, "minus_minus", "minus", "minus"), (-2, "plus_minus", "plus", "minus"),
    (2, "plus_if_plus", "plus", "extra_plus"), (2, "plus_if_minus", "plus", "extra_minus"),
    (-2, "minus_if_plus", "minus", "extra_plus"), (-2, "minus_if_minus", "minus", "extra_minus"),
    (1, "both_plus", "extra_plus", "extra_plus"), (1, "both_minus", "extra_minus", "extra_minus"),
    (2, "opposite", "extra_plus", "extra_minus"),
)  # fmt: skip


def weights_by_sign(change: Change) -> dict[str, Array]:
    """What a change gives samples by the sign of A: gains, and extra weights where it has any, each (..., V)."""
    extra = {} if change.extra_plus is None else {"extra_plus": change.extra_plus, "extra_minus": change.extra_minus}
    return {"plus": change.gains.plus, "minus": change.gains.minus} | extra


def pair_sum(pair: PairMoments, steps: Mapping[str, Sequence[Any]], form: Form, like: Callable[[Array], Array]) -> Array:
    """tr(M C), C = E[d_i d_j'] for two samples of one group: mean steps at the reward levels, joined by pair moments. Claim T8.

    With gains alone, u+- the mean step of gain g+- at a level: the sum over levels of
    E[A+A+] u+'M u+ + E[A-A-] u-'M u- - 2 E[A+_i A-_j] u+'M u-.

    Args:
        steps: mean steps by level of each of `weights_by_sign`.
        form: u' M v.   like: makes a table of moments an array of the caller's library.
    """
    terms = [
        (k, like(getattr(pair, name)), *(steps[x] for x in ends)) for k, name, *ends in _PAIR_TERMS if set(ends) <= set(steps)
    ]
    levels, total = range(len(steps["plus"])), 0.0
    for i in levels:  # one when the reward ignores the action
        for j in levels:
            for factor, table, left, right in terms:
                total = total + factor * table[..., i, j] * form(left[i], right[j])
    return total


def _of_means(
    log_probs: Array,
    change: Change,
    moments: AdvantageMoments,
    geometry: Geometry,
    form: Callable[[Array, Array, Array], Array],
    shared_group: float,
) -> tuple[Array, Array | float]:
    """c tr(M C) + (1 - c) g'M g of two samples of a minibatch, and what a bonus adds to it: 2 g'M b + b'M b."""

    def step(weights: Array) -> Array:
        return expected_step(weights, log_probs, geometry=geometry)

    bilinear = partial(form, log_probs)
    mean = step(mean_weights(change, ActionMoments.of(moments, log_probs)))
    pair = (1 - shared_group) * bilinear(mean, mean)
    if shared_group > 0:
        assert moments.pair is not None
        share = _like(moments.level_probs, log_probs)
        steps = {
            name: [step(weights * share[..., k]) for k in range(share.shape[-1])]
            for name, weights in weights_by_sign(change).items()
        }
        pair = pair + shared_group * pair_sum(moments.pair, steps, bilinear, partial(_like, array=log_probs))
    if not change.bonus:
        return pair, 0.0
    bonus = step(change.bonus_weights)
    return pair, bilinear(2 * mean + bonus, bonus)


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
    """Expected second-order entropy change of one update of `batch` samples, (...), nats. Claims T8, T15.

    Args:
        log_probs, ratio: log pi and pi/pi_old, (..., V).   change: what the objective makes of them.
        shared_group: c, the probability that two samples of the minibatch are of one group: (G-1)/(B-1) for whole groups,
            (G-1)/(N-1) when the minibatch is drawn at random from the N samples of the rollout, 0 for independent samples.
        visits: probability d that a sample visits this context, (...); 1 when every context gets all `batch` samples.
        keep: chances that a sample survives random drops.
    """
    trace = noise_trace(
        log_probs, ratio, mean_square_weights(change, ActionMoments.of(moments, log_probs), keep), geometry=geometry
    )
    pair, bonus = _of_means(log_probs, surviving(change, keep), moments, geometry, hessian_form, shared_group)
    one, two = (visits, visits**2) if geometry == "euclidean" else (1 / visits, 1.0)
    return learning_rate**2 / 2 * (one * trace / batch + (1 - 1 / batch) * two * pair + two * bonus)


def _covariance(log_probs: Array, u: Array, v: Array) -> Array:
    """Cov_pi(u, v), (...)."""
    xp = namespace(log_probs)
    probs = xp.exp(log_probs)
    left, right = (x - xp.sum(probs * x, axis=-1, keepdims=True) for x in (u, v))
    return xp.sum(probs * left * right, axis=-1)


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
    """E Var_pi(step) per squared learning rate, (...): twice the expected KL step to leading order.

    T8 with the covariance under pi in the place of the Hessian: E_sample Var_pi(step of one sample)/B and, for two samples,
    (1 - 1/B) [ c Cov_pi of two of one group + (1 - c) Var_pi(g) ]. KL-matched controls set their learning rate by it. Arguments
    are those of `expected_curvature`.
    """
    xp = namespace(log_probs)
    probs = xp.exp(log_probs)
    square = mean_square_weights(change, ActionMoments.of(moments, log_probs), keep)
    if geometry == "natural":
        # Var_pi(e_a / pi0_a) = pi_a (1 - pi_a) / pi0_a^2, and a has probability pi0_a.
        single = xp.sum(ratio * (1 - probs) * square, axis=-1)
    else:
        # Var_pi(r_a (e_a - pi)) = r_a^2 [pi_a - 2 pi_a^2 + P3 - (P2 - pi_a)^2], P_k = sum pi^k: E x^2 - (E x)^2 for x = e_a - pi.
        p2, p3 = xp.sum(probs**2, axis=-1, keepdims=True), xp.sum(probs**3, axis=-1, keepdims=True)
        spread = probs - 2 * probs**2 + p3 - (probs - p2) ** 2
        single = xp.sum(probs * ratio * square * spread, axis=-1)
    pair, bonus = _of_means(log_probs, surviving(change, keep), moments, geometry, _covariance, shared_group)
    one, two = (visits, visits**2) if geometry == "euclidean" else (1 / visits, 1.0)
    return one * single / batch + (1 - 1 / batch) * two * pair + two * bonus
