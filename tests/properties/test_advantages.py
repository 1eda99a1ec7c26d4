"""T7: exact moments of advantages against brute force over whole groups, and what every group obeys."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entclip.policies.softmax import SoftmaxPolicy
from entclip.rewards.advantage import AdvantageMoments, GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, RewardLaw, TableReward
from tests.properties.oracle import group_advantages
from tests.properties.strategies import bernoullis, discrete_rewards, given_logits, groups, tables
from tests.tolerances import IDENTITY, assert_identity

NAMES = ("plus", "minus", "plus_sq", "minus_sq")
small_groups = groups(st.integers(2, 5))


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, RewardLaw]:
    old = np.exp(SoftmaxPolicy(draw(given_logits(4, bound=6.0)).array).log_probs)
    return old, draw(discrete_rewards(len(old)))


def signs(a: np.ndarray) -> dict[str, np.ndarray]:
    plus, minus = np.maximum(a, 0), np.maximum(-a, 0)
    return {"plus": plus, "minus": minus, "plus_sq": plus**2, "minus_sq": minus**2}


def given_action(moments: AdvantageMoments, name: str, vocab: int) -> np.ndarray:
    return np.broadcast_to(moments.by_action(name), (vocab,))


def size_of(values: np.ndarray, advantage: GroupRelative) -> float:
    """A bound on |A| with its rounding: twice the largest reward, or under std scaling, where the spread is a difference of sums
    of squares, G times the square of the largest reward over the smallest difference."""
    top = float(np.max(np.abs(values)))
    return 2 * top if advantage.scale == "none" else advantage.size * (1 + top / float(np.min(np.diff(values)))) ** 2


@given(cases(), small_groups)
def test_group_moments_are_those_of_every_group(case, advantage) -> None:
    """All (levels)^G reward vectors with their probabilities: moments of one sample given its action, and of a pair by level."""
    old, reward = case
    levels, given_a = reward.levels, np.broadcast_to(reward.level_probs, (len(old), len(reward.levels)))
    law, n = old @ given_a, len(reward.levels)
    index = np.indices((n,) * advantage.size).reshape(advantage.size, -1).T
    a = group_advantages(advantage, levels[index], 0.0)
    rest, rest_pair = np.prod(law[index[:, 1:]], axis=1), np.prod(law[index[:, 2:]], axis=1)
    moments, size = advantage.moments(reward, old), size_of(levels, advantage)
    for name, value in signs(a[:, 0]).items():
        by_level = np.bincount(index[:, 0], weights=rest * value, minlength=n)
        assert_identity(
            given_action(moments, name, len(old)), given_a @ by_level, np.full(len(old), size ** (1 + ("sq" in name)))
        )
    first, second = signs(a[:, 0]), signs(a[:, 1])
    cell = index[:, 0] * n + index[:, 1]
    for name, (x, y) in {
        "plus_plus": ("plus", "plus"),
        "minus_minus": ("minus", "minus"),
        "plus_minus": ("plus", "minus"),
    }.items():
        table = np.bincount(cell, weights=rest_pair * first[x] * second[y], minlength=n * n).reshape(n, n)
        expected = table if moments.action_dependent else (law @ table @ law).reshape(1, 1)
        assert_identity(getattr(moments.pair, name), expected, np.full(expected.shape, size**2))


@given(cases())
def test_independent_moments(case) -> None:
    old, reward = case
    given_a = np.broadcast_to(reward.level_probs, (len(old), len(reward.levels)))
    mean = math.fsum((old @ given_a) * reward.levels)
    size = 2 * float(np.max(np.abs(reward.levels)))
    moments = Independent().moments(reward, old)
    assert moments.pair is None
    for name, value in signs(reward.levels - mean).items():
        assert_identity(given_action(moments, name, len(old)), given_a @ value, np.full(len(old), size ** (1 + ("sq" in name))))


@given(cases(), groups(st.integers(2, 9)))
def test_a_groups_advantages_sum_to_zero_so_pairs_are_anticorrelated(case, advantage) -> None:
    """E[A] = 0 and E[A_i A_j] = -m2/(G-1), whatever the scale; independent advantages only have E[A] = 0."""
    old, reward = case
    size = size_of(reward.levels, advantage)
    for chosen in (advantage, Independent()):
        m = chosen.moments(reward, old)
        mean = old @ given_action(m, "plus", len(old)) - old @ given_action(m, "minus", len(old))
        assert_identity(mean, 0.0, 4 * size)
    m = advantage.moments(reward, old)
    m2 = old @ given_action(m, "plus_sq", len(old)) + old @ given_action(m, "minus_sq", len(old))
    law = old @ m.level_probs if m.action_dependent else np.ones(1)
    pair = m.pair.plus_plus + m.pair.minus_minus - m.pair.plus_minus - m.pair.plus_minus.T
    assert_identity(law @ pair @ law, -m2 / (advantage.size - 1), 4 * size**2)


rewards_of_groups = hnp.arrays(float, st.tuples(st.integers(1, 3), st.integers(2, 9)), elements=st.floats(-1e3, 1e3, width=32))


@given(rewards_of_groups, st.sampled_from(["none", "std"]), st.sampled_from([0, 1]), st.sampled_from([0.0, 1e-4, 0.1]))
def test_advantages_of_any_rewards(rewards, scale, ddof, eps) -> None:
    g = rewards.shape[-1]
    advantage = GroupRelative(g, scale, ddof, eps)
    a, centred = advantage.of_rewards(rewards), rewards - rewards.mean(-1, keepdims=True)
    expected = group_advantages(advantage, rewards, 0.0).reshape(a.shape)
    spread, top = np.ptp(rewards, axis=-1, keepdims=True), np.abs(rewards).max(axis=-1, keepdims=True)
    # Rounding of the mean, relative to the spread: |A| <= sqrt(G) under std scaling, |r| without.
    size = np.broadcast_to(top if scale == "none" else np.sqrt(g) * g * (1 + top / np.where(spread > 0, spread, 1)), a.shape)
    assert_identity(a, expected, size)
    assert_identity(a.sum(-1), np.zeros(len(a)), g * size[:, 0])
    flat = spread[:, 0] == 0
    assert not np.any(a[flat])
    assert np.all(np.sign(a)[~flat] * np.sign(centred)[~flat] >= 0)
    if scale == "std" and eps == 0:
        assert_identity((a[~flat] ** 2).sum(-1), np.full((~flat).sum(), float(g - ddof)), 2 * g * size[~flat, 0] ** 2)


@given(bernoullis, st.integers(2, 64), st.sampled_from([0, 1]), st.sampled_from([0.0, 1e-6, 0.1]))
def test_bernoulli_groups_in_closed_form(reward: Bernoulli, g, ddof, eps) -> None:
    """T7's binomial sums: k ~ Bin(G, p) ones in the group."""
    p, q, k = reward.p, 1 - reward.p, np.arange(g + 1)
    old = np.array([0.5, 0.5])
    chance = np.array([math.comb(g, j) * p**j * q ** (g - j) for j in k])
    plain = GroupRelative(g).moments(reward, old)
    assert_identity([plain.plus[0], plain.minus[0]], np.full(2, p * q * (g - 1) / g), np.ones(2))
    s = np.sqrt(k * (g - k) / (g * (g - ddof)))
    factor = np.where(s > 0, s / np.where(s > 0, s + eps, 1), 0)  # A = (1 - k/G)/(s + eps) for a one
    m = GroupRelative(g, "std", ddof, eps).moments(reward, old)
    with_eps = np.where(s > 0, s + eps, np.inf)
    a_one, a_zero = (1 - k / g) / with_eps, k / g / with_eps
    assert_identity(m.plus[0], chance @ (k / g * a_one), g)
    assert_identity(m.minus[0], chance @ ((1 - k / g) * a_zero), g)
    assert_identity(m.plus_sq[0] + m.minus_sq[0], (g - ddof) / g * (chance @ factor**2), g**2)
    pp, mm = chance @ (k * (k - 1) * a_one**2), chance @ ((g - k) * (g - k - 1) * a_zero**2)
    pm = chance @ (k * (g - k) * a_one * a_zero)
    got = [m.pair.plus_plus[0, 0], m.pair.minus_minus[0, 0], m.pair.plus_minus[0, 0]]
    assert_identity(got, np.array([pp, mm, pm]) / (g * (g - 1)), np.full(3, float(g**2)))


leggauss = functools.cache(np.polynomial.legendre.leggauss)


def legendre(f, low: float, high: float, nodes: int = 200) -> float:
    x, w = leggauss(nodes)
    half = (high - low) / 2
    return float(half * np.sum(w * f(low + half * (x + 1))))


@given(
    st.floats(0.01, 5),
    st.floats(-3, 3),
    st.integers(2, 40),
    st.sampled_from(["none", "std"]),
    st.sampled_from([0, 1]),
    st.sampled_from([0.0, 0.01, 0.5]),
)
def test_gaussian_groups_by_quadrature(std, mean, g, scale, ddof, eps) -> None:
    """A is its direction, uniform on the sphere of dimension G - 2, times a length; angles integrate by Gauss-Legendre."""
    m = GroupRelative(g, scale, ddof, eps).moments(Gaussian(mean, std), np.array([0.5, 0.5]))
    n = g - 1
    # Length x of the centred rewards over std: chi of n degrees, log density up to a constant. In t = log x the layer x ~ eps,
    # where the scaled length bends, is as wide as any other; below 1e-16 there is less than that of probability.
    bottom, top = math.log(1e-16), math.log(math.sqrt(n) + 14)
    shift = max(n - 1, 0) / 2 * math.log(max(n - 1, 1)) - max(n - 1, 0) / 2

    def chi(x: np.ndarray) -> np.ndarray:
        return np.exp((n - 1) * np.log(x) - x**2 / 2 - shift)

    def length(power: int) -> float:
        unit = std / math.sqrt(g - ddof)
        scaled = (lambda x: std * x) if scale == "none" else (lambda x: math.sqrt(g - ddof) * unit * x / (unit * x + eps))
        whole = legendre(lambda t: chi(np.exp(t)) * np.exp(t), bottom, top, 600)
        return legendre(lambda t: chi(np.exp(t)) * np.exp(t) * scaled(np.exp(t)) ** power, bottom, top, 600) / whole

    # One coordinate of the direction: sqrt((G-1)/G) cos alpha with density sin^(n-2) alpha.
    cosine = 1.0
    if n > 1:
        cosine = legendre(lambda x: np.cos(x) * np.sin(x) ** (n - 2), 0, math.pi / 2) / legendre(
            lambda x: np.sin(x) ** (n - 2), 0, math.pi / 2
        )
    # The package integrates the length by an adaptive rule asked for 1e-12 where eps > 0; closed forms otherwise.
    accuracy = 1e-12 / IDENTITY["float64"] + 16.0 if eps and scale == "std" else 16.0
    mean_abs = math.sqrt((g - 1) / g) * cosine * length(1)
    assert_identity([m.plus[0], m.minus[0]], np.full(2, mean_abs / 2), np.full(2, accuracy * mean_abs))
    m2 = length(2) / g
    assert_identity([m.plus_sq[0], m.minus_sq[0]], np.full(2, m2 / 2), np.full(2, accuracy * m2))
    # Two coordinates at the angle arccos(-1/(G-1)): E[X+ Y+] = m2/pi times the overlap of two half circles.
    angle = math.acos(-1 / (g - 1))

    def overlap(other: float) -> float:
        if other - math.pi / 2 >= math.pi / 2 - 1e-12:
            return 0.0
        return legendre(lambda x: np.cos(x) * np.cos(x - other), other - math.pi / 2, math.pi / 2, 40) / math.pi

    got = [m.pair.plus_plus[0, 0], m.pair.minus_minus[0, 0], m.pair.plus_minus[0, 0]]
    expected = m2 * np.array([overlap(angle), overlap(angle), overlap(math.pi - angle)])
    # rho near -1 at G = 2: arccos loses half the digits of 1 + rho, but its value pi is exact there.
    assert_identity(got, expected, np.full(3, accuracy * m2))
    if scale == "none" or eps == 0:
        assert_identity(got[0] + got[1] - 2 * got[2], -m2 / (g - 1), accuracy * m2)


@given(st.integers(-3, 7), small_groups, tables(3))
@example(7, GroupRelative(4, "std"), TableReward((0.0, 1.0, 1.0)))
def test_moments_of_a_group_ignore_a_common_shift_of_the_rewards(shift, advantage, table) -> None:
    """Group-relative advantages are differences: rewards of 1000 and 1001 are those of 0 and 1."""
    moved = TableReward(tuple(v + 10.0**shift for v in table.values))
    old = np.array([0.2, 0.5, 0.3])
    a, b = advantage.moments(table, old), advantage.moments(moved, old)
    # The rewards themselves are rounded, relative to their smallest difference under std scaling, where |A| <= sqrt(G).
    values = np.asarray(moved.levels)
    top = float(np.max(np.abs(values)))
    size = 2 * top if advantage.scale == "none" else advantage.size * (1 + top / float(np.min(np.diff(values))))
    for name in NAMES:
        assert_identity(b.by_action(name), a.by_action(name), np.full(3, 4 * size * (1 + size_of(table.levels, advantage))))


@given(st.sampled_from([1e-3, 1e-5, 1e-7]), st.sampled_from([0, 1]))
@example(1e-7, 0)
def test_std_moments_see_any_difference_of_rewards(gap, ddof) -> None:
    """A pair of unequal rewards has advantages +-1 (ddof 0), however close they are beside a third reward."""
    m = GroupRelative(2, "std", ddof).moments(TableReward((0.0, gap, 1.0)), np.array([0.4, 0.4, 0.2]))
    # E[A+ | a]: the chance that the other sample's reward is lower; rounding relative to the smallest difference.
    assert_identity(m.by_action("plus"), np.array([0.0, 0.4, 0.8]) * math.sqrt((2 - ddof) / 2), np.full(3, 8 / gap))


@given(cases(), small_groups)
def test_mirrored_rewards_exchange_the_signs(case, advantage) -> None:
    """A -> -A exchanges M+ with M-, their squares, and ++ with --."""
    old, reward = case
    if isinstance(reward, TableReward):
        mirrored: RewardLaw = TableReward(tuple(-v for v in reward.values))
    else:
        mirrored = Rademacher() if isinstance(reward, Rademacher) else Bernoulli(1 - reward.p)
    for chosen in (advantage, Independent()):
        a, b = chosen.moments(reward, old), chosen.moments(mirrored, old)
        size = size_of(reward.levels, advantage)
        for x, y in (("plus", "minus"), ("minus", "plus"), ("plus_sq", "minus_sq"), ("minus_sq", "plus_sq")):
            assert_identity(a.by_action(x), b.by_action(y), np.full(a.by_action(x).shape, size**2))
        if a.pair is not None:  # the mirrored levels are in the opposite order
            shape = a.pair.plus_plus.shape
            assert_identity(a.pair.plus_plus, b.pair.minus_minus[::-1, ::-1], np.full(shape, size**2))
            assert_identity(a.pair.plus_minus, b.pair.plus_minus[::-1, ::-1].T, np.full(shape, size**2))


@given(st.lists(st.floats(0.05, 1), min_size=2, max_size=4), small_groups)
def test_moments_of_contexts_are_those_of_each_alone(weights, advantage) -> None:
    """Two contexts at once (..., V) give the rows that each gives alone."""
    p = np.array(weights) / np.sum(weights)
    both = np.stack([p, p[::-1]])
    reward = TableReward(tuple(float(k) for k in range(len(p))))
    for chosen in (advantage, Independent()):
        together = chosen.moments(reward, both)
        for row, name in itertools.product(range(2), NAMES):
            alone = chosen.moments(reward, both[row]).by_action(name)
            assert_identity(together.by_action(name)[row], alone, np.full(len(p), size_of(reward.levels, advantage) ** 2))
