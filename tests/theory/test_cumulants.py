"""T1, T2, T3: derivatives of entropy against numerical differentiation, remainder bounds, and Taylor orders."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from entclip.drift.cumulants import (
    directional_derivatives,
    entropy_gradient,
    hessian_diagonal,
    hessian_form,
    hessian_product,
    largest_third_derivative,
    remainder_bounds,
)
from entclip.policies.laws import dirichlet, peaked, uniform, zipf
from entclip.policies.softmax import SoftmaxPolicy, entropy, log_softmax
from tests.tolerances import IDENTITY, assert_identity

POLICIES = {
    "uniform": uniform(7),
    "zipf": zipf(33, 1.2),
    "peaked": peaked(9, 5.0),
    "peaked_hard": peaked(5, 30.0),
    "dirichlet": dirichlet(16, 0.5, seed=3),
    "two": SoftmaxPolicy([0.3, -1.0]),
}
SETTINGS = settings(deadline=None, derandomize=True, database=None, max_examples=60)  # fixed examples, nothing written to disk
cases = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES.keys())


def complex_entropy(logits: np.ndarray) -> np.ndarray:
    """H of complex logits (entropy is analytic), straight from its definition -sum p log p."""
    shifted = logits - np.max(logits.real, axis=-1, keepdims=True)
    log_p = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return -np.sum(np.exp(log_p) * log_p, axis=-1)


def taylor(log_probs: np.ndarray, step: np.ndarray, order: int) -> tuple[np.ndarray, float]:
    """Taylor coefficients of t -> H(theta + t d) by Cauchy's integral on a circle, and the radius.

    With |z| D <= 1/2, Z(z) keeps arguments below 1/2 and has no zero for |z| D < pi/2, so N nodes alias by (1/pi)^N: nothing at
    N = 64. Only rounding is left: an error of eps in H becomes eps / radius^n in coefficient n.
    """
    nodes, radius = 64, 0.5 / np.ptp(step)
    z = radius * np.exp(2j * np.pi * np.arange(nodes) / nodes)
    values = complex_entropy(log_probs + z[:, None] * step)
    return (np.fft.fft(values) / nodes)[: order + 1].real / radius ** np.arange(order + 1), radius


def size_of_entropy(log_probs: np.ndarray) -> float:
    """Sum of absolute terms of H anywhere on the circle above: |p log p| at most doubles or so, plus log Z of order 1."""
    return 4 * (float(np.sum(np.exp(log_probs) * np.abs(log_probs))) + 1)


def dense_hessian(log_probs: np.ndarray) -> np.ndarray:
    """The V x V matrix of T1, term by term as theory.md prints it."""
    p, l, h = np.exp(log_probs), log_probs, float(entropy(log_probs))
    return -np.diag(p * (l + h + 1)) + np.outer(p, p) * (l[:, None] + l[None, :] + 2 * h + 1)


@cases
def test_t1_gradient_is_the_derivative_of_entropy(policy: SoftmaxPolicy) -> None:
    # Central differences: truncation h^2/6 max|H'''| with T3's bound on H''' for a step of range h, and rounding / h.
    h, v = 1e-4, policy.vocab
    steps = h * np.eye(v)
    numeric = (entropy(log_softmax(policy.log_probs + steps)) - entropy(log_softmax(policy.log_probs - steps))) / (2 * h)
    third = 6 * remainder_bounds(np.eye(v))[1]
    tolerance = h**2 / 6 * third + IDENTITY["float64"] * size_of_entropy(policy.log_probs) / h
    assert np.all(np.abs(entropy_gradient(policy.log_probs) - numeric) <= tolerance)
    # Complex step: no truncation, no cancellation, so the identity holds to rounding.
    exact = complex_entropy(policy.log_probs + 1e-30j * np.eye(v)).imag / 1e-30
    assert_identity(entropy_gradient(policy.log_probs), exact, np.full(v, size_of_entropy(policy.log_probs)))


@cases
def test_t1_hessian_is_the_derivative_of_the_gradient(policy: SoftmaxPolicy) -> None:
    def gradient(logits: np.ndarray) -> np.ndarray:
        log_p = logits - np.log(np.sum(np.exp(logits), axis=-1, keepdims=True))
        p = np.exp(log_p)
        return p * (-log_p + np.sum(p * log_p, axis=-1, keepdims=True))

    v = policy.vocab
    numeric = gradient(policy.log_probs + 1e-30j * np.eye(v)).imag / 1e-30
    assert_identity(numeric, dense_hessian(policy.log_probs), np.full((v, v), size_of_entropy(policy.log_probs)))


@cases
def test_t1_hessian_without_the_matrix(policy: SoftmaxPolicy) -> None:
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(2, policy.vocab))
    dense, logs = dense_hessian(policy.log_probs), policy.log_probs
    p, h = policy.probs, float(policy.entropy)
    # Absolute terms of T1 before any of them cancel.
    parts = np.diag(p * (np.abs(logs) + h + 1)) + np.outer(p, p) * (np.abs(logs)[:, None] + np.abs(logs) + 2 * h + 1)
    assert_identity(hessian_diagonal(logs), np.diag(dense), np.diag(parts))
    assert_identity(hessian_product(logs, v), dense @ v, parts @ np.abs(v) + p * (np.abs(logs) + h + 1) * (p @ np.abs(v)))
    assert_identity(hessian_form(logs, u, v), u @ dense @ v, 4 * np.abs(u) @ parts @ np.abs(v))
    assert_identity(hessian_form(logs, u, u), directional_derivatives(logs, u).second, 4 * np.abs(u) @ parts @ np.abs(u))


@cases
def test_t2_t3_directional_derivatives(policy: SoftmaxPolicy) -> None:
    step = np.random.default_rng(1).normal(size=policy.vocab)
    step /= np.ptp(step)
    coefficients, radius = taylor(policy.log_probs, step, 3)
    got = directional_derivatives(policy.log_probs, step)
    rounding = IDENTITY["float64"] * size_of_entropy(policy.log_probs)
    for n, value in enumerate(got[:3], start=1):
        factorial = math.factorial(n)
        assert abs(value - factorial * coefficients[n]) <= factorial * rounding / radius**n
    centred = step - policy.probs @ step
    assert_identity(got.variance, policy.probs @ centred**2, policy.probs @ centred**2)
    surprisal = -policy.log_probs
    covariance = policy.probs @ (surprisal * centred)  # T2
    assert_identity(got.first, covariance, policy.probs @ (np.abs(surprisal) * np.abs(centred)))


def test_t3_derivatives_do_not_see_a_shift_and_batch_over_contexts() -> None:
    policy = dirichlet(12, 1.0, seed=0, contexts=4)
    step = np.random.default_rng(2).normal(size=(4, 12))
    whole = directional_derivatives(policy.log_probs, step)
    shifted = directional_derivatives(policy.log_probs, step + 3.0)
    for k in range(4):
        single = directional_derivatives(policy.log_probs[k], step[k])
        for a, b, c in zip(whole, shifted, single, strict=True):
            assert_identity(a[k], c, 100.0)  # terms: |l| ~ 8, |d|^3 ~ 10
            assert_identity(b[k], c, 100.0 * 4**3)  # the shift enlarges the terms before they are centred


@st.composite
def policies(draw: st.DrawFn) -> SoftmaxPolicy:
    vocab = draw(st.integers(2, 200))
    kind = draw(st.sampled_from(["uniform", "zipf", "peaked", "dirichlet"]))
    if kind == "uniform":
        return uniform(vocab)
    if kind == "zipf":
        return zipf(vocab, draw(st.floats(0.2, 2.5)))
    if kind == "peaked":
        return peaked(vocab, draw(st.floats(-6, 12)))
    return dirichlet(vocab, draw(st.floats(0.2, 5)), seed=draw(st.integers(0, 999)))


def unit_range_step(vocab: int, seed: int) -> np.ndarray:
    step = np.random.default_rng(seed).normal(size=vocab)
    return step / np.ptp(step)


def residuals(log_probs: np.ndarray, step: np.ndarray) -> tuple[float, float]:
    """dH minus the first order, and minus the first two."""
    change = float(entropy(log_softmax(log_probs + step)) - entropy(log_probs))
    d = directional_derivatives(log_probs, step)
    return change - float(d.first), change - float(d.first) - float(d.second) / 2


@SETTINGS
@given(policies(), st.integers(0, 999), st.floats(1e-3, 20))
def test_t3_remainder_bounds_hold(policy: SoftmaxPolicy, seed: int, scale: float) -> None:
    step = scale * unit_range_step(policy.vocab, seed)
    floor = IDENTITY["float64"] * size_of_entropy(policy.log_probs) * (1 + scale) ** 2
    third = 0.0
    for residual, bound in zip(residuals(policy.log_probs, step), remainder_bounds(step), strict=True):
        assert abs(residual) <= bound + floor
        third = abs(residual)
    # The Lagrange form with the largest |H'''| on the path: a grid misses the maximum by less than the spread it saw.
    if scale <= 1:
        largest, smallest = largest_third_derivative(policy.log_probs, step, nodes=9)
        assert smallest <= largest
        assert third <= (2 * largest - smallest) / 6 + floor


def slopes(log_probs: np.ndarray, step: np.ndarray) -> list[float]:
    """Fitted orders of the two residuals as the step shrinks, where the leading term dominates (NaN: below the float floor).

    t is so small that each later Taylor term is a power of 3 % of the leading one: then the slope is within .07 of the order.
    """
    coefficients, _ = taylor(log_probs, step, 9)
    floor, found = IDENTITY["float64"] * size_of_entropy(log_probs), []
    for order, index in ((2, 0), (3, 1)):
        lead = abs(coefficients[order])
        later = [(lead / max(abs(coefficients[n]), 1e-300)) ** (1 / (n - order)) for n in range(order + 1, 10)]
        t = np.array([1.0, 0.5]) * min(0.03 * min(later), 1.0)
        values = np.array([abs(residuals(log_probs, x * step)[index]) for x in t])
        # A residual below 100 roundings has no slope to speak of (100: an error of .03 in the slope at most).
        found.append(float(np.log2(values[0] / values[1])) if lead * t[1] ** order > 100 * floor else math.nan)
    return found


@SETTINGS
@given(policies(), st.integers(0, 999))
def test_t3_taylor_orders_anywhere(policy: SoftmaxPolicy, seed: int) -> None:
    first, second = slopes(policy.log_probs, unit_range_step(policy.vocab, seed) * 2)
    assume(not math.isnan(first))
    assert first >= 1.9
    assert math.isnan(second) or second >= 2.9


@pytest.mark.parametrize("name", ["zipf", "dirichlet", "peaked", "three", "uniform"])
def test_t3_taylor_orders_of_generic_cases(name: str) -> None:
    policy = {
        "zipf": zipf(64),
        "dirichlet": dirichlet(32, 1.0, seed=0),
        "peaked": peaked(16, 2.0),
        "three": SoftmaxPolicy([0.0, 0.7, -0.4]),
        "uniform": uniform(5),
    }[name]
    first, second = slopes(policy.log_probs, 2 * unit_range_step(policy.vocab, 0))
    assert 1.9 <= first <= 2.1
    assert 2.9 <= second <= 3.1


def test_t3_a_wrong_second_derivative_is_seen() -> None:
    """Falsifier: without Var(d), or with H''' for H'', the residual falls only as step^2."""
    policy, step = zipf(64), 2 * unit_range_step(64, 0)
    for wrong in (lambda d: d.second + d.variance, lambda d: -d.second, lambda d: 0.0):
        values = []
        for t in (1e-2, 5e-3):
            d = directional_derivatives(policy.log_probs, t * step)
            change = float(entropy(log_softmax(policy.log_probs + t * step)) - policy.entropy)
            values.append(abs(change - float(d.first) - float(wrong(d)) / 2))
        assert np.log2(values[0] / values[1]) < 2.9
