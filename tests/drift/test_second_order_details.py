"""Details of the expected curvature that the tests of the claims do not see.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from entclip.drift.noise import noise_drift
from entclip.drift.second_order import expected_curvature, expected_step_variance, noise_trace
from entclip.objectives.base import weight
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.none import NoClip
from entclip.policies.softmax import log_softmax
from entclip.rewards.advantage import AdvantageMoments, GroupRelative, Independent, PairMoments
from entclip.rewards.reward import Bernoulli, Rademacher, TableReward
from tests.contexts import assert_rows, contexts, geometries
from tests.seen import changed, seen
from tests.tolerances import assert_identity


@geometries
def test_curvature_and_step_variance_of_many_contexts(geometry: str) -> None:
    log_p, log_old = contexts()
    ratio, old, clip = np.exp(log_p - log_old), np.exp(log_old), Cispo(0.1, 0.1)
    table, group = TableReward((0.0, 1.0, 0.4)), GroupRelative(2, "std", 1, eps=0.1)
    visits, eta = np.array([1.0, 0.5, 0.3, 0.9]), np.array([0.1, 0.2, 0.3, 0.4])
    square = np.random.default_rng(6).uniform(size=(4, 3))

    def curvature(k: Any) -> Any:
        return expected_curvature(
            log_p[k],
            ratio[k],
            changed(clip, ratio[k], old[k]),
            group.moments(table, old[k]),
            learning_rate=eta[k],
            geometry=geometry,
            batch=4,
            shared_group=1 / 3,
            visits=visits[k],
        )

    def variance(k: Any) -> Any:
        gains, moments = changed(clip, ratio[k], old[k]), Independent().moments(table, old[k])
        return expected_step_variance(log_p[k], ratio[k], gains, moments, geometry=geometry, batch=4)

    assert_rows(curvature(slice(None)), curvature, 100.0)
    assert_rows(variance(slice(None)), variance, 100.0)
    assert_rows(
        noise_trace(log_p, ratio, square, geometry=geometry),
        lambda k: noise_trace(log_p[k], ratio[k], square[k], geometry=geometry),
        100.0,
    )
    assert_rows(
        noise_drift(log_p, learning_rate=0.3, second_moment=0.7, batch=4, geometry=geometry),
        lambda k: noise_drift(log_p[k], learning_rate=0.3, second_moment=0.7, batch=4, geometry=geometry),
        100.0,
    )


@geometries
def test_trace_of_one_sample_from_its_definition(geometry: str) -> None:
    """The mean over actions of the form of the step c e_a/pi_a, or c (e_a - pi), with T1's Hessian, (c/r)^2 given."""
    log_p, log_old = (x[0] for x in contexts())
    p, old, square = np.exp(log_p), np.exp(log_old), np.array([0.3, 1.7, 0.9])
    x = log_p - p @ log_p
    hessian = -np.diag(p * (x + 1)) + np.outer(p, p) * (x[:, None] + x[None, :] + 1)
    want = 0.0
    for a, unit in enumerate(np.eye(3)):
        step = unit / p[a] if geometry == "natural" else unit - p
        want += old[a] * (p[a] / old[a]) ** 2 * square[a] * float(step @ hessian @ step)
    assert_identity(noise_trace(log_p, p / old, square, geometry=geometry), want, 20.0)


def test_chances_of_levels_may_differ_from_unit_to_unit() -> None:
    """Two rewards of three actions, tables of chances stacked: each unit's curvature is that under its own table."""
    log_p, log_old = (x[:2] for x in contexts())
    ratio, old = np.exp(log_p - log_old), np.exp(log_old)
    rng = np.random.default_rng(8)
    share = rng.dirichlet(np.ones(2), (2, 3))
    tables, pair = rng.random((8, 2)), PairMoments(*rng.random((10, 2, 2)))
    of = {"learning_rate": 0.3, "geometry": "natural", "batch": 4, "shared_group": 0.5}
    both = expected_curvature(log_p, ratio, changed(Clip(), ratio, old), AdvantageMoments(share, *tables, pair=pair), **of)
    for k in range(2):
        alone = AdvantageMoments(share[k], *tables, pair=pair)
        want = expected_curvature(log_p[k], ratio[k], changed(Clip(), ratio[k], old[k]), alone, **of)
        assert_identity(both[k], want, 20.0)


@geometries
def test_step_variance_of_one_sample_from_its_definition(geometry: str) -> None:
    """B = 1: sum over actions and signs of chance times Var_pi of that one step."""
    log_p, log_old = (x[0] for x in contexts())
    p, old, ratio = np.exp(log_p), np.exp(log_old), np.exp(log_p - log_old)
    objective, reward = CeGppo(0.1, 0.1, 0.75, 0.5), Bernoulli(0.2)
    want = 0.0
    for a, (chance, value) in itertools.product(range(3), ((0.8, -0.2), (0.2, 0.8))):
        c = float(weight(objective, seen(ratio, old), np.full(3, value))[a])
        unit = np.eye(3)[a]
        step = c * unit / p[a] if geometry == "natural" else c * (unit - p)
        want += old[a] * chance * float(p @ (step - p @ step) ** 2)
    got = expected_step_variance(
        log_p, ratio, changed(objective, ratio, old), Independent().moments(reward, old), geometry=geometry, batch=1
    )
    assert_identity(got, want, 10.0)


@geometries
def test_curvature_of_a_policy_without_entropy_is_finite(geometry: str) -> None:
    """log pi of the one likely action is exactly 0, in groups too: nothing divides by it."""
    log_p = log_softmax(np.array([0.0, -60.0, -70.0]))
    assert log_p[0] == 0.0
    one, group = np.ones(3), GroupRelative(2)
    moments = group.moments(TableReward((0.0, 1.0, 0.5)), np.exp(log_p))
    got = expected_curvature(
        log_p,
        one,
        changed(NoClip(), one, np.exp(log_p)),
        moments,
        learning_rate=0.1,
        geometry=geometry,
        batch=2,
        shared_group=1.0,
    )
    assert np.isfinite(got)


def test_independent_samples_need_no_pair_moments() -> None:
    """shared_group is 0 and every sample visits the context unless said otherwise; independent samples have no pair moments."""
    log_p, log_old = contexts()
    ratio, old = np.exp(log_p - log_old), np.exp(log_old)
    gains, moments = changed(Clip(), ratio, old), Independent().moments(Rademacher(), old)
    arguments = (log_p, ratio, gains, moments)
    for geometry in ("natural", "euclidean"):
        short = expected_curvature(*arguments, learning_rate=0.3, geometry=geometry, batch=3)
        spelled = expected_curvature(*arguments, learning_rate=0.3, geometry=geometry, batch=3, shared_group=0.0, visits=1.0)
        np.testing.assert_array_equal(short, spelled)
        assert np.all(short != 0)


def test_pair_moments_of_several_levels_by_hand() -> None:
    """tr(Hess C) for two actions, one level each: every pair of levels once, u+' Hess u- counted from both sides."""
    log_p = log_softmax(np.array([0.4, -0.3]))
    one, p = np.ones(2), np.exp(log_p)
    tables = [np.array([[1.0, 2.0], [2.0, 5.0]]), np.array([[0.5, 0.1], [0.1, 3.0]]), np.array([[0.2, 0.7], [0.3, 0.4]])]
    moments = AdvantageMoments(np.eye(2), *(np.zeros(2),) * 8, pair=PairMoments(*tables, *(np.zeros((2, 2)),) * 7))
    got = expected_curvature(
        log_p, one, changed(NoClip(), one, p), moments, learning_rate=1.0, geometry="natural", batch=2, shared_group=1.0
    )
    # Natural steps of levels 0 and 1 are the unit vectors: the form of (i, j) is Hess_ij of T1.
    x = log_p - p @ log_p
    hessian = -np.diag(p * (x + 1)) + np.outer(p, p) * (x[:, None] + x[None, :] + 1)
    cross = tables[2] + tables[2].T
    want = math.fsum(((tables[0] + tables[1] - cross) * hessian).ravel()) / 2 * (1 - 1 / 2)
    assert_identity(got, want, 20.0)
