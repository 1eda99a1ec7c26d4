"""Weights by cause and by sign, and sums over two samples, at numbers that can be worked out by hand: each in a moment."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from entclip.drift.actions import Listed, curvature_form
from entclip.drift.expected import expected_entropy_drift
from entclip.drift.first_order import ActionMoments, clip_set_stats, weights_by_cause
from entclip.drift.second_order import JointValues, SampleWeights, pair_sum, second_order, single_curvature, weights_by_sign
from entclip.objectives.base import CAUSES, Change, Keep
from entclip.objectives.clip import Clip
from entclip.policies.softmax import SoftmaxPolicy, log_softmax
from entclip.rewards.advantage import GroupRelative
from entclip.rewards.reward import TableReward
from tests.contexts import geometries
from tests.tolerances import assert_identity

LOW, HIGH = np.array([True, False]), np.array([False, True])
PLAIN = Change.of(np.array([1.0, 0.0]), np.array([0.0, 1.0]), LOW, HIGH)
EXTRA = replace(PLAIN, extra_plus=np.array([0.3, -0.2]), extra_minus=np.array([0.1, 0.4]))
LOG_P, RATIO = log_softmax(np.array([0.4, -0.3])), np.array([1.3, 0.6])


def test_what_a_drop_leaves_by_cause() -> None:
    """E[A+] = 3, 4 and E[A-] = 2, 5, kept with chances .5, .25 and .5, 1: unclipped is of all samples, the rest of survivors."""
    three = (np.array([3.0, 4.0]), np.array([2.0, 5.0]))
    moments = ActionMoments(*three, *(np.zeros(2),) * 2, np.array([0.6, 0.4]), np.array([0.4, 0.6]))
    keep = Keep(np.array([0.5, 0.25]), np.array([0.5, 1.0]))
    found = weights_by_cause(EXTRA, moments, keep)
    survivors = np.array([0.5 * 3 + 0.3 * 0.3 + 0.2 * 0.1, -5.0 - 0.1 * 0.2 + 0.6 * 0.4])  # A+ of 1 and A- of 0 are clipped
    want = {"unclipped": np.array([1.0, -1.0]), "clip_low": np.array([1.0, 0.0]), "clip_high": np.array([0.0, -1.0])}
    for name, value in want.items():
        assert_identity(found[name], value, np.full(2, 10.0))
    assert_identity(found["other"], survivors - sum(want.values()), np.full(2, 10.0))


def test_clip_sets_are_of_the_dtype_of_the_policy() -> None:
    single = LOG_P.astype(np.float32)
    assert {x.dtype for x in clip_set_stats(PLAIN, single, "natural")} == {np.dtype("float32")}


def test_weights_are_named_by_the_signs_that_they_have() -> None:
    gains = {"plus": PLAIN.gains.plus, "minus": PLAIN.gains.minus}
    assert weights_by_sign(PLAIN) == gains
    assert weights_by_sign(EXTRA) == gains | {"extra_plus": EXTRA.extra_plus, "extra_minus": EXTRA.extra_minus}
    moments = GroupRelative(2).moments(TableReward((1.0, 0.0)), np.exp(LOG_P))
    assert SampleWeights.of(PLAIN, moments, None).bonus is None
    assert SampleWeights.of(replace(PLAIN, bonus={"bonus": RATIO}), moments, None).bonus.tolist() == RATIO.tolist()


def test_values_of_two_samples_join_each_pair_once() -> None:
    """Three pairs of own reward and advantage: the sum of their joint chances times u M v, M = 0.7."""
    joint, u = np.arange(9.0).reshape(3, 3), np.array([1.0, -2.0, 0.5])
    want = 0.7 * sum(joint[i, j] * u[i] * u[j] for i, j in itertools.product(range(3), repeat=2))
    assert_identity(pair_sum(JointValues(joint), {"weight": u}, lambda a, b: 0.7 * a * b), want, 50.0)


@geometries
def test_every_sample_visits_a_context_unless_said_otherwise(geometry: str) -> None:
    """And beside the samples nothing moves the policy."""
    weights = SampleWeights(np.array([0.2, -0.7]), np.array([0.5, 1.1]), {}, None)
    given = {"geometry": geometry, "batch": 3, "shared_group": 0.0}
    short, spelled = (
        second_order(Listed(LOG_P), RATIO, weights, single_curvature, curvature_form, **given, **visits)
        for visits in ({}, {"visits": 1.0})
    )
    assert short.tolist() == spelled.tolist()
    assert np.all(short != 0)


@geometries
@pytest.mark.parametrize("groups", [1, 3])
def test_curvature_of_whole_groups_is_that_of_every_minibatch(groups: int, geometry: str) -> None:
    """Two actions worth 1 and 0, groups of two: the mean of d'Hess d over all four outcomes of each group, d the whole step."""
    policy, p, eta = SoftmaxPolicy(LOG_P), np.exp(LOG_P), 0.3
    x = LOG_P - p @ LOG_P
    hessian = -np.diag(p * (x + 1)) + np.outer(p, p) * (x[:, None] + x[None, :] + 1)
    scores = np.eye(2) / p[:, None] if geometry == "natural" else np.eye(2) - p
    one = [(p[a] * p[b], (a - b) / 2 * (scores[b] - scores[a]) / 2) for a, b in itertools.product(range(2), repeat=2)]
    want = 0.0
    for drawn in itertools.product(one, repeat=groups):
        step = eta * sum(s for _, s in drawn) / groups
        want += np.prod([c for c, _ in drawn]) * step @ hessian @ step / 2
    got = expected_entropy_drift(
        policy,
        Clip(),
        TableReward((1.0, 0.0)),
        old_policy=policy,
        learning_rate=eta,
        geometry=geometry,
        advantage=GroupRelative(2),
        order=2,
        batch=2 * groups,
    )
    assert_identity(got.curvature, want, 10.0)
    assert_identity(got.total - got.curvature, sum(getattr(got, name) for name in CAUSES), 10.0)
