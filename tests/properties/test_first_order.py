"""T5, T6, T10 for every vocabulary: the package's drift against Cov_pi(kappa, w) summed in extended precision; signs and gaps."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from entclip.drift.expected import expected_entropy_drift
from entclip.drift.first_order import clip_set_stats
from entclip.objectives.clip import Clip
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Gaussian, Rademacher, TableReward
from tests.properties.oracle import CAUSES, clip_sets, first_order
from tests.properties.strategies import (
    action_free,
    clips,
    gaussians,
    geometries,
    groups,
    learning_rates,
    objectives,
    pairs,
)
from tests.seen import changed
from tests.tolerances import IDENTITY, assert_identity

random_rewards = st.one_of(action_free, gaussians)
advantages = st.one_of(st.just(Independent()), groups(st.integers(2, 8)))


@given(pairs(), objectives, random_rewards, advantages, geometries, learning_rates)
def test_drift_is_the_covariance_with_the_weight(pair, objective, reward, advantage, geometry, rate) -> None:
    got = expected_entropy_drift(
        pair.policy,
        Clip(),
        reward,
        old_policy=pair.old_policy,
        learning_rate=rate,
        geometry=geometry,
        advantage=advantage,
        objective=objective,
    )
    m = advantage.moments(reward, pair.old_probs)
    e = first_order(objective, m.plus, m.minus, pair.log_p, pair.log_old, geometry, rate)
    for cause in CAUSES:
        assert_identity(getattr(got, cause), e.causes[cause], 4 * e.terms)
    assert_identity(got.total, sum(e.causes.values()), 16 * e.terms)
    assert got.curvature is None


@given(pairs(largest=1000), st.integers(0, 3), geometries, learning_rates)
def test_drift_of_a_true_reward(pair, seed, geometry, rate) -> None:
    """A reward for each action: unclipped = eta Cov(kappa, Abar), and with the natural step and no clip the covariance law."""
    values = np.random.default_rng(seed).integers(0, 9, pair.vocab) / 8
    values[:2] = 0.0, 1.0
    reward = TableReward(tuple(values))
    a = values - math.fsum(pair.old_probs * values)
    e = first_order(Clip(0.2, 0.2), np.maximum(a, 0), np.maximum(-a, 0), pair.log_p, pair.log_old, geometry, rate)
    got = expected_entropy_drift(
        pair.policy, Clip(0.2, 0.2), reward, old_policy=pair.old_policy, learning_rate=rate, geometry=geometry
    )
    # The mean reward is itself a sum with the exponents' rounding, and every A carries it.
    shift = first_order(Clip(1, math.inf), np.ones_like(a), np.ones_like(a), pair.log_p, pair.log_old, geometry, rate).terms
    for cause in CAUSES:
        assert_identity(getattr(got, cause), e.causes[cause], 4 * e.terms + 4 * shift * pair.conditioning)


def exact_gap(pair, members: np.ndarray, geometry: str) -> tuple[float, float]:
    """E[kappa|X] - E[kappa] over python floats with fsum, and pi(X)."""
    p, l = [float(x) for x in pair.probs], [float(x) for x in pair.log_p]
    total = math.fsum(p)
    h = -math.fsum(x * y for x, y in zip(p, l, strict=True)) / total
    kappa = [-y if geometry == "natural" else -x * (y + h) for x, y in zip(p, l, strict=True)]
    inside = [k for k in range(len(p)) if members[k]]
    mass = math.fsum(p[k] for k in inside)
    mean = math.fsum(x * k for x, k in zip(p, kappa, strict=True)) / total
    return (math.fsum(p[k] * kappa[k] for k in inside) / mass - mean if mass > 0 else math.nan), mass


@given(pairs(largest=1000), clips, random_rewards, advantages, geometries, learning_rates)
def test_signs_follow_the_gaps(pair, clip, reward, advantage, geometry, rate) -> None:
    """T6: clip-low raises entropy iff the clipped actions have above-average kappa, clip-high lowers it iff likewise."""
    got = expected_entropy_drift(
        pair.policy, clip, reward, old_policy=pair.old_policy, learning_rate=rate, geometry=geometry, advantage=advantage
    )
    m = advantage.moments(reward, pair.old_probs)
    strength = rate * float(m.minus[0])
    stats = clip_set_stats(changed(clip, pair.ratio, pair.old_probs), pair.log_p, geometry)
    p, l = pair.probs, np.abs(pair.log_p)
    kappa = l if geometry == "natural" else p * (l + p @ l)
    rounding = (1 + l) * p * (kappa + p @ kappa)
    sets = clip_sets(clip, pair.ratio, pair.old_probs)
    for members, term, gap, mass, prob, sign in (
        (sets[0], got.clip_low, got.gap_low, stats.mass_low, stats.pi_low, 1),
        (sets[1], got.clip_high, got.gap_high, stats.mass_high, stats.pi_high, -1),
    ):
        expected, expected_prob = exact_gap(pair, members, geometry)
        size = float(np.sum(rounding[members]) + np.sum((p * (1 + l))[members]) * np.sum(rounding))
        assert_identity(prob, expected_prob, float(np.sum((p * (1 + l))[members])))
        if expected_prob == 0:
            assert term == 0
            assert mass == 0
            assert math.isnan(gap)
            continue
        assert_identity(mass, expected * expected_prob, 4 * size)
        assert_identity(gap * expected_prob, expected * expected_prob, 4 * size)
        assert_identity(term, sign * strength * mass, 4 * strength * size)
        # Beyond rounding the signs agree exactly.
        if abs(mass) > 4 * IDENTITY["float64"] * size:
            assert np.sign(mass) == np.sign(expected) == np.sign(gap)
            assert np.sign(term) == sign * np.sign(mass)


@given(pairs(largest=1000), clips, geometries)
def test_the_strength_of_a_random_reward_is_half_its_mean_absolute_value(pair, clip, geometry) -> None:
    """M = E|A|/2 alone matters, not the law: +-1 and a Gaussian of equal E|A| give the same clip terms."""
    one = dict(old_policy=pair.old_policy, learning_rate=1.0, geometry=geometry)
    a = expected_entropy_drift(pair.policy, clip, Rademacher(), **one)
    b = expected_entropy_drift(pair.policy, clip, Gaussian(0.7, math.sqrt(math.pi / 2)), **one)
    e = first_order(clip, np.array([0.5]), np.array([0.5]), pair.log_p, pair.log_old, geometry, 1.0)
    for cause in CAUSES:
        assert_identity(getattr(a, cause), getattr(b, cause), 4 * e.terms)
    assert a.unclipped == 0.0
    assert a.other == 0.0
