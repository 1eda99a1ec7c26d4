"""Weights of the tokens of whole sequences: against a walk over every sequence of two tokens."""

from __future__ import annotations

import itertools
import math
from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest

from entclip.drift.first_order import clip_set_stats
from entclip.drift.sequences import SeenSequences, gspo_drift, normal_clip_share, sequence_ratio
from entclip.drift.weighing import BySequence
from entclip.objectives.base import Change, Keep
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import log_softmax
from entclip.rewards.advantage import AdvantageMoments, PairMoments
from entclip.support.errors import SpecError
from tests.tolerances import assert_identity

V, N = 3, 4  # prefixes: the empty one, then each first token
TREE = PrefixTree(V, 2)
RNG = np.random.default_rng(4)
OLD = log_softmax(RNG.normal(size=(2, N, V)))
NEW = log_softmax(OLD + RNG.normal(0, 0.6, (2, N, V)))
SEEN = SeenSequences(TREE, NEW, OLD)


def test_tokens_that_nothing_reaches_have_no_weight() -> None:
    """A probability of exp(-800) is 0 in float64, and so is the chance of all that follows it."""
    new, old = NEW.copy(), OLD.copy()
    new[..., 0] = old[..., 0] = -800.0
    seen = SeenSequences(TREE, log_softmax(new), log_softmax(old))
    for found in (seen.mean(np.ones(seen.view.ratio.shape)), seen.share(np.ones(seen.view.ratio.shape))):
        assert found.dtype == np.float64
        assert np.all(np.isfinite(found))
        assert not np.any(found[..., 0])


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_gspo_takes_no_step_where_nothing_comes_by(geometry: str) -> None:
    """A first token of chance exp(-800): its prefix stays, and the others move as if it did not exist."""
    new, old = NEW.copy(), OLD.copy()
    new[:, 0, 2] = old[:, 0, 2] = -800.0
    new, old = log_softmax(new), log_softmax(old)
    up, down = np.linspace(0.1, 0.9, 9), np.linspace(0.7, 0.2, 9)
    given = {"low": 0.1, "high": 0.2, "learning_rate": 0.3, "geometry": geometry}
    found = gspo_drift(TREE, new, old, up, down, **given)
    other = gspo_drift(TREE, new, old, np.where(np.arange(9) < 6, up, 7.0), down, **given)
    assert np.all(np.isfinite(found))
    assert found.tolist() == other.tolist()
    assert found[:, 3].tolist() == [0.0, 0.0]
    assert np.all(found[:, :3] != 0)


@pytest.mark.parametrize(("length", "spread", "low", "high"), [(1, 0.25, 0.1, 0.2), (1, 0.3, 0.2, math.inf), (9, 0.5, 1.0, 0.3)])
def test_share_of_sequences_beyond_the_bounds(length: int, spread: float, low: float, high: float) -> None:
    """The chances of a normal mean log-ratio above log(1 + high) and below log(1 - low), half of each."""
    law = NormalDist(0.0, spread / math.sqrt(length))
    up = 1 - law.cdf(math.log1p(high)) if high < math.inf else 0.0
    down = law.cdf(math.log1p(-low)) if low < 1 else 0.0
    assert_identity(normal_clip_share(length, spread, low, high), (up + down) / 2, 1.0)


@pytest.mark.parametrize("spread", [0.0, -0.1, math.inf])
def test_a_spread_that_is_none_is_refused(spread: float) -> None:
    with pytest.raises(SpecError, match="positive and finite"):
        normal_clip_share(3, spread, 0.2, 0.2)


def test_gspo_keeps_a_ratio_on_its_bounds() -> None:
    chances = np.linspace(0.1, 0.4, TREE.vocab**TREE.length)
    tight, open_ = (
        gspo_drift(TREE, OLD, OLD, chances, chances[::-1], low=low, high=high, learning_rate=0.3, geometry="natural")
        for low, high in ((0.0, 0.0), (1.0, math.inf))
    )
    np.testing.assert_array_equal(tight, open_)


WALK = [(u, y, a, b) for u in range(2) for y, (a, b) in enumerate(itertools.product(range(V), repeat=2))]
GAINS, ADVANTAGES = RNG.uniform(0.2, 1.4, (2, 2, V * V, 2)), RNG.uniform(0.1, 2.0, (2, 2, V * V))
SIDES = RNG.random((2, 2, V * V, 2)) < 0.4


def places(a: int, b: int) -> list[tuple[int, int, int]]:
    """The tokens of a sequence: which of it, its prefix, itself."""
    return [(0, 0, a), (1, 1 + a, b)]


def ratio_of(u: int, a: int, b: int) -> float:
    """s = exp of the mean log-ratio of the two tokens."""
    return float(np.exp((NEW[u, 0, a] - OLD[u, 0, a] + NEW[u, 1 + a, b] - OLD[u, 1 + a, b]) / 2))


def test_the_view_has_an_entry_for_each_token_of_each_sequence() -> None:
    view = SEEN.view
    assert_identity(
        sequence_ratio(TREE, NEW, OLD),
        np.array([ratio_of(u, a, b) for u, _, a, b in WALK]).reshape(2, -1),
        np.full((2, V * V), 10.0),
    )
    for u, y, a, b in WALK:
        for t, prefix, token in places(a, b):
            assert_identity(view.ratio[u, y, t], ratio_of(u, a, b), 10.0)
            assert view.log_probs[u, y, t] == NEW[u, prefix, token]
            assert_identity(view.old_probs[u, y, t], np.exp(OLD[u, prefix, token]), 1.0)
            assert view.share[u, y, t] == 0.5


def test_moments_of_a_token_are_means_over_the_sequences_through_it() -> None:
    """E[(c/r)^n | prefix, token] of c = s A g/length, and the chance that its sequence has a property of the token."""
    reach, share = np.zeros((2, N, V)), np.zeros((2, N, V))
    powers = {n: np.zeros((2, N, V)) for n in (1, 2, 4)}
    for u, y, a, b in WALK:
        chance = np.exp(OLD[u, 0, a] + OLD[u, 1 + a, b])
        for t, prefix, token in places(a, b):
            reach[u, prefix, token] += chance
            share[u, prefix, token] += chance * SIDES[0, u, y, t]
            r = np.exp(NEW[u, prefix, token] - OLD[u, prefix, token])
            for n, total in powers.items():
                total[u, prefix, token] += chance * (ratio_of(u, a, b) * GAINS[0, u, y, t] / 2 / r) ** n
    for n, total in powers.items():
        assert_identity(SEEN.mean(GAINS[0] ** n, n), total / reach, 100 * total / reach)
    assert_identity(SEEN.share(SIDES[0].astype(float)), share / reach, np.full(reach.shape, 10.0))


def test_drawn_sequences_weigh_what_their_tokens_do() -> None:
    keep = Keep(0.8, 0.3)
    change = Change.of(*GAINS, *SIDES)
    sums = SimpleNamespace(
        plus=ADVANTAGES[0], minus=ADVANTAGES[1], n_plus=np.round(3 * ADVANTAGES[0]), n_minus=np.round(5 * ADVANTAGES[1])
    )
    parts, total = BySequence(change, keep, SEEN).realised(sums, 1)
    counts = BySequence(change, keep, SEEN).counts(sums)
    want, before, low, clipped = np.zeros((4, 2, N, V))
    for u, y, a, b in WALK:
        for t, prefix, token in places(a, b):
            scale = ratio_of(u, a, b) / 2 / np.exp(NEW[u, prefix, token] - OLD[u, prefix, token])
            up, down = ADVANTAGES[0][u, y], ADVANTAGES[1][u, y]
            want[u, prefix, token] += scale * (up * GAINS[0, u, y, t] - down * GAINS[1, u, y, t])
            before[u, prefix, token] += scale * (up / 0.8 - down / 0.3)
            low[u, prefix, token] += scale * down * (1 - GAINS[1, u, y, t]) * SIDES[0, u, y, t]
            clipped[u, prefix, token] += sums.n_minus[u, y] * SIDES[0, u, y, t]
    terms = np.full(want.shape, 100.0)
    assert_identity(total, want, terms)
    assert_identity(sum(parts.values()), want, terms)
    assert_identity(parts["unclipped"], before, terms)
    assert_identity(parts["clip_low"], low, terms)
    assert_identity(counts["clip_count_low"], clipped, terms)


def test_a_token_whose_ratio_is_no_float_does_not_move() -> None:
    new = NEW.copy()
    new[:, 0, 0] = -2000.0
    seen = SeenSequences(TREE, new, OLD)
    assert seen.drawn(np.ones((2, V * V, 2)))[:, 0, 0].tolist() == [0.0, 0.0]
    assert np.all(np.isfinite(seen.mean(np.ones((2, V * V, 2)))))


# The advantage given the reward of a sequence, which has one of two levels: values of A and their chances, for either unit.
LEVELS = RNG.dirichlet([1.0, 1.0], V * V)  # chance of each level given the sequence
VALUES, CHANCES = RNG.normal(size=(2, 2, 4)), RNG.dirichlet(np.ones(4), (2, 2))  # unit, level, value
NAMES = ("plus", "minus", "plus_sq", "minus_sq", "plus_fourth", "minus_fourth", "share_plus", "share_minus")


def given_level(name: str) -> np.ndarray:
    """E[A+^n | level], E[A-^n | level] or the chance of a sign, (2, 1, 2): units, an axis for prefixes, levels."""
    size = np.maximum(VALUES if "plus" in name else -VALUES, 0)
    power = {"sq": 2, "fourth": 4}.get(name.rpartition("_")[2], 1)
    return np.sum(CHANCES * (size > 0 if name.startswith("share") else size**power), axis=-1)[:, None, :]


PAIR = PairMoments(*RNG.random((10, 2, 2)))
MOMENTS = AdvantageMoments(LEVELS, *map(given_level, NAMES), pair=PAIR)


@pytest.mark.parametrize("keep", [None, Keep(0.8, 0.3)])
def test_a_sample_is_a_sequence_of_the_old_policy(keep: Keep | None) -> None:
    """What T5 and T8 need of it, summed over every sequence and every value of its advantage."""
    change, (k_plus, k_minus) = Change.of(*GAINS, *SIDES), keep or (1.0, 1.0)
    weighing = BySequence(change, keep, SEEN)
    reach, mean, square, fourth, low, high = np.zeros((6, 2, N, V))
    by_sign = {name: np.zeros((2, 2, N, V)) for name in ("plus", "minus")}  # level first
    for u, y, a, b in WALK:
        chance = np.exp(OLD[u, 0, a] + OLD[u, 1 + a, b])
        for t, prefix, token in places(a, b):
            at, (up, down) = (u, prefix, token), GAINS[:, u, y, t]
            scale = ratio_of(u, a, b) / 2 / np.exp(NEW[at] - OLD[at])
            reach[at] += chance
            low[at] += chance * SIDES[0, u, y, t]
            high[at] += chance * SIDES[1, u, y, t]
            for level in range(2):
                by_sign["plus"][level][at] += chance * LEVELS[y, level] * k_plus * scale * up
                by_sign["minus"][level][at] += chance * LEVELS[y, level] * k_minus * scale * down
                for value, of in zip(VALUES[u, level], CHANCES[u, level], strict=True):
                    c, kept = scale * value * (up if value > 0 else down), k_plus if value > 0 else k_minus
                    mean[at] += chance * LEVELS[y, level] * of * kept * c
                    square[at] += chance * LEVELS[y, level] * of * kept * c**2
                    fourth[at] += chance * LEVELS[y, level] * of * c**4
    terms, sample = np.full(reach.shape, 100.0), weighing.of_a_sample(MOMENTS)
    assert_identity(sample.mean, mean / reach, terms)
    assert_identity(sample.square, square / reach, terms)
    assert_identity(sum(weighing.expected(MOMENTS).values()), mean / reach, terms)
    assert_identity(weighing.fourth_moment(MOMENTS), fourth / reach, 10 * terms)
    assert sample.by_sign.keys() == by_sign.keys()
    for name, levels in by_sign.items():
        assert len(sample.by_sign[name]) == 2
        for got, want in zip(sample.by_sign[name], levels, strict=True):
            assert_identity(got, want / reach, terms)
    for name, table in vars(PAIR).items():
        assert getattr(sample.pair, name).tolist() == [table.tolist()]  # an axis for actions
    for geometry in ("natural", "euclidean"):
        masks = Change.of(*np.ones((2, 2, N, V)), low / reach, high / reach)
        for got, want in zip(weighing.sets(NEW, geometry), clip_set_stats(masks, NEW, geometry), strict=True):
            assert_identity(got, want, np.full(got.shape, 10.0))


def test_of_independent_sequences_no_two_are_of_one_group() -> None:
    moments = AdvantageMoments(LEVELS, *map(given_level, NAMES))
    assert BySequence(Change.of(*GAINS, *SIDES), None, SEEN).of_a_sample(moments).pair is None


def test_moments_of_one_context_have_no_axis_of_prefixes() -> None:
    with_axis, without = (AdvantageMoments(LEVELS, *(given_level(x)[1][lead] for x in NAMES)) for lead in (slice(None), 0))
    weighing = BySequence(Change.of(*GAINS, *SIDES), None, SEEN)
    for got, want in zip(*(weighing.expected(m).values() for m in (without, with_axis)), strict=True):
        assert np.array_equal(got, want)


def test_positive_sequences_are_those_with_a_positive_advantage() -> None:
    sums = SimpleNamespace(plus=ADVANTAGES[0], minus=ADVANTAGES[1])
    only = SimpleNamespace(plus=ADVANTAGES[0], minus=0 * ADVANTAGES[1])
    weighing = BySequence(Change.of(*GAINS, *SIDES), None, SEEN)
    assert_identity(weighing.of_positive(sums, 1), weighing.realised(only, 1)[1], np.full((2, N, V), 10.0))
