"""T9: the closed form of noise-driven drift is T8 at pi = pi_old without clipping, for every vocabulary and any group."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from entclip.drift.noise import noise_drift
from entclip.drift.second_order import expected_curvature, expected_step_variance, noise_trace
from entclip.objectives.none import NoClip
from entclip.policies.softmax import SoftmaxPolicy
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Rademacher
from tests.properties.oracle import dense_hessian, entropy_size
from tests.properties.strategies import action_free, gaussians, geometries, groups, learning_rates, logits
from tests.seen import changed
from tests.tolerances import assert_identity


@given(
    logits(),
    st.one_of(action_free, gaussians),
    groups(st.integers(2, 8)),
    st.booleans(),
    geometries,
    learning_rates,
    st.integers(1, 9),
)
def test_noise_drift_is_the_unclipped_curvature(law, reward, advantage, grouped, geometry, learning_rate, copies) -> None:
    """Groups do not matter: their coupling C is a constant shift in expectation."""
    log_p = SoftmaxPolicy(law.array).log_probs
    chosen = advantage if grouped else Independent()
    batch = chosen.size * copies
    moments, ones = chosen.moments(reward, np.exp(log_p)), np.ones_like(log_p)
    m2 = float((moments.plus_sq + moments.minus_sq)[0])
    shared = (chosen.size - 1) / (batch - 1) if chosen.size > 1 else 0.0
    got = expected_curvature(
        log_p,
        ones,
        changed(NoClip(), ones, np.exp(log_p)),
        moments,
        learning_rate=learning_rate,
        geometry=geometry,
        batch=batch,
        shared_group=shared,
    )
    value = noise_drift(log_p, learning_rate=learning_rate, second_moment=m2, batch=batch, geometry=geometry)
    # natural: sum_a (s_a - H) and V; euclidean: products of pi^2 and smaller.
    p = np.exp(log_p)
    size = len(p) * entropy_size(log_p) + np.sum(1 + np.abs(log_p)) if geometry == "natural" else p @ p * entropy_size(log_p)
    assert_identity(got, value, 16 * learning_rate**2 * m2 / batch * size)


@given(logits(largest=60), geometries, learning_rates)
def test_noise_drift_is_the_trace_of_the_hessian(law, geometry, learning_rate) -> None:
    """tr(Hess S) with S = E[phi phi'] over a ~ pi, phi = e_a/pi_a or e_a - pi, from the dense matrices."""
    log_p = SoftmaxPolicy(np.maximum(law.array, law.array.max() - 200)).log_probs  # 1/pi^2 of the oracle must not overflow
    p, (hessian, size) = np.exp(log_p), dense_hessian(log_p)
    phi = np.eye(len(p)) / p if geometry == "natural" else np.eye(len(p)) - p
    parts = phi if geometry == "natural" else np.eye(len(p)) + p  # before e_a and pi cancel
    conditioning = 1 + float(np.max(np.abs(log_p)))
    value = p @ np.einsum("ai,ij,aj->a", phi, hessian, phi)
    terms = float(p @ np.einsum("ai,ij,aj->a", parts, size, parts)) * conditioning
    ones = np.ones_like(p)
    assert_identity(noise_trace(log_p, ones, ones, geometry=geometry), value, 4 * terms)
    drift = noise_drift(log_p, learning_rate=learning_rate, second_moment=1.0, batch=1, geometry=geometry)
    assert_identity(drift, learning_rate**2 / 2 * value, 4 * learning_rate**2 * terms)
    variance = expected_step_variance(
        log_p, ones, changed(NoClip(), ones, p), Independent().moments(Rademacher(), p), geometry=geometry, batch=1
    )
    exact = p @ (phi**2 @ p - (phi @ p) ** 2)
    assert_identity(variance, exact, 4 * float(p @ (parts**2 @ p + (parts @ p) ** 2)) * conditioning)
