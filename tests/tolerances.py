"""Every tolerance of the tests, derived: rounding for identities, standard errors for samples."""

from __future__ import annotations

from typing import Any

import numpy as np

# Identities: both sides sum the same terms in another order. A term carries a few ulps (exp, log, products) and a pairwise sum of
# V <= 2^16 terms at most log2 V = 16 more, so 64 ulps of the sum of absolute terms is safe and still catches any wrong term.
IDENTITY = {"float64": 64 * float(np.finfo(np.float64).eps), "float32": 64 * float(np.finfo(np.float32).eps)}

# Samples: 5 standard errors, two-sided, fail by chance once in 1.7 million comparisons; seeds can then be fixed and never picked.
SIGMAS = 5


def assert_identity(value: Any, expected: Any, terms: Any, dtype: str = "float64") -> None:
    """|value - expected| <= 64 ulps of `terms`, the sum of the absolute terms that either side adds up.

    Relative to the terms and not to the result: a result that is a small difference of large terms cannot be more exact.
    """
    value, expected, terms = (np.asarray(x, dtype=np.float64) for x in (value, expected, terms))
    assert value.shape == expected.shape, f"shapes differ: {value.shape} and {expected.shape}"  # no silent broadcasting
    assert np.all(np.isfinite(value)), f"not finite: {value}"
    error = np.abs(value - expected)
    assert np.all(error <= IDENTITY[dtype] * terms), f"worst error {np.max(error):.3g}, terms {np.max(terms):.3g}"


def within_se(mean: Any, expected: Any, se: Any) -> bool:
    """True if every mean lies within SIGMAS standard errors of its prediction: falsifiers need the verdict, not the assertion."""
    mean, expected, se = (np.asarray(x, dtype=np.float64) for x in (mean, expected, se))
    return bool(np.all(se > 0) and np.all(np.abs(mean - expected) <= SIGMAS * se))


def assert_within_se(mean: Any, expected: Any, se: Any) -> None:
    """|mean - expected| <= SIGMAS standard errors; a standard error of 0 or NaN judges nothing and fails."""
    z = (
        np.abs(np.asarray(mean, dtype=np.float64) - expected) / np.asarray(se, dtype=np.float64)
        if np.all(np.asarray(se) > 0)
        else np.inf
    )
    assert within_se(mean, expected, se), f"{np.max(z):.2f} standard errors (mean {mean}, expected {expected}, se {se})"


def assert_unit_means(units: Any, column: str, expected: Any) -> None:
    """Each update's mean of `column` over independent units, a frame of one arm by context, against `expected` (one per step)."""
    by_step = units.groupby("step")[column]
    assert_within_se(by_step.mean(), expected, by_step.sem())
