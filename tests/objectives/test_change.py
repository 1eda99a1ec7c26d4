"""The parts of a Change: of some actions, its smooth pieces, and weights far beyond float64's square root."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from entclip.objectives.base import Change, Keep, SignedGains, View
from tests.tolerances import assert_identity

N = 7
RNG = np.random.default_rng(5)
LOW, HIGH, BEYOND = (RNG.random(N) < 0.5 for _ in range(3))


def whole() -> Change:
    """A change with every part, all of them different."""
    plus, minus, extra_plus, extra_minus, kept_plus, kept_minus, bonus, pull = RNG.random((8, N))
    return replace(
        Change.of(plus, minus, LOW, HIGH, gated=False, jumps=(BEYOND,)),
        extra_plus=extra_plus,
        extra_minus=extra_minus,
        survival=Keep(kept_plus, kept_minus),
        bonus={"bonus": bonus, "kl_term": pull},
    )


def test_of_some_actions_is_every_part_at_those() -> None:
    change, some = whole(), slice(2, 5)
    got = change.at(some)
    for name in SignedGains._fields:
        assert getattr(got.gains, name).tolist() == getattr(change.gains, name)[some].tolist()
    for name in ("low", "high", "extra_plus", "extra_minus"):
        assert getattr(got, name).tolist() == getattr(change, name)[some].tolist()
    assert [x.tolist() for x in got.jumps] == [BEYOND[some].tolist()]
    assert [x.tolist() for x in got.survival] == [x[some].tolist() for x in change.survival]
    assert {k: x.tolist() for k, x in got.bonus.items()} == {k: x[some].tolist() for k, x in change.bonus.items()}
    assert got.gated is False
    assert len(fields(Change)) == 9  # a new part must be cut, too


def test_of_some_actions_leaves_out_what_is_not_there() -> None:
    plain = Change.of(np.ones(N), np.ones(N), LOW, HIGH).at(slice(1, 3))
    assert (plain.extra_plus, plain.extra_minus, plain.survival, plain.bonus, plain.jumps) == (None, None, None, {}, ())
    assert plain.gated is True


def test_pieces_are_told_apart_by_every_mask() -> None:
    masks = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)], bool).T
    pieces = Change.of(np.ones(8), np.ones(8), masks[0], masks[1], jumps=(masks[2],)).piece
    assert sorted(pieces.tolist()) == list(range(8))


def test_the_whole_bonus_is_the_sum_of_its_causes() -> None:
    change = whole()
    assert_identity(change.bonus_weights, change.bonus["bonus"] + change.bonus["kl_term"], 2.0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_squares_are_held_where_they_would_leave_the_dtype(dtype: type) -> None:
    top = np.finfo(dtype).max
    gains = np.array([0.5, 3.0, top / 2, -top / 2], dtype)
    none = np.zeros(4, bool)
    change = Change.of(gains, gains[::-1].copy(), none, none)
    for square, gain in ((change.gains.plus_sq, gains), (change.gains.minus_sq, gains[::-1])):
        small = np.abs(gain) < 10
        assert square[small].tolist() == (gain[small] ** 2).tolist()
        assert np.all(np.isfinite(square))
        assert np.all(square[~small] > 0.98 * top)
        assert square.dtype == dtype
    assert change.gains.plus.tolist() == gains.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_drops_keep_what_may_survive_and_take_out_what_never_does(dtype: type) -> None:
    """A sample that never survives has neither gains nor extra weights, and no coin: its chance stands as 1."""
    change = whole()
    change = replace(change, gains=SignedGains(*(g.astype(dtype) for g in change.gains)))
    plus, minus = np.array([[0, 0.5, 1, 0.25, 0, 1, 0.1], [1, 0, 0.3, 0, 0, 0.5, 1]], dtype)
    got, plain = change.with_drops(plus, minus), replace(change, extra_plus=None, extra_minus=None).with_drops(plus, minus)
    for some in (got, plain):
        for name, chance in (("plus", plus), ("plus_sq", plus), ("minus", minus), ("minus_sq", minus)):
            gain = getattr(some.gains, name)
            assert gain.tolist() == np.where(chance > 0, getattr(change.gains, name), 0).tolist()
            assert gain.dtype == dtype
        assert some.survival.plus.tolist() == np.where(plus > 0, plus, 1).tolist()
        assert some.survival.minus.tolist() == np.where(minus > 0, minus, 1).tolist()
    assert got.extra_plus.tolist() == np.where(plus > 0, change.extra_plus, 0).tolist()
    assert got.extra_minus.tolist() == np.where(minus > 0, change.extra_minus, 0).tolist()
    assert (plain.extra_plus, plain.extra_minus) == (None, None)
    assert got.bonus == change.bonus


def test_a_view_of_contexts_has_what_is_needed() -> None:
    log_probs = np.log([[0.2, 0.8], [0.5, 0.5]])
    plain = View.of(log_probs, log_probs[::-1])
    assert (plain.entropy, plain.old_entropy, plain.statistics, plain.reference) == (None, None, {}, None)
    asked = View.of(log_probs, log_probs[::-1], {"entropy"}, {"number": 3.0}, log_probs)
    assert asked.statistics == {"number": 3.0}
    assert asked.reference is log_probs
    first = -0.2 * np.log(0.2) - 0.8 * np.log(0.8)
    assert_identity(asked.entropy, np.array([[first], [np.log(2)]]), np.full((2, 1), 4.0))
    assert_identity(asked.old_entropy, np.array([[np.log(2)], [first]]), np.full((2, 1), 4.0))
    assert_identity(asked.ratio, np.exp(log_probs - log_probs[::-1]), np.full((2, 2), 4.0))
    assert_identity(asked.old_probs, np.array([[0.5, 0.5], [0.2, 0.8]]), np.ones((2, 2)))


def test_a_hard_clip_drops_by_side() -> None:
    """No gradient for A > 0 on HIGH, none for A < 0 on LOW and beyond, whose edge is a jump."""
    ratio = np.linspace(0.5, 1.5, N)
    view = View(ratio, np.full(N, 1 / N), np.log(ratio / N))
    change = Change.dropped(view, LOW, HIGH, beyond=BEYOND)
    assert change.gains.plus.tolist() == (~HIGH).astype(float).tolist() == change.gains.plus_sq.tolist()
    assert change.gains.minus.tolist() == (~(LOW | BEYOND)).astype(float).tolist() == change.gains.minus_sq.tolist()
    assert [x.tolist() for x in change.jumps] == [BEYOND.tolist()]
    plain = Change.dropped(view, LOW, HIGH)
    assert plain.gains.minus.tolist() == (~LOW).astype(float).tolist()
    assert plain.jumps == ()
    assert (plain.low.tolist(), plain.high.tolist(), plain.gated) == (LOW.tolist(), HIGH.tolist(), True)
