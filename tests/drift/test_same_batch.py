"""The cost of a statistic that is made of the samples that it weighs: by its formula, context by context."""

from __future__ import annotations

import numpy as np
import pytest

from entclip.drift.same_batch import same_batch_cost
from entclip.support.errors import SpecError
from tests.contexts import assert_rows, contexts, geometries
from tests.tolerances import assert_identity

SLOPE, INFLUENCE = np.array([0.4, -1.1, 0.3]), np.array([2.0, -0.5, 0.7])


@geometries
def test_contexts_are_apart_and_as_the_formula_has_them(geometry: str) -> None:
    log_p, log_old = contexts()
    options = {"samples": 7, "learning_rate": 0.3, "geometry": geometry}
    got = same_batch_cost(log_p, log_old, SLOPE, INFLUENCE, **options)
    assert_rows(got, lambda k: same_batch_cost(log_p[k], log_old[k], SLOPE, INFLUENCE, **options), 10.0)
    for k in range(len(log_p)):
        p, old = np.exp(log_p[k]), np.exp(log_old[k])
        mean = sum(old[a] * INFLUENCE[a] for a in range(3))
        weight = np.array([SLOPE[a] * (INFLUENCE[a] - mean) for a in range(3)])
        value = -log_p[k] if geometry == "natural" else p * (-log_p[k] + p @ log_p[k])
        want = 0.3 / 7 * (p @ (value * weight) - (p @ value) * (p @ weight))
        assert_identity(got[k], want, 10.0)


@pytest.mark.parametrize("samples", [0, -1])
def test_a_statistic_of_no_sample_is_refused(samples: int) -> None:
    log_p, log_old = contexts()
    with pytest.raises(SpecError, match=f"samples must be at least 1, got {samples}"):
        same_batch_cost(log_p, log_old, SLOPE, INFLUENCE, samples=samples, learning_rate=0.1, geometry="natural")


def test_one_sample_is_enough() -> None:
    """Its own mean is all that it weighs: a baseline of one sample takes the whole drift back."""
    log_p, _ = contexts()
    got = same_batch_cost(log_p, log_p, -np.ones(3), INFLUENCE, samples=1, learning_rate=0.1, geometry="natural")
    p = np.exp(log_p)
    drift = 0.1 * (np.sum(p * -log_p * INFLUENCE, -1) - np.sum(p * -log_p, -1) * np.sum(p * INFLUENCE, -1))
    assert_identity(got, -drift, np.full(len(log_p), 10.0))
