"""Expected curvature of one minibatch update: eta^2/2 times the mean second derivative along the random step. Claim T8.

    eta^2/2 { tr(Hess S)/B + (1 - 1/B) [ c tr(Hess C) + (1 - c) g' Hess g ] }

S second moment and g mean of one sample's step, C = E[g_i g_j'] for two samples of one group, c the probability that two
samples of the minibatch share a group. With visit probability d: euclidean steps carry d (so S, C, g -> d S, d^2 C, d g),
natural steps 1/d.
"""

from __future__ import annotations

from collections.abc import Callable

from entclip.drift.cumulants import hessian_diagonal, hessian_form, hessian_product
from entclip.drift.first_order import _like
from entclip.drift.steps import expected_step
from entclip.objectives.base import Change, SignedGains
from entclip.policies.softmax import Array, Geometry
from entclip.rewards.advantage import AdvantageMoments
from entclip.support.namespace import namespace

__all__ = ["expected_curvature", "noise_trace"]


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


Form = Callable[[Array, Array, Array], Array]  # (log pi, u, v) to u' M v


def _pair_form(log_probs: Array, gains: SignedGains, moments: AdvantageMoments, geometry: Geometry, form: Form) -> Array:
    """tr(M C) = sum over levels of pp u+'M u+ + mm u-'M u- - 2 pm u+'M u-,
    u+- the mean step of gain g+- at a level; form: u'M v."""
    assert moments.pair is not None
    pp, mm, pm = (_like(m, log_probs) for m in (moments.pair.plus_plus, moments.pair.minus_minus, moments.pair.plus_minus))
    share = _like(moments.level_probs, log_probs)
    levels = range(share.shape[-1])
    up = [expected_step(gains.plus * share[..., k], log_probs, geometry=geometry) for k in levels]
    down = [expected_step(gains.minus * share[..., k], log_probs, geometry=geometry) for k in levels]
    total = 0 * log_probs[..., 0]
    for i in levels:  # reward levels: one when the reward ignores the action
        for j in levels:
            total = total + pp[..., i, j] * form(log_probs, up[i], up[j])
            total = total + mm[..., i, j] * form(log_probs, down[i], down[j])
            total = total - 2 * pm[..., i, j] * form(log_probs, up[i], down[j])
    return total


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
) -> Array:
    """Expected second-order entropy change of one update of `batch` samples, (...), nats. Claim T8.

    Args:
        log_probs, ratio: log pi and pi/pi_old, (..., V).   change: what the objective makes of them.
        shared_group: c, the probability that two samples of the minibatch are of one group: (G-1)/(B-1) for whole groups,
            (G-1)/(N-1) when the minibatch is drawn at random from the N samples of the rollout, 0 for independent samples.
        visits: probability d that a sample visits this context, (...); 1 when every context gets all `batch` samples.
    """
    plus, minus, plus_sq, minus_sq = (
        _like(moments.by_action(name), log_probs) for name in ("plus", "minus", "plus_sq", "minus_sq")
    )
    gains = change.gains
    trace = noise_trace(log_probs, ratio, gains.plus_sq * plus_sq + gains.minus_sq * minus_sq, geometry=geometry)
    mean = expected_step(gains.plus * plus - gains.minus * minus, log_probs, geometry=geometry)
    pair = (1 - shared_group) * hessian_form(log_probs, mean, mean)
    if shared_group > 0:
        pair = pair + shared_group * _pair_form(log_probs, gains, moments, geometry, hessian_form)
    one, two = (visits, visits**2) if geometry == "euclidean" else (1 / visits, 1.0)
    return learning_rate**2 / 2 * (one * trace / batch + (1 - 1 / batch) * two * pair)


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
) -> Array:
    """E Var_pi(step) per squared learning rate, (...): twice the expected KL step to leading order.

    T8 with the covariance under pi in the place of the Hessian: E_sample Var_pi(step of one sample)/B and, for two samples,
    (1 - 1/B) [ c Cov_pi of two of one group + (1 - c) Var_pi(g) ]. KL-matched controls set their learning rate by it. Arguments
    are those of `expected_curvature`.
    """
    xp, gains = namespace(log_probs), change.gains
    probs = xp.exp(log_probs)
    plus, minus, plus_sq, minus_sq = (
        _like(moments.by_action(name), log_probs) for name in ("plus", "minus", "plus_sq", "minus_sq")
    )
    square = gains.plus_sq * plus_sq + gains.minus_sq * minus_sq
    if geometry == "natural":
        # Var_pi(e_a / pi0_a) = pi_a (1 - pi_a) / pi0_a^2, and a has probability pi0_a.
        single = xp.sum(ratio * (1 - probs) * square, axis=-1)
    else:
        # Var_pi(r_a (e_a - pi)) = r_a^2 [pi_a - 2 pi_a^2 + P3 - (P2 - pi_a)^2], P_k = sum pi^k: E x^2 - (E x)^2 for x = e_a - pi.
        p2, p3 = xp.sum(probs**2, axis=-1, keepdims=True), xp.sum(probs**3, axis=-1, keepdims=True)
        spread = probs - 2 * probs**2 + p3 - (probs - p2) ** 2
        single = xp.sum(probs * ratio * square * spread, axis=-1)
    mean = expected_step(gains.plus * plus - gains.minus * minus, log_probs, geometry=geometry)
    pair = (1 - shared_group) * _covariance(log_probs, mean, mean)
    if shared_group > 0:
        pair = pair + shared_group * _pair_form(log_probs, gains, moments, geometry, _covariance)
    one, two = (visits, visits**2) if geometry == "euclidean" else (1 / visits, 1.0)
    return one * single / batch + (1 - 1 / batch) * two * pair
