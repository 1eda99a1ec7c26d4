"""T5, T8, T10: the expected drift against every outcome of a small minibatch, for any reward, group, objective and geometry."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from entclip.drift.cumulants import remainder_bounds
from entclip.drift.expected import DriftTerms, expected_entropy_drift
from entclip.drift.second_order import expected_curvature, expected_step_variance
from entclip.objectives.clip import Clip
from entclip.policies.softmax import entropy, log_softmax
from entclip.rewards.advantage import Independent
from tests.properties.oracle import (
    CAUSES,
    all_outcomes,
    complex_gradient,
    dense_hessian,
    entropy_size,
    enumerate_steps,
    published_weight,
    sample_steps,
)
from tests.properties.strategies import Update, updates
from tests.seen import changed
from tests.tolerances import IDENTITY, assert_identity


def predicted(u: Update, learning_rate: float | None = None) -> DriftTerms:
    return expected_entropy_drift(
        u.pair.policy,
        Clip(),
        u.reward,
        old_policy=u.pair.old_policy,
        learning_rate=u.learning_rate if learning_rate is None else learning_rate,
        geometry=u.geometry,
        advantage=u.advantage,
        objective=u.objective,
        order=2,
        batch=u.batch,
    )


def mean_quadratic(u: Update, chance: np.ndarray, steps: np.ndarray, size: np.ndarray) -> tuple[float, float]:
    """E[d'Hd]/2 and the sum of its absolute terms: trace, mean and pair part of T8 may each exceed the result, hence 4."""
    matrix, absolute = dense_hessian(u.pair.log_p)
    value = chance @ np.einsum("ov,vw,ow->o", steps, matrix, steps) / 2
    return float(value), float(4 * chance @ np.einsum("ov,vw,ow->o", size, absolute, size) / 2)


@given(updates())
def test_first_order_by_cause(u) -> None:
    log_p = u.pair.log_p
    e, got = enumerate_steps(u), predicted(u)
    gradient = complex_gradient(log_p)
    terms = u.pair.conditioning * float(e.chance @ e.size @ (u.pair.probs * (np.abs(log_p) + entropy(log_p))))
    for cause in CAUSES:
        assert_identity(getattr(got, cause), e.chance @ e.causes[cause] @ gradient, terms)
    assert_identity(sum(getattr(got, c) for c in CAUSES), e.chance @ e.total @ gradient, 4 * terms)
    assert_identity(got.total, sum(getattr(got, c) for c in CAUSES) + got.curvature, 4 * terms + abs(got.curvature))


@given(updates())
def test_curvature(u) -> None:
    e = enumerate_steps(u)
    value, terms = mean_quadratic(u, e.chance, e.total, e.size)
    assert_identity(predicted(u).curvature, value, u.pair.conditioning * terms)


@given(updates())
def test_expected_change_lies_within_the_remainder_bounds(u) -> None:
    """Exact E[dH] over all outcomes; T3 bounds the remainder of each, however large the step."""
    e, got, log_p = enumerate_steps(u), predicted(u), u.pair.log_p
    change = e.chance @ (entropy(log_softmax(log_p + e.total)) - entropy(log_p))
    first, second = (e.chance @ bound for bound in remainder_bounds(e.total))
    spread = np.ptp(e.total, axis=-1)
    rounding = IDENTITY["float64"] * 4 * u.pair.conditioning * float(e.chance @ (1 + e.size.sum(axis=-1) + spread) ** 2)
    rounding *= 1 + entropy_size(log_p)
    causes = sum(getattr(got, c) for c in CAUSES)
    assert abs(change - causes) <= first + rounding
    assert abs(change - causes - got.curvature) <= second + rounding


@given(updates(), st.integers(4, 9))
def test_errors_fall_with_the_learning_rate(u, k) -> None:
    """At eta t: (E dH - t first)/t^2 tends to the curvature at the rate t of T3's third-order bound."""
    e, got, log_p = enumerate_steps(u), predicted(u), u.pair.log_p
    t = 2.0**-k / max(1.0, float(np.max(np.ptp(e.total, axis=-1))))
    change = float(e.chance @ (entropy(log_softmax(log_p + t * e.total)) - entropy(log_p)))
    third = t**3 * float(e.chance @ remainder_bounds(e.total)[1])
    rounding = IDENTITY["float64"] * 4 * u.pair.conditioning * (1 + entropy_size(log_p))
    rounding *= float(e.chance @ (1 + t * e.size.sum(axis=-1)) ** 2)
    small = predicted(u, u.learning_rate * t)
    first = sum(getattr(small, c) for c in CAUSES)
    assert abs(change - first - t**2 * got.curvature) <= third + rounding


@given(updates())
def test_step_variance(u) -> None:
    """E Var_pi(step) with the matrix diag(pi) - pi pi' in the Hessian's place; independent samples."""
    if u.advantage.size > 1:
        return
    e, p = enumerate_steps(u), u.pair.probs
    value = e.chance @ (e.total**2 @ p - (e.total @ p) ** 2)
    terms = float(e.chance @ (e.size**2 @ p + (e.size @ p) ** 2))
    got = u.learning_rate**2 * expected_step_variance(
        u.pair.log_p,
        u.pair.ratio,
        changed(u.objective, u.pair.ratio, u.pair.old_probs),
        u.advantage.moments(u.reward, u.pair.old_probs),
        geometry=u.geometry,
        batch=u.batch,
    )
    assert_identity(got, value, 4 * u.pair.conditioning * terms)


@given(updates(outcomes=300), st.floats(0.05, 1.0))
def test_curvature_of_contexts_visited_at_random(u, visits) -> None:
    """A sample visits the context with probability d, and natural steps are divided by d: E over numbers of visits too."""
    pair, reward, batch = u.pair, u.reward, min(u.batch, 3)
    value = terms = 0.0
    for n in range(1, batch + 1):
        out = all_outcomes(pair.old_probs, reward, Independent(), n)
        r, old = pair.ratio[out.actions], pair.old_probs[out.actions]
        c = published_weight(u.objective, r, out.advantages, old)
        rate = u.learning_rate / (visits if u.geometry == "natural" else 1.0)
        step = sample_steps(out.actions, c, pair.log_p, u.geometry, rate, batch)[0]
        size = sample_steps(out.actions, np.abs(c) + r * np.abs(out.advantages), pair.log_p, u.geometry, rate, batch)[1]
        ways = {1: batch, 2: batch * (batch - 1) // 2, 3: 1}[n] if n < batch else 1
        v, w = mean_quadratic(u, out.chance, step, size)
        value, terms = value + ways * visits**n * (1 - visits) ** (batch - n) * v, terms + ways * visits**n * w
    got = expected_curvature(
        pair.log_p,
        pair.ratio,
        changed(u.objective, pair.ratio, pair.old_probs),
        Independent().moments(reward, pair.old_probs),
        learning_rate=u.learning_rate,
        geometry=u.geometry,
        batch=batch,
        visits=visits,
    )
    assert_identity(got, value, pair.conditioning * terms)


@given(updates(), st.floats(0, 1))
def test_curvature_is_a_mixture_over_shared_groups(u, c) -> None:
    """A pair of samples shares a group with probability c: T8 for shuffled rollouts is affine in c."""
    gains = changed(u.objective, u.pair.ratio, u.pair.old_probs)
    moments = u.advantage.moments(u.reward, u.pair.old_probs)
    if moments.pair is None:
        return

    def curvature(shared: float) -> float:
        return expected_curvature(
            u.pair.log_p,
            u.pair.ratio,
            gains,
            moments,
            learning_rate=u.learning_rate,
            geometry=u.geometry,
            batch=u.batch,
            shared_group=shared,
        )

    e = enumerate_steps(u)
    terms = u.pair.conditioning * mean_quadratic(u, e.chance, e.total, e.size)[1] * u.batch**2  # any c may weight any pair
    assert_identity(curvature(c), c * curvature(1.0) + (1 - c) * curvature(0.0), terms)
