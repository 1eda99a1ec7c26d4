"""Details of advantage moments that the tests of the claims do not see.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest

import entclip.policies.snapshot
import entclip.rewards.advantage
from entclip.rewards.advantage import AdvantageMoments, GroupRelative, Independent, Moment
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, TableReward
from tests.tolerances import assert_identity


def test_groups_are_on_the_last_axis_whatever_comes_before() -> None:
    rewards = np.random.default_rng(5).normal(size=(2, 5, 4))
    rewards[1, 2] = 0.1
    for group in (GroupRelative(4), GroupRelative(4, "std", 0), GroupRelative(4, "std", 1, eps=0.2)):
        whole = group.of_rewards(rewards)
        for i, j in itertools.product(range(2), range(5)):
            row = rewards[i, j]
            want = row - math.fsum(row) / 4
            if group.scale == "std":
                std = math.sqrt(math.fsum(want**2) / (4 - group.ddof))
                want = 0 * row if (i, j) == (1, 2) else want / (std + group.eps)
            assert_identity(whole[i, j], want, np.full(4, 20.0))


def test_what_rounding_leaves_of_a_tie_with_the_mean_is_no_advantage() -> None:
    """.2 - (.1 + .2 + .3)/3 is -3e-17 in floats. How little is rounding is judged group by group, at any unit of the rewards."""
    units = np.array([[1.0, 2.0**-40, 2.0**40], [2.0**-60, 1.0, 3.0]])
    rewards = np.array([0.1, 0.2, 0.3]) * units[..., None]
    plain = GroupRelative(3).of_rewards(rewards)
    assert np.all(plain[..., 1] != 0)
    got = GroupRelative(3).of_rewards(rewards, ties=True)
    np.testing.assert_array_equal(got, plain * [1.0, 0.0, 1.0])


def moments_of(value: AdvantageMoments) -> list[np.ndarray]:
    pair = [] if value.pair is None else [getattr(value.pair, f.name) for f in fields(value.pair)]
    return [value.level_probs, *(getattr(value, name) for name in get_args(Moment)), *pair]


def test_a_reward_that_ignores_the_action_has_one_level() -> None:
    """(1, 1) tables of ones, (1,) moments: what by_action and the pair form rely on, for Gaussian and finite rewards alike."""
    for advantage in (Independent(), GroupRelative(4), GroupRelative(4, "std", eps=0.1)):
        assert advantage.size == (1 if advantage.kind == "independent" else 4)
        for reward in (Gaussian(0.0, 2.0), Bernoulli(0.3), Rademacher()):
            got = advantage.moments(reward, np.full(5, 0.2))
            assert not got.action_dependent
            assert got.level_probs.tolist() == [[1.0]]
            assert [getattr(got, name).shape for name in get_args(Moment)] == [(1,)] * 8
            for name in get_args(Moment):
                np.testing.assert_array_equal(got.by_action(name), getattr(got, name))
            assert (got.pair is None) == isinstance(advantage, Independent)
            assert all(x.shape == (1, 1) for x in moments_of(got)[9:])


def test_one_row_of_level_chances_per_action() -> None:
    """Whether the reward depends on the action is the number of rows: two actions suffice, however many levels there are."""
    for rows, levels in ((2, 1), (2, 2), (1, 1), (1, 2)):
        moments = AdvantageMoments(np.full((rows, levels), 1 / levels), *(np.ones(levels),) * 8)
        assert moments.action_dependent is (rows == 2)


def test_independent_gaussian_moments() -> None:
    """E[A+] = sd/sqrt(2 pi), E[A+^2] = sd^2/2: half of E|A| and of the variance, for each sign; the mean does not enter."""
    got = Independent().moments(Gaussian(4.0, 3.0), np.full(2, 0.5))
    m, half, fourth = 3 / math.sqrt(2 * math.pi), 9 / 2, 3 * 81 / 2
    for name, want in zip(get_args(Moment), (m, m, half, half, fourth, fourth, 0.5, 0.5), strict=True):
        assert_identity(got.by_action(name), np.array([want]), np.full(1, 9.0 if want < 9 else fourth))
    assert got.pair is None


def test_moments_given_the_action_sum_over_its_levels() -> None:
    """sum_l P(l|a) E[. | l] with chances of levels that are neither 0 nor 1."""
    share = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    tables = [np.array([[1.0, 2.0], [3.0, 5.0]]) + k for k in range(8)]
    got = AdvantageMoments(share, *tables)
    assert got.action_dependent
    assert got.pair is None
    for name, table in zip(get_args(Moment), tables, strict=True):
        want = [[math.fsum(share[a] * row) for a in range(3)] for row in table]
        assert_identity(got.by_action(name), np.array(want), np.full((2, 3), 10.0))
    # Chances that differ from unit to unit, the second unit's the other way round.
    units = AdvantageMoments(np.stack([share, share[::-1]]), *tables)
    for name in get_args(Moment):
        of_unit = got.by_action(name)
        assert_identity(units.by_action(name), np.stack([of_unit[0], of_unit[1, ::-1]]), np.full((2, 3), 10.0))


@pytest.mark.parametrize("eps", [0.0, 0.05, 1.0, 2.0])
@pytest.mark.parametrize("ddof", [0, 1])
def test_gaussian_groups_of_three_with_eps_against_the_chi_law(eps: float, ddof: int) -> None:
    """G = 3: the length of the centred rewards over sd is chi with 2 degrees of freedom, density x exp(-x^2/2), and the direction
    is uniform on a circle, so A+ of one sample is cos+ times sqrt(2/3) times length/(length/sqrt(3 - ddof) + eps).
    E cos+ = 1/pi, E cos+^2 = 1/4 and E cos+^4 = 3/16."""
    sd = 0.8
    x, weights = np.polynomial.legendre.leggauss(300)
    x, weights = 7 * (x + 1), 7 * weights  # [0, 14]: the density beyond is exp(-98)
    density = weights * x * np.exp(-x * x / 2)
    scaled = sd * x / (sd * x / math.sqrt(3 - ddof) + eps)
    got = GroupRelative(3, "std", ddof, eps=eps).moments(Gaussian(0.0, sd), np.full(2, 0.5))  # type: ignore[arg-type]
    m, m2 = (math.sqrt(2 / 3) / math.pi * density @ scaled, 2 / 3 / 4 * density @ scaled**2)
    m4 = (2 / 3) ** 2 * 3 / 16 * density @ scaled**4
    # The nearest pole, at x = -eps sqrt(3 - ddof)/sd <= -.06, leaves these nodes an error of (1 + sqrt(.12/7))^-600 = 1e-32.
    for name, want in zip(get_args(Moment), (m, m, m2, m2, m4, m4, 0.5, 0.5), strict=True):
        assert_identity(got.by_action(name), np.array([want]), np.full(1, 10.0))


def test_rewards_on_a_grid_merge_their_sums() -> None:
    """Five rewards of {0, .1, .2} have 11 sums, not 3^5 ordered outcomes; their chances are trinomial."""
    law = np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])
    support, chance = GroupRelative(6)._sums_of_others(np.array([0.0, 0.1, 0.2]), law, 5)
    assert support.shape == (11, 2)
    assert chance.shape == (2, 11)
    assert_identity(np.sort(support[:, 0]), np.arange(11) / 10, np.ones(11))
    assert not np.any(support[:, 1]), "squares are not tracked where nothing divides by a standard deviation"
    for row, p in zip(chance, law, strict=True):
        want = np.zeros(11)
        for outcome in itertools.product(range(3), repeat=5):
            want[sum(outcome)] += math.prod(p[k] for k in outcome)
        assert_identity(row[np.argsort(support[:, 0])], want, np.ones(11))


def test_sums_of_rewards_merge_at_any_scale() -> None:
    """Whether sums agree is judged relative to the largest reward: tiny and huge rewards merge alike, and none is lost. Three of
    {0, 1, 2} have 7 sums; 2 is 0 + 0 + 2 and 0 + 1 + 1, which std scaling must tell apart by their squares: 10 in all."""
    for scale, (kind, count) in itertools.product((1e-12, 1.0, 1e12), {"none": 7, "std": 10}.items()):
        group = GroupRelative(4, kind)  # type: ignore[arg-type]
        support, chance = group._sums_of_others(np.array([0.0, 1.0, 2.0]) * scale, np.full(3, 1 / 3), 3)
        assert len(support) == count
        assert_identity(chance.sum(), 1.0, 1.0)
        assert_identity(float(chance @ support[:, 0]), 3 * scale, 3 * scale)
        assert_identity(float(chance @ support[:, 1]), 5 * scale**2 if kind == "std" else 0.0, 5 * scale**2)


def test_rewards_that_agree_to_1e10_are_one_reward() -> None:
    """3e-11 of the largest reward is below what is told apart, 3e-10 above it; merging keeps the chances."""
    for difference, count in ((3e-11, 2), (3e-10, 3)):
        support, chance = GroupRelative(2)._sums_of_others(np.array([0.0, 1.0, 1.0 + difference]), np.array([0.2, 0.3, 0.5]), 1)
        assert len(support) == count
        assert_identity(chance[support[:, 0] > 0.5].sum(), 0.8, 1.0)


def test_no_other_member_has_the_sum_zero() -> None:
    support, one = GroupRelative(2)._sums_of_others(np.array([0.0, 1.0]), np.full((4, 2), 0.5), 0)
    assert support.tolist() == [[0.0, 0.0]]
    assert one.tolist() == [[1.0]] * 4


def test_an_advantage_from_its_fields() -> None:
    group = GroupRelative()
    assert (group.size, group.scale, group.ddof, group.eps, group.kind) == (8, "none", 1, 0.0, "group")
    assert GroupRelative(4096).size == 4096, "the largest group that is allowed"
    for wrong, message in (({"size": 4097}, "at most 4096, got 4097"), ({"siez": 4}, "siez")):
        with pytest.raises(ValueError, match=message):
            GroupRelative(**wrong)  # type: ignore[arg-type]


def test_the_limit_of_distinct_sums_is_the_last_number_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three other rewards of {0, 1} have the sums 0, 1, 2, 3."""
    assert entclip.rewards.advantage._MAX_GROUP_SUMS == 200_000, "the number that docs/decisions.md promises"
    monkeypatch.setattr(entclip.rewards.advantage, "_MAX_GROUP_SUMS", 4)
    GroupRelative(4).moments(Bernoulli(0.5), np.full(2, 0.5))
    monkeypatch.setattr(entclip.rewards.advantage, "_MAX_GROUP_SUMS", 3)
    with pytest.raises(ValueError, match="over 3 distinct sums with 2 distinct reward values"):
        GroupRelative(4).moments(Bernoulli(0.5), np.full(2, 0.5))


def test_std_scaling_removes_the_unit_of_the_reward() -> None:
    """Without eps the advantages of (0, 1, 3) and of (0, 1, 3) millionths or millions are the same."""
    probs = np.array([0.2, 0.3, 0.5])
    plain = GroupRelative(3, "std").moments(TableReward((0.0, 1.0, 3.0)), probs)
    for unit in (2.0**-20, 2.0**20):
        scaled = GroupRelative(3, "std").moments(TableReward((0.0, unit, 3 * unit)), probs)
        for value, want in zip(moments_of(scaled), moments_of(plain), strict=True):
            assert_identity(value, want, np.full(want.shape, 3.0))


def test_equal_rewards_have_no_advantage_at_all() -> None:
    """.1 - (.1 + .1 + .1)/3 is not 0 in floats: rounding must not be taken for an advantage, scaled up or not."""
    always_the_first = np.array([1.0, 0.0])
    for group in (GroupRelative(3, "std"), GroupRelative(3, "std", eps=0.5)):
        got = group.moments(TableReward((0.1, 0.7)), always_the_first)
        for name in ("plus", "minus", "plus_sq", "minus_sq"):
            assert got.by_action(name)[0] == 0.0
        assert got.pair is not None
        assert got.pair.plus_plus[0, 0] == got.pair.minus_minus[0, 0] == got.pair.plus_minus[0, 0] == 0.0
        # The second reward, were it drawn once, would be alone above the mean: A = .4/(sqrt(.12) + eps), ddof 1.
        assert_identity(got.by_action("plus")[1], 0.4 / (math.sqrt(0.12) + group.eps), 10.0)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_a_nearly_equal_group_is_not_an_equal_one(eps: float) -> None:
    """Spread 1e-4 around 1 is 1e-8 of the squares: far above rounding, so the advantage is what GRPO makes of the rewards."""
    table, probs = TableReward((1.0, 1.0001)), np.array([0.4, 0.6])
    group = GroupRelative(3, "std", 1, eps=eps)
    got = group.moments(table, probs)
    values = np.array(table.values)
    want = np.zeros((2, 2))
    for outcome in itertools.product(range(2), repeat=3):
        a = group.of_rewards(values[list(outcome)])[0]
        chance = math.prod(probs[k] for k in outcome[1:])
        want[:, outcome[0]] += chance * np.array([max(a, 0.0), max(-a, 0.0)])
    # The convolution takes the spread as a difference of sums of squares, 1e8 times larger: that many more ulps.
    assert_identity(got.by_action("plus"), want[0], np.full(2, 1e8))
    assert_identity(got.by_action("minus"), want[1], np.full(2, 1e8))
    assert got.by_action("plus")[1] > 1e-6


def test_rounding_is_not_taken_for_a_sign_at_any_unit() -> None:
    """The middle reward of (.1, .2, .3) ties with the mean when all three are drawn: neither share counts it."""
    probs = np.array([0.2, 0.3, 0.5])
    plain = GroupRelative(3).moments(TableReward((0.1, 0.2, 0.3)), probs)
    # A middle reward is above the mean beside (.1, .1) or (.1, .2), below it beside (.2, .3) or (.3, .3).
    assert_identity(plain.share_plus[1], 0.2**2 + 2 * 0.2 * 0.3, 1.0)
    assert_identity(plain.share_minus[1], 0.5**2 + 2 * 0.3 * 0.5, 1.0)
    for unit in (2.0**-60, 2.0**40):
        scaled = GroupRelative(3).moments(TableReward((0.1 * unit, 0.2 * unit, 0.3 * unit)), probs)
        np.testing.assert_array_equal(scaled.share_plus, plain.share_plus)
        np.testing.assert_array_equal(scaled.share_minus, plain.share_minus)


def test_an_offset_of_the_rewards_changes_nothing() -> None:
    """A = (R - mean)/std does not see a constant added to every reward; 2^20 is exact, so not even rounding does."""
    probs = np.array([0.4, 0.6])
    plain, shifted = (GroupRelative(3, "std").moments(TableReward((k, k + 1.0)), probs) for k in (0.0, 2.0**20))
    for name in ("plus", "minus"):
        assert_identity(shifted.by_action(name), plain.by_action(name), np.full(2, 3.0))


def test_a_tiny_eps_shrinks_gaussian_pairs_as_the_expansion_says() -> None:
    """G = 2, ddof 1: s/sd is |Z|, so with u = eps/sd E[s/(s+eps)] = 1 - sqrt(2/pi) u J and J = int exp(-x^2/2)/(x+u) dx
    = log(1/u) + (log 2 - gamma)/2 + O(u)."""
    u = 1e-8
    j = math.log(1 / u) + (math.log(2) - float(np.euler_gamma)) / 2
    assert_identity(GroupRelative(2, "std", eps=u)._eps_factors(1.0)[0], 1 - math.sqrt(2 / math.pi) * u * j, 1.0)


def test_a_tiny_eps_shrinks_gaussian_triples_as_the_expansion_says() -> None:
    """G = 3, ddof 1: s/sd is chi_2/sqrt 2; x^2/(x+u) = x - u + u^2/(x+u) gives 1 - u sqrt(pi/2) + u^2 J, u = sqrt(2) eps/sd."""
    u = 1e-6
    j = math.log(1 / u) + (math.log(2) - float(np.euler_gamma)) / 2
    got = GroupRelative(3, "std", eps=u / math.sqrt(2))._eps_factors(1.0)[0]
    assert_identity(got, 1 - u * math.sqrt(math.pi / 2) + u * u * j, 1.0)
