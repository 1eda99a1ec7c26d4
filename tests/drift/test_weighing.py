"""What samples weigh, by action and by the value of the advantage: against sums over the samples one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from entclip.drift.weighing import ByAction, ByLevel, BySequence, SeenLevels, weighing_of
from entclip.objectives.base import Change, Keep, Objective, SignedGains, View
from entclip.policies.softmax import Geometry, log_softmax
from entclip.rewards.levels import LevelLaw
from tests.tolerances import assert_identity

VALUES = np.array([-1.5, 0.0, 0.5, 2.0])
# (action, index of the value) of each sample of a minibatch, in which one action of three is never drawn
SAMPLES = [(0, 0), (0, 0), (0, 3), (1, 2), (1, 2), (1, 1), (0, 2)]
B = len(SAMPLES)
CHANCES = np.array([[0.2, 0.6, 0.1], [0.3, 0.0, 0.5], [0.1, 0.1, 0.2], [0.4, 0.3, 0.2]])  # P(value | action)
KEEP = Keep(np.array([0.5, 0.8, 1.0]), np.array([0.9, 0.25, 0.6]))
LOW, HIGH = np.array([True, False, False]), np.array([False, True, False])
RNG = np.random.default_rng(2)


def change_of(extra: bool, shape: tuple[int, ...] = (3,)) -> Change:
    """Gains and extra weights that no objective made, for actions or for values and actions."""
    gains, extras = RNG.uniform(0.2, 1.5, (2, *shape)), RNG.normal(size=(2, *shape))
    change = Change.of(*gains, LOW & np.ones(shape, bool), HIGH & np.ones(shape, bool))
    return replace(change, extra_plus=extras[0], extra_minus=extras[1]) if extra else change


def one(change: Change, value: float, at: tuple[int, ...]) -> float:
    """c/r of a sample: A+ g + x or -A- g + x by the sign of A; 0 where A is 0."""
    if value == 0:
        return 0.0
    gain, extra = (change.gains.plus, change.extra_plus) if value > 0 else (change.gains.minus, change.extra_minus)
    return float(value * gain[at] + (0.0 if extra is None else extra[at]))


def by_action() -> SimpleNamespace:
    """A+ and A- over B and counts of the signs, of each action."""
    plus, minus, n_plus, n_minus = np.zeros((4, 3))
    for a, level in SAMPLES:
        plus[a] += max(VALUES[level], 0) / B
        minus[a] += max(-VALUES[level], 0) / B
        n_plus[a] += VALUES[level] > 0
        n_minus[a] += VALUES[level] < 0
    counts = np.zeros((4, 3))
    for a, level in SAMPLES:
        counts[level, a] += 1
    return SimpleNamespace(plus=plus, minus=minus, n_plus=n_plus, n_minus=n_minus, levels=counts)


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("keep", [None, KEEP])
@pytest.mark.parametrize("levels", [False, True])
def test_samples_weigh_what_each_of_them_does(extra: bool, keep: Keep | None, levels: bool) -> None:
    change = change_of(extra, (4, 3) if levels else (3,))
    seen = SeenLevels(VALUES[:, None], CHANCES)
    parts, total = (ByLevel(change, keep, seen) if levels else ByAction(change, keep)).realised(by_action(), B)
    want, before, clipped = np.zeros(3), np.zeros(3), {"clip_low": np.zeros(3), "clip_high": np.zeros(3)}
    for a, level in SAMPLES:
        value, at = VALUES[level], (level, a) if levels else (a,)
        want[a] += one(change, value, at) / B
        before[a] += value / B / (1.0 if keep is None else keep.plus[a] if value > 0 else keep.minus[a])
        gain = (change.gains.plus if value > 0 else change.gains.minus)[at]
        if (value > 0 and HIGH[a]) or (value < 0 and LOW[a]):
            clipped["clip_high" if value > 0 else "clip_low"][a] += value * (gain - 1) / B
    terms = np.full(3, 10.0)
    assert_identity(total, want, terms)
    assert_identity(sum(parts.values()), want, terms)
    assert_identity(parts["unclipped"], before, terms)
    for name, value in clipped.items():
        assert_identity(parts[name], value, terms)


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("levels", [False, True])
def test_the_positive_samples_weigh_what_each_of_them_does(extra: bool, levels: bool) -> None:
    change, want = change_of(extra, (4, 3) if levels else (3,)), np.zeros(3)
    weighing = ByLevel(change, None, SeenLevels(VALUES[:, None], CHANCES)) if levels else ByAction(change, None)
    for a, level in SAMPLES:
        if VALUES[level] > 0:
            want[a] += one(change, VALUES[level], (level, a) if levels else (a,)) / B
    assert_identity(weighing.of_positive(by_action(), B), want, np.full(3, 10.0))


@pytest.mark.parametrize("joint", [False, True])
def test_a_bonus_stands_beside_the_samples(joint: bool) -> None:
    """Its whole weight, whatever its causes; None where there is none."""
    groups = (np.array([3, 0]), np.ones((2, 3)), np.ones((1, 2, 2))) if joint else ()
    seen, change = SeenLevels(VALUES[:, None], CHANCES, None, *groups), change_of(True, (4, 3))
    assert ByLevel(change, None, seen).of_a_sample(None).bonus is None
    both = replace(change, bonus={"bonus": np.array([0.5, 1.0, -2.0]), "kl_term": np.array([0.25, 0.0, 1.0])})
    sample = ByLevel(both, None, seen).of_a_sample(None)
    assert sample.bonus.tolist() == [0.75, 1.0, -1.0]
    assert sample.by_sign.keys() == ({"weight"} if joint else set())


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_a_set_that_differs_by_value_has_each_value_by_its_chance(geometry: Geometry) -> None:
    """pi of (value, action) in LOW, in HIGH, and their sum of pi kappa less its mean times pi of the set."""
    log_p = log_softmax(np.array([0.4, -0.3, 0.8]))
    p, low, high = np.exp(log_p), RNG.random((4, 3)) < 0.5, RNG.random((4, 3)) < 0.5
    change = replace(change_of(False, (4, 3)), low=low, high=high)
    found = ByLevel(change, None, SeenLevels(VALUES[:, None], CHANCES)).sets(log_p, geometry)
    surprisal = -log_p
    kappa = surprisal if geometry == "natural" else p * (surprisal - p @ surprisal)
    for side, mass, value in ((low, found.pi_low, found.mass_low), (high, found.pi_high, found.mass_high)):
        of = [(p[a] * CHANCES[k, a], kappa[a] - p @ kappa) for k in range(4) for a in range(3) if side[k, a]]
        assert_identity(mass, sum(c for c, _ in of), 10.0)
        assert_identity(value, sum(c * x for c, x in of), 10.0)


def test_weights_are_of_the_dtype_of_the_values() -> None:
    half = [x.astype(np.float32) for x in (VALUES[:, None], CHANCES)]
    seen = SeenLevels(*half, None, np.array([3, 0]), np.ones((2, 3), np.float32), np.ones((1, 2, 2), np.float32))
    change, ones = change_of(False, (4, 3)), np.ones((4, 3), np.float32)
    change = replace(change, gains=SignedGains(ones, ones, ones, ones))
    sums = SimpleNamespace(levels=ones)
    assert {seen.by_action(name).dtype for name in ("plus", "share_plus", "minus_sq")} == {np.dtype("float32")}
    assert {x.dtype for x in ByLevel(change, None, seen).counts(sums).values()} == {np.dtype("float32")}
    with_extra = replace(change, extra_plus=ones, extra_minus=ones)
    assert {x.dtype for x in ByLevel(with_extra, None, seen).of_a_sample(None).by_sign["weight"]} == {np.dtype("float32")}


@pytest.mark.parametrize("units", [(), ("values",), ("chances", "shares"), ("joint",), ("values", "chances", "shares", "joint")])
@pytest.mark.parametrize("lead", [(2,), (2, 1)])
def test_a_law_is_set_beside_the_policies(lead: tuple[int, ...], units: tuple[str, ...]) -> None:
    """Value by value on a first axis, whether a table is one of two units' own or of both."""
    shapes = {"values": (4,), "chances": (3, 4), "shares": (3, 5), "joint": (5, 5)}
    tables = {name: RNG.random((2 if name in units else 1, *shape)) for name, shape in shapes.items()}
    law = LevelLaw(**tables, rewards=np.array([0.0, 1.0, 2.0, 3.0]), index=np.arange(5))
    seen, probs = SeenLevels.of(law, lead), np.zeros((4, *lead, 3))
    assert np.broadcast_shapes(seen.values.shape, seen.chances.shape, probs.shape) == probs.shape
    assert seen.rewards.reshape(4).tolist() == [0.0, 1.0, 2.0, 3.0]
    assert seen.rewards.shape == (4, *(1,) * len(lead), 1)
    assert seen.index is law.index
    values, chances = (np.broadcast_to(x, probs.shape).reshape(4, 2, 3) for x in (seen.values, seen.chances))
    shares = np.broadcast_to(seen.shares, (5, *lead, 3)).reshape(5, 2, 3)
    assert seen.joint.ndim == len(lead) + 3  # an axis for actions
    joint = np.broadcast_to(seen.joint, (*lead, 1, 5, 5)).reshape(2, 5, 5)
    for u in range(2):
        of = {name: table[u if len(table) == 2 else 0] for name, table in tables.items()}
        assert np.array_equal(values[:, u, 0], of["values"])
        assert np.array_equal(chances[:, u], of["chances"].T)
        assert np.array_equal(shares[:, u], of["shares"].T)
        assert np.array_equal(joint[u], of["joint"])
    own = SeenLevels.of(LevelLaw(tables["values"], tables["chances"], law.rewards), lead)
    view = own.seen_by(View.of(np.zeros(3), np.zeros(3)))
    for found in ((own.values, own.chances, own.rewards), (view.advantage, view.chances, view.rewards)):
        assert all(map(np.array_equal, found, (seen.values, seen.chances, seen.rewards)))
    assert (own.index, own.shares, own.joint) == (None,) * 3
    alone = SeenLevels.of(LevelLaw(tables["values"], tables["chances"]), lead)
    assert (alone.rewards, alone.index, alone.shares, alone.joint) == (None,) * 4
    bare = SeenLevels(alone.values, alone.chances)
    assert (bare.rewards, bare.index, bare.shares, bare.joint) == (None,) * 4


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("keep", [None, KEEP])
def test_a_sample_whose_advantage_has_values(extra: bool, keep: Keep | None) -> None:
    """E[c/r], E[(c/r)^2] and E[(c/r)^4] given the action, over every value, times its chance to survive."""
    change = change_of(extra, (4, 3))
    weighing = ByLevel(change, keep, SeenLevels(VALUES[:, None], CHANCES))
    mean, square, fourth = np.zeros((3, 3))
    for a in range(3):
        for level, value in enumerate(VALUES):
            kept = 1.0 if keep is None else keep.plus[a] if value > 0 else keep.minus[a]
            weight, chance = one(change, value, (level, a)), CHANCES[level, a]
            mean[a] += chance * kept * weight
            square[a] += chance * kept * weight**2
            fourth[a] += chance * weight**4
    sample = weighing.of_a_sample(None)
    assert_identity(sample.mean, mean, np.full(3, 20.0))
    assert_identity(sample.square, square, np.full(3, 50.0))
    assert_identity(sum(weighing.expected(None).values()), mean, np.full(3, 20.0))
    assert sample.pair is None
    if not extra:
        assert_identity(weighing.fourth_moment(None), fourth, np.full(3, 200.0))


def test_two_samples_of_a_group_join_by_their_values() -> None:
    """Mean weights of each pair of own reward and value, times its share given the action, beside their joint chances."""
    change = change_of(True, (4, 3))
    index, shares, joint = np.array([3, 0, 2]), RNG.random((3, 3)), RNG.random((1, 3, 3))
    levels = SeenLevels(VALUES[:, None], CHANCES, None, index, shares, joint)
    sample = ByLevel(change, KEEP, levels).of_a_sample(None)
    for k, level in enumerate(index):
        kept = KEEP.plus if VALUES[level] > 0 else KEEP.minus
        want = [kept[a] * one(change, VALUES[level], (level, a)) * shares[k, a] for a in range(3)]
        assert_identity(sample.by_sign["weight"][k], np.array(want), np.full(3, 10.0))
    assert sample.pair.joint is joint
    apart = ByLevel(change, KEEP, SeenLevels(VALUES[:, None], CHANCES)).of_a_sample(None)  # of one sample a group says nothing
    assert np.array_equal(sample.mean, apart.mean)
    assert np.array_equal(sample.square, apart.square)


def test_counts_are_those_of_the_samples_that_a_side_acts_on() -> None:
    change = replace(change_of(False, (4, 3)), gated=True)
    gains = change.gains._replace(plus=np.where(HIGH, 0.0, change.gains.plus))
    found = ByLevel(replace(change, gains=gains), None, SeenLevels(VALUES[:, None], CHANCES)).counts(by_action())
    want = {name: np.zeros(3) for name in found}
    for a, level in SAMPLES:
        value = VALUES[level]
        want["count_plus"][a] += value > 0
        want["count_minus"][a] += value < 0
        want["clip_count_low"][a] += value < 0 and LOW[a]
        want["clip_count_high"][a] += value > 0 and HIGH[a]
        want["removed_plus"][a] += value > 0 and HIGH[a]
    assert {k: v.tolist() for k, v in found.items()} == {k: v.tolist() for k, v in want.items()}


@dataclass
class Plain(Objective):
    def change(self, view: View) -> Change:
        one = np.ones(np.broadcast_shapes(view.ratio.shape, np.shape(view.advantage)))
        return Change.of(one, one, view.ratio < 0, view.ratio > 2)


@dataclass
class Coin(Plain):
    def change(self, view: View) -> Change:
        return replace(super().change(view), survival=Keep(np.full(3, 0.5), np.full(3, 0.25)))


def test_a_control_drops_what_the_objective_left_of_every_kind() -> None:
    log_p = log_softmax(np.array([0.1, -0.4, 0.2]))
    view = View.of(log_p, log_p)
    levels, sequences = SeenLevels(VALUES[:, None], CHANCES), SimpleNamespace(view=view)
    kinds = {ByAction: (None, None), ByLevel: (levels, None), BySequence: (None, sequences)}
    for kind, seen in kinds.items():
        weighing = weighing_of(Plain(), view, KEEP, *seen)
        assert type(weighing) is kind
        assert weighing.keep is KEEP
        assert weighing_of(Plain(), view, None, *seen).keep is None
    for seen in (kinds[ByAction], kinds[ByLevel]):
        both = weighing_of(Coin(), view, KEEP, *seen).keep
        assert both.plus.tolist() == (0.5 * KEEP.plus).tolist()
        assert both.minus.tolist() == (0.25 * KEEP.minus).tolist()
        assert weighing_of(Coin(), view, None, *seen).keep.plus.tolist() == [0.5] * 3
    assert weighing_of(Plain(), view, None, levels).levels is levels
