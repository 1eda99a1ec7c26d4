"""Details of the derivatives of entropy that the tests of the claims do not see.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.drift.cumulants import (
    directional_derivatives,
    entropy_gradient,
    hessian_diagonal,
    hessian_form,
    hessian_product,
    largest_third_derivative,
    remainder_bounds,
)
from entclip.policies.softmax import centered_kappa, log_softmax
from tests.contexts import assert_rows, contexts
from tests.tolerances import assert_identity


def test_derivatives_of_many_contexts() -> None:
    log_p, _ = contexts()
    u, v = np.random.default_rng(3).normal(size=(2, 4, 3))
    assert_rows(entropy_gradient(log_p), lambda k: entropy_gradient(log_p[k]), 10.0)
    assert_rows(hessian_diagonal(log_p), lambda k: hessian_diagonal(log_p[k]), 10.0)
    assert_rows(hessian_product(log_p, v), lambda k: hessian_product(log_p[k], v[k]), 50.0)
    assert_rows(hessian_form(log_p, u, v), lambda k: hessian_form(log_p[k], u[k], v[k]), 50.0)
    for whole, name in zip(directional_derivatives(log_p, u), ("first", "second", "third", "variance"), strict=True):
        assert_rows(whole, lambda k, name=name: getattr(directional_derivatives(log_p[k], u[k]), name), 100.0)
    assert_rows(centered_kappa(log_p, "euclidean"), lambda k: centered_kappa(log_p[k], "euclidean"), 10.0)


def test_remainder_bounds_as_theory_prints_them() -> None:
    """T3: D^2 (sigma/2 + 1/4)/2 and D^3 (7 sigma/8 + 1/(3 sqrt 3))/6, sigma^2 = log(V-1)^2/4 + 1, for each context's range D."""
    steps = np.array([[0.0, 2.0, 1.0, 0.5, 0.1], [-1.0, 0.0, 2.0, 0.0, 0.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    first, second = remainder_bounds(steps)
    for vocab in (5, 2):  # at V = 2, log(V - 1) = 0 and sigma = 1
        sigma = math.sqrt(math.log(vocab - 1) ** 2 / 4 + 1)
        first, second = remainder_bounds(steps[:, :vocab])
        for k in range(3):
            d = max(steps[k, :vocab]) - min(steps[k, :vocab])
            assert_identity(first[k], d * d * (sigma / 2 + 1 / 4) / 2, 10.0)
            assert_identity(second[k], d * d * d * (7 * sigma / 8 + 1 / math.sqrt(27)) / 6, 30.0)


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_the_largest_third_derivative_looks_at_evenly_spaced_points_of_the_path(nodes: int) -> None:
    log_p, _ = contexts(count=6)
    step = np.random.default_rng(4).normal(0, 2, (6, 3))
    largest, smallest = largest_third_derivative(log_p, step, nodes=nodes)
    path = [log_softmax(log_p + t * step) for t in np.linspace(0, 1, nodes)]
    third = np.abs([directional_derivatives(at, step).third for at in path])
    assert_identity(largest, third.max(axis=0), np.full(6, 1000.0))  # 1000: |d|^4 ~ 200 in the terms of H'''
    assert_identity(smallest, third.min(axis=0), np.full(6, 1000.0))
    if nodes > 2:  # the case must tell the inner points from the ends
        assert np.any(third[1:-1].max(axis=0) > np.maximum(third[0], third[-1]))
