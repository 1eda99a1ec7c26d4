"""T1, T2, T3: derivatives of entropy against complex steps, Cauchy's integral and central differences of real updates.

One bound serves all: with d centred at the middle of its range D and |z| D <= 1/2, |z d_a| <= 1/4, so |Z(z)| >= e^-1/4 cos 1/4,
|p_a(z)| <= 1.7 p_a and |log p_a(z)| <= |l_a| + .6; hence |H(z)| <= 2 (H + 1) =: C, and Cauchy's estimate gives Taylor
coefficients |H^(n)|/n! <= C (2 D)^n. Truncation errors below are sums of that geometric series.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
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
from entclip.policies.softmax import SoftmaxPolicy, entropy, log_softmax
from tests.properties.oracle import complex_entropy, complex_gradient, dense_hessian, entropy_size
from tests.properties.strategies import SEEDS, logits, steps
from tests.tolerances import IDENTITY, assert_identity

ULPS = IDENTITY["float64"]
TINY = 1e-30  # a complex step this small has no truncation error, and the imaginary part no cancellation


def along(log_p: np.ndarray, d: np.ndarray, t: float) -> float:
    """Entropy after a real update."""
    return float(entropy(log_softmax(log_p + t * d)))


@given(logits(), steps)
def test_first_and_second_derivative_by_complex_steps(law, step) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    d = step.of(log_p)
    got = directional_derivatives(log_p, d)
    p, spread = np.exp(log_p), np.ptp(d)
    centred = d - p @ d
    size = p * (1 + np.abs(log_p)) ** 2  # as in entropy_size, per action
    gradient = complex_gradient(log_p + 1j * TINY * centred)
    assert_identity(got.first, complex_entropy(log_p + 1j * TINY * centred).imag / TINY, 2 * spread * np.sum(size))
    # -kappa_3 - Var and d (dg/dtheta) d: both are sums of p d^2 (1 + |l|) terms, and H enters through l + H.
    assert_identity(got.second, np.sum(gradient.imag * centred) / TINY, 4 * spread**2 * np.sum(size))
    assert_identity(got.variance, p @ centred**2, spread**2 * np.sum(p * (1 + np.abs(log_p))))


@given(logits())
def test_gradient_is_the_complex_gradient_and_sums_to_zero(law) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    p, h = np.exp(log_p), entropy(log_p)
    assert_identity(entropy_gradient(log_p), complex_gradient(log_p + 0j).real, p * (1 + np.abs(log_p) + h) ** 2)
    assert_identity(np.sum(entropy_gradient(log_p)), 0.0, entropy_size(log_p))  # a common shift changes nothing


@given(logits(largest=300), steps, SEEDS)
def test_hessian_without_the_matrix(law, step, seed) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    dense, size = dense_hessian(log_p)
    size = size * (1 + np.abs(log_p))  # rounding of exp(l)
    v, u = step.of(log_p), np.random.default_rng(seed).standard_normal(len(log_p))
    assert_identity(hessian_diagonal(log_p), np.diag(dense), np.diag(size))
    assert_identity(hessian_product(log_p, v), dense @ v, size @ np.abs(v) + np.diag(size) * np.sum(np.exp(log_p) * np.abs(v)))
    # Centring u and v moves terms between actions: 4 covers the products of u or its mean with v or its mean.
    weight = np.abs(u) + np.exp(log_p) @ np.abs(u), np.abs(v) + np.exp(log_p) @ np.abs(v)
    assert_identity(hessian_form(log_p, u, v), u @ dense @ v, 4 * weight[0] @ size @ weight[1])
    assert_identity(hessian_form(log_p, u, v), hessian_form(log_p, v, u), 4 * weight[0] @ size @ weight[1])


@given(logits(largest=1000), steps)
def test_three_derivatives_by_cauchys_integral(law, step) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    d = step.of(log_p)
    d = d - (d.max() + d.min()) / 2
    got, spread = directional_derivatives(log_p, d), np.ptp(d)
    # |z| D = 1/2 has no zero of Z up to |z| D = pi: 64 nodes alias by less than (1/pi)^61, below rounding.
    z = 0.5 / spread * np.exp(2j * np.pi * np.arange(64) / 64)
    values = complex_entropy(log_p + z[:, None] * d)
    rounding = ULPS * 4 * entropy_size(log_p)
    for n, factorial, value in ((1, 1, got.first), (2, 2, got.second), (3, 6, got.third)):
        coefficient = np.mean(values * np.exp(-2j * np.pi * n * np.arange(64) / 64)).real
        assert abs(value / (factorial * (2 * spread) ** n) - coefficient) <= rounding


@given(logits(), steps)
def test_central_differences_of_real_updates(law, step) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    d = step.of(log_p)
    d = d - (d.max() + d.min()) / 2
    d = d / np.ptp(d)  # D = 1: T3 is homogeneous in d, which test_three_derivatives checks at every D
    got, c = directional_derivatives(log_p, d), 2 * (float(entropy(log_p)) + 1)
    rounding = ULPS * entropy_size(log_p)
    h = {t: along(log_p, d, t) for s in (1e-5, 2e-4, 5e-4) for t in (-2 * s, -s, 0.0, s, 2 * s)}
    t = 1e-5
    assert abs((h[t] - h[-t]) / (2 * t) - got.first) <= c * 2**3 * t**2 * 1.01 + rounding / t
    t = 2e-4
    assert abs((h[t] - 2 * h[0.0] + h[-t]) / t**2 - got.second) <= 2 * c * 2**4 * t**2 * 1.01 + 4 * rounding / t**2
    t = 5e-4
    third = (h[2 * t] - 2 * h[t] + 2 * h[-t] - h[-2 * t]) / (2 * t**3)
    assert abs(third - got.third) <= c * 2**5 * 2**5 * t**2 * 1.01 + 3 * rounding / t**3


@given(logits(), steps, st.integers(5, 12))
def test_errors_fall_as_the_second_and_third_power_of_the_step(law, step, k) -> None:
    """The error after first order over t^2 tends to H''/2, the error after curvature over t^3 to H'''/6; both at rate t."""
    log_p = SoftmaxPolicy(law.array).log_probs
    d = step.of(log_p)
    d = d - (d.max() + d.min()) / 2
    spread, t = np.ptp(d), 2.0**-k / np.ptp(d)
    got, c = directional_derivatives(log_p, d), 2 * (float(entropy(log_p)) + 1)
    x = t * spread
    tail = [c * (2 * x) ** n / (1 - 2 * x) for n in (3, 4)]
    rounding = 4 * ULPS * entropy_size(log_p)
    after_first = along(log_p, d, t) - along(log_p, d, 0.0) - t * got.first
    assert abs(after_first - t**2 * got.second / 2) <= tail[0] + rounding
    assert abs(after_first - t**2 * got.second / 2 - t**3 * got.third / 6) <= tail[1] + rounding


@given(logits(), steps)
def test_remainder_bounds_hold_always(law, step) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    d = step.of(log_p)
    got = directional_derivatives(log_p, d)
    rounding = 4 * ULPS * entropy_size(log_p) * (1 + np.ptp(d)) ** 2
    change = along(log_p, d, 1.0) - along(log_p, d, 0.0)
    first, second = remainder_bounds(d)
    assert abs(change - got.first) <= first + rounding
    assert abs(change - got.first - got.second / 2) <= second + rounding
    # T3's constants bound |H''| and |H'''| themselves, of which the remainders are averages along the path.
    assert abs(got.second) <= 2 * first + rounding
    assert abs(got.third) <= 6 * second + rounding * np.ptp(d)


@given(logits(largest=1000), steps)
def test_largest_third_derivative_covers_the_grid(law, step) -> None:
    log_p = SoftmaxPolicy(law.array).log_probs
    d = step.of(log_p)
    thirds = [abs(directional_derivatives(log_softmax(log_p + t * d), d).third) for t in (0.0, 0.25, 0.5, 0.75, 1.0)]
    largest, smallest = largest_third_derivative(log_p, d, nodes=5)
    # Not bit for bit: t d is rounded once or twice. H''' is a sum of p d^3 (1 + |l|) terms, 3 E[d^2] E[d l] among them.
    terms = 8 * np.ptp(d) ** 3 * max(entropy_size(log_softmax(log_p + t * d)) for t in (0.0, 0.25, 0.5, 0.75, 1.0))
    assert_identity([largest, smallest], [max(thirds), min(thirds)], terms * (1 + np.ptp(d)))
