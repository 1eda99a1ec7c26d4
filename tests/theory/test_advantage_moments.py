"""T7: advantage moments against closed forms, brute-force enumeration, and seeded Monte Carlo for Gaussian rewards."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest

from entclip.rewards.advantage import AdvantageMoments, GroupRelative, Independent, Moment
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, TableReward
from tests.tolerances import IDENTITY, assert_identity, assert_within_se, within_se

ANY = np.full(4, 0.25)  # an old policy: action-independent rewards must not depend on it


def summary(moments: AdvantageMoments) -> dict[str, float]:
    """The numbers of T7 for a reward that ignores the action, and the fourth moment."""
    assert moments.pair is not None
    return {
        "plus": moments.plus.item(),
        "minus": moments.minus.item(),
        "plus_sq": moments.plus_sq.item(),
        "minus_sq": moments.minus_sq.item(),
        "fourth": moments.plus_fourth.item() + moments.minus_fourth.item(),
        "pp": moments.pair.plus_plus.item(),
        "mm": moments.pair.minus_minus.item(),
        "pm": moments.pair.plus_minus.item(),
    }


def advantages_by_hand(rewards: np.ndarray, group: GroupRelative) -> np.ndarray:
    """(R - mean)/scale as GRPO writes it, one group on the last axis; a group of equal rewards has A = 0."""
    centred = rewards - rewards.mean(axis=-1, keepdims=True)
    if group.scale == "none":
        return centred
    std = rewards.std(axis=-1, ddof=group.ddof, keepdims=True)
    equal = np.all(rewards == rewards[..., :1], axis=-1, keepdims=True)
    return np.where(equal, 0.0, centred / np.where(equal, 1.0, std + group.eps))


def signs(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.maximum(a, 0), np.maximum(-a, 0)


@pytest.mark.parametrize("p", [0.03, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("size", [2, 3, 8, 16])
def test_t7_bernoulli_closed_forms(size: int, p: float) -> None:
    g, q = size, 1 - p
    none = summary(GroupRelative(g).moments(Bernoulli(p), ANY))
    for value, want in (
        (none["plus"], p * q * (g - 1) / g),
        (none["minus"], p * q * (g - 1) / g),
        (none["plus_sq"] + none["minus_sq"], p * q * (g - 1) / g),
    ):
        assert_identity(value, want, 2 * g)
    k = np.arange(g + 1)
    binomial = np.array([math.comb(g, int(i)) for i in k]) * p**k * q ** (g - k)
    m = float(binomial @ np.sqrt(k * (g - k))) / g
    m2 = 1 - p**g - q**g
    pp, mm = p * q - q * (1 - q ** (g - 1)) / (g - 1), p * q - p * (1 - p ** (g - 1)) / (g - 1)
    for ddof, shrink in ((0, 1.0), (1, (g - 1) / g)):
        got = summary(GroupRelative(g, "std", ddof).moments(Bernoulli(p), ANY))
        # Terms: at most 1 in mean, sqrt(G) large; the advantage of a lone success is about sqrt(G), its square G.
        assert_identity(got["plus"], m * math.sqrt(shrink), g)
        assert_identity(got["minus"], m * math.sqrt(shrink), g)
        assert_identity(got["plus_sq"] + got["minus_sq"], m2 * shrink, g)
        assert_identity(got["pm"], p * q * shrink, g)
        assert_identity(got["pp"], pp * shrink, g)
        assert_identity(got["mm"], mm * shrink, g)


def test_t7_reference_values() -> None:
    """theory.md: G = 8, p = .5, printed to five digits."""
    for group, printed in (
        (GroupRelative(8), 0.21875),
        (GroupRelative(8, "std", 0), 0.46391),
        (GroupRelative(8, "std", 1), 0.43395),
    ):
        assert abs(summary(group.moments(Bernoulli(0.5), ANY))["plus"] - printed) <= 0.5000001e-5


GROUPS = [
    GroupRelative(2),
    GroupRelative(5),
    GroupRelative(4, "std", 0),
    GroupRelative(4, "std", 1, eps=0.1),
    GroupRelative(3, "std", 0, eps=1e-6),
]


@pytest.mark.parametrize("group", [*GROUPS, GroupRelative(4, "std", 0, eps=0.1)], ids=str)
@pytest.mark.parametrize("reward", [Bernoulli(0.3), Rademacher()], ids=str)
def test_t7_two_levels_against_enumeration(reward: Bernoulli | Rademacher, group: GroupRelative) -> None:
    """Every outcome of the group with its probability, eps included."""
    law = reward.level_probs[0]
    outcomes = np.array(list(itertools.product(range(2), repeat=group.size)))
    chance = np.prod(law[outcomes], axis=-1)
    plus, minus = signs(advantages_by_hand(reward.levels[outcomes], group))
    got = summary(group.moments(reward, ANY))
    want = {
        "plus": chance @ plus[:, 0],
        "minus": chance @ minus[:, 0],
        "plus_sq": chance @ plus[:, 0] ** 2,
        "minus_sq": chance @ minus[:, 0] ** 2,
        "fourth": chance @ (plus[:, 0] ** 4 + minus[:, 0] ** 4),
        "pp": chance @ (plus[:, 0] * plus[:, 1]),
        "mm": chance @ (minus[:, 0] * minus[:, 1]),
        "pm": chance @ (plus[:, 0] * minus[:, 1]),
    }
    for name, value in want.items():
        assert_identity(got[name], value, 2 * group.size)


@pytest.mark.parametrize("reward", [Bernoulli(0.2), Rademacher(), Gaussian(0.5, 2.0)], ids=str)
@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_t7_correlation_within_a_group(group: GroupRelative, reward: Bernoulli | Rademacher | Gaussian) -> None:
    """E[A_i A_j] = -m2/(G-1), whatever the law: the advantages of a group add up to 0. And E[A] = 0."""
    got = summary(group.moments(reward, ANY))
    m2 = got["plus_sq"] + got["minus_sq"]
    assert_identity(got["pp"] + got["mm"] - 2 * got["pm"], -m2 / (group.size - 1), 4 * (m2 + 1) * group.size)
    assert_identity(got["plus"], got["minus"], group.size * (1 + 2 * got["plus"]))


TABLES = [(0.0, 1.0, 0.5), (0.0, 1.0, 1.0), (-2.0, 0.3, 7.0)]
CONTEXTS = np.array([[0.2, 0.3, 0.5], [0.7, 0.25, 0.05]])


@pytest.mark.parametrize(
    "group", [GroupRelative(3), GroupRelative(3, "std", 0), GroupRelative(3, "std", 1, eps=0.1), GroupRelative(2, "std")], ids=str
)
@pytest.mark.parametrize("table", TABLES, ids=str)
def test_t7_action_dependent_rewards_against_enumeration(table: tuple[float, ...], group: GroupRelative) -> None:
    reward = TableReward(table)
    moments = group.moments(reward, CONTEXTS)
    assert moments.action_dependent
    assert moments.pair is not None
    outcomes = np.array(list(itertools.product(range(3), repeat=group.size)))
    advantages = advantages_by_hand(np.asarray(table)[outcomes], group)
    plus, minus = signs(advantages)
    size = float(np.max(np.abs(advantages))) ** 2 + 1
    for c, probs in enumerate(CONTEXTS):
        chance = np.prod(probs[outcomes], axis=-1)
        for a in range(3):
            given = (outcomes[:, 0] == a) * chance / probs[a]
            up, down = (x > 1e-12 for x in (plus, minus))
            powers = (plus, minus, plus**2, minus**2, plus**4, minus**4, up, down)
            for name, x in zip(get_args(Moment), powers, strict=True):
                assert_identity(moments.by_action(name)[c, a], given @ x[:, 0], size**2)
            for b in range(3):
                both = (outcomes[:, 0] == a) * (outcomes[:, 1] == b) * chance / (probs[a] * probs[b])
                i, j = (int(np.flatnonzero(moments.level_probs[x])[0]) for x in (a, b))
                products = (
                    (plus, plus),
                    (minus, minus),
                    (plus, minus),
                    (plus, up),
                    (plus, down),
                    (minus, up),
                    (minus, down),
                    (up, up),
                    (down, down),
                    (up, down),
                )
                for field, (x, y) in zip(fields(moments.pair), products, strict=True):
                    assert_identity(getattr(moments.pair, field.name)[c, i, j], both @ (x[:, 0] * y[:, 1]), size)


def test_t7_independent_moments() -> None:
    bernoulli = Independent().moments(Bernoulli(0.3), ANY)
    assert bernoulli.pair is None
    for name, want in (("plus", 0.21), ("minus", 0.21), ("plus_sq", 0.3 * 0.49), ("minus_sq", 0.7 * 0.09)):
        assert_identity(bernoulli.by_action(name).item(), want, 2)
    rademacher = Independent().moments(Rademacher(), ANY)
    assert [rademacher.by_action(n).item() for n in ("plus", "minus", "plus_sq", "minus_sq")] == [0.5, 0.5, 0.5, 0.5]
    gaussian = Independent().moments(Gaussian(3.0, 2.0), ANY)
    assert_identity(gaussian.plus.item(), 2 / math.sqrt(2 * math.pi), 2)
    assert_identity(gaussian.plus_sq.item(), 2.0, 2)
    table = Independent().moments(TableReward((0.0, 1.0, 0.5)), CONTEXTS)
    for c, probs in enumerate(CONTEXTS):
        centred = np.array([0.0, 1.0, 0.5]) - probs @ [0.0, 1.0, 0.5]
        plus, minus = signs(centred)
        for name, want_by_action in (("plus", plus), ("minus", minus), ("plus_sq", plus**2), ("minus_sq", minus**2)):
            assert_identity(table.by_action(name)[c], want_by_action, np.full(3, 2.0))
        assert_identity(probs @ (table.by_action("plus")[c] - table.by_action("minus")[c]), 0.0, 1.0)


# ---- Gaussian ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_t7_gaussian_closed_forms(size: int) -> None:
    g, sd = size, 1.7
    none = summary(GroupRelative(g).moments(Gaussian(4.0, sd), ANY))
    assert_identity(none["plus"], sd * math.sqrt((g - 1) / (2 * math.pi * g)), 2 * sd)
    assert_identity(none["plus_sq"] + none["minus_sq"], sd**2 * (g - 1) / g, sd**2)
    assert_identity(none["fourth"], 3 * sd**4 * ((g - 1) / g) ** 2, 3 * sd**4)
    m = math.sqrt(g - 1) * math.gamma((g - 1) / 2) / (2 * math.sqrt(math.pi) * math.gamma(g / 2))
    rho = -1 / (g - 1)
    for ddof, shrink in ((0, 1.0), (1, (g - 1) / g)):
        got = summary(GroupRelative(g, "std", ddof).moments(Gaussian(4.0, sd), ANY))
        # exp(lgamma - lgamma) loses |lgamma| ~ 100 ulps at G = 64, gamma itself none.
        assert_identity(got["plus"], m * math.sqrt(shrink), 4 + math.lgamma(g / 2))
        assert_identity(got["plus_sq"] + got["minus_sq"], shrink, 2.0)
        root = math.sqrt(1 - rho**2)
        assert_identity(got["pp"], shrink * (root + rho * (math.pi - math.acos(rho))) / (2 * math.pi), 4.0)
        assert_identity(got["mm"], got["pp"], 4.0)
        assert_identity(got["pm"], shrink * (root - rho * math.acos(rho)) / (2 * math.pi), 4.0)


@pytest.mark.parametrize(("size", "agree", "alike"), [(2, 0.0, 0.0), (3, 1 / 4, 1 / 6)])
def test_t7_signs_of_normal_rewards_by_geometry(size: int, agree: float, alike: float) -> None:
    """Two of a group of two have opposite advantages. Three centred rewards are the cosines of three angles 120 degrees apart,
    uniform on the circle: two are both positive on an arc of 60 degrees, where one of them goes from cos 30 to cos 90 degrees,
    whose integral is 1/2 of the 2 that it has over all 180 degrees where it is positive: a quarter."""
    for group in (GroupRelative(size), GroupRelative(size, "std", 0), GroupRelative(size, "std", 1, eps=0.3)):
        moments = group.moments(Gaussian(0.3, 1.7), ANY)
        m, pair = moments.plus.item(), moments.pair
        assert pair is not None
        for value, want in (
            (pair.plus_if_plus, m * agree),
            (pair.minus_if_minus, m * agree),
            (pair.plus_if_minus, m * (1 - agree)),
            (pair.minus_if_plus, m * (1 - agree)),
            (pair.both_plus, alike),
            (pair.both_minus, alike),
            (pair.opposite, 1 / 2 - alike),
        ):
            assert_identity(value.item(), want, 2.0)


def gaussian_sample(group: GroupRelative, sd: float, groups: int) -> tuple[dict[str, float], dict[str, float]]:
    """Means and standard errors over independent groups of the seven moments, each averaged within its group first."""
    g = group.size
    rewards = np.random.default_rng(0).normal(1.0, sd, (groups, g))
    plus, minus = signs(advantages_by_hand(rewards, group))
    p, m, pq, mq = plus.sum(-1), minus.sum(-1), (plus**2).sum(-1), (minus**2).sum(-1)
    pairs = g * (g - 1)
    per_group = {
        "plus": p / g,
        "minus": m / g,
        "plus_sq": pq / g,
        "minus_sq": mq / g,
        "fourth": (plus**4 + minus**4).sum(-1) / g,
        "pp": (p**2 - pq) / pairs,
        "mm": (m**2 - mq) / pairs,
        "pm": p * m / pairs,
    }
    return {k: float(v.mean()) for k, v in per_group.items()}, {
        k: float(v.std(ddof=1)) / math.sqrt(groups) for k, v in per_group.items()
    }


@pytest.mark.statistical
@pytest.mark.parametrize(
    "group",
    [
        GroupRelative(3),
        GroupRelative(8),
        GroupRelative(4, "std", 0),
        GroupRelative(8, "std", 1),
        GroupRelative(4, "std", 1, eps=0.5),
        GroupRelative(8, "std", 0, eps=0.2),
        GroupRelative(2, "std", 1, eps=0.5),
    ],
    ids=str,
)
def test_t7_gaussian_against_monte_carlo(group: GroupRelative) -> None:
    sd = 0.8
    mean, se = gaussian_sample(group, sd, 200_000)
    got = summary(group.moments(Gaussian(1.0, sd), ANY))
    exact = 0
    for name, want in got.items():
        if se[name] <= IDENTITY["float64"]:  # the same in every group (m2 of G = 2): an identity, not a sample
            assert_identity(mean[name], want, 4.0)
            exact += 1
        elif want == 0 or (group.size == 2 and name in ("pp", "mm")):
            assert_identity(want, 0.0, 1.0)  # two advantages of opposite sign
        else:
            assert_within_se(mean[name], want, se[name])
    assert exact < 7


@pytest.mark.statistical
def test_t7_falsifiers() -> None:
    """The same check rejects M off by 5 %, eps forgotten, and the other ddof."""
    group, sd = GroupRelative(8, "std", 0, eps=0.2), 0.8
    mean, se = gaussian_sample(group, sd, 200_000)
    right = summary(group.moments(Gaussian(1.0, sd), ANY))
    assert within_se(mean["plus"], right["plus"], se["plus"])
    assert not within_se(mean["plus"], 1.05 * right["plus"], se["plus"])
    for wrong in (GroupRelative(8, "std", 0), GroupRelative(8, "std", 1, eps=0.2), GroupRelative(8)):
        values = summary(wrong.moments(Gaussian(1.0, sd), ANY))
        assert not within_se(mean["plus"], values["plus"], se["plus"])
        assert not within_se(mean["pm"], values["pm"], se["pm"])


# ---- sampled advantages -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_of_rewards_is_grpo(group: GroupRelative) -> None:
    rewards = np.random.default_rng(1).integers(0, 3, (500, group.size)) * 0.1
    got, want = group.of_rewards(rewards), advantages_by_hand(rewards, group)
    assert_identity(got, want, np.full_like(want, 4.0 * group.size))
    flat = np.full((3, group.size), 0.1)  # 0.1 has no exact mean: rounding must not become +-1
    np.testing.assert_array_equal(group.of_rewards(flat) * (group.scale == "std"), np.zeros_like(flat))


@pytest.mark.statistical
@pytest.mark.parametrize("group", [GroupRelative(4), GroupRelative(3, "std", eps=0.5)], ids=str)
def test_t7_signs_of_normal_rewards_on_samples(group: GroupRelative) -> None:
    """Moments that join a sample's advantage with its partner's sign, over 400,000 groups: within five standard errors."""
    pair = group.moments(Gaussian(0.5, 2.0), ANY).pair
    assert pair is not None
    rng = np.random.default_rng(11)
    plus, minus = signs(group.of_rewards(2.0 * rng.standard_normal((400_000, group.size)) + 0.5)[:, :2])
    up, down = plus > 0, minus > 0
    products = {
        "plus_if_plus": (plus, up),
        "plus_if_minus": (plus, down),
        "minus_if_plus": (minus, up),
        "minus_if_minus": (minus, down),
        "both_plus": (up, up),
        "both_minus": (down, down),
        "opposite": (up, down),
    }
    for name, (x, y) in products.items():
        seen, want = x[:, 0] * y[:, 1], getattr(pair, name).item()
        error = float(np.std(seen, ddof=1)) / len(seen) ** 0.5
        assert abs(seen.mean() - want) < 5 * error, name
        assert want > 100 * error, "falsifier: 5 % would be seen"
