"""T4, T10: every objective's weight, events and split by cause, on ratios of every size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from entclip.objectives.base import Objective, clip_events, split_by_cause, weight
from entclip.objectives.catalogue import objective
from entclip.objectives.clip import Clip, surrogate
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from tests.properties.oracle import by_cause, clip_sets, published_weight
from tests.properties.strategies import OBJECTIVES, SEEDS, clips, objectives
from tests.seen import changed, seen
from tests.tolerances import IDENTITY, assert_identity

ratios = st.one_of(st.floats(1e-130, 1e130), st.floats(0.0625, 4), st.sampled_from([0.8, 1.0, 1.2]))
# No advantage but 0 below 1e-30: products with the ratios above would lose digits to underflow.
advantages = st.floats(-9, 9).filter(lambda a: a == 0 or abs(a) > 1e-30)
samples = st.lists(st.tuples(ratios, advantages, st.floats(1e-12, 1)), min_size=1, max_size=6)


def unzip(rows: list[tuple[float, float, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r, a, old = np.array(rows).T
    return r, a, old


@pytest.mark.parametrize("kind", sorted(OBJECTIVES))
@given(data=st.data())
def test_weight_is_the_published_one(kind, data) -> None:
    o, (r, a, old) = data.draw(OBJECTIVES[kind]), unzip(data.draw(samples))
    c = published_weight(o, r, a, old)
    # 1: the gate of SAPO, e^-x, has relative error x ulps: at most 1/e ulp of the unclipped weight.
    assert_identity(weight(o, seen(r, old), a), c, np.abs(c) + r * np.abs(a))
    low, high = clip_sets(o, r, old)
    events, gated = clip_events(changed(o, r, old), a), changed(o, r, old).gated
    np.testing.assert_array_equal(events.low, low & ((a < 0) if gated else (a != 0)))
    np.testing.assert_array_equal(events.high, high & ((a > 0) if gated else (a != 0)))


@given(objectives, samples)
def test_split_by_cause(o: Objective, rows) -> None:
    r, a, old = unzip(rows)
    change = changed(o, r, old)
    gains, got = change.gains, split_by_cause(change, np.maximum(a, 0), np.maximum(-a, 0))
    expected = by_cause(o, r, a, old)
    c = weight(o, seen(r, old), a)
    for cause, value in got.items():
        assert_identity(value * r, expected[cause], np.abs(c) + r * np.abs(a))
    assert_identity(sum(got.values()) * r, c, 4 * (np.abs(c) + r * np.abs(a)))
    for g, square in ((gains.plus, gains.plus_sq), (gains.minus, gains.minus_sq)):
        assert_identity(square, g**2, g**2)


@given(clips, samples)
def test_clipped_surrogate(clip: Clip, rows) -> None:
    """min(r A, clip(r) A): its value, and its slope by a complex step of the branch taken."""
    r, a, old = unzip(rows)
    bounded = np.minimum(np.maximum(r, 1 - clip.low), 1 + clip.high)
    np.testing.assert_array_equal(surrogate(clip, r, a), np.minimum(r * a, bounded * a))
    slope = np.where(surrogate(clip, r, a) == r * a, r * a, 0.0)  # d/dlog r of r A, or of a constant
    away = (np.abs(r / (1 - clip.low) - 1) > 1e-9 if clip.low < 1 else True) & (np.abs(r / (1 + clip.high) - 1) > 1e-9)
    np.testing.assert_array_equal(np.where(away, weight(clip, seen(r, old), a), slope), slope)  # on the bounds there is no slope


@given(OBJECTIVES["sapo"], samples)
def test_soft_gate_is_the_gradient_of_its_surrogate(o: Sapo, rows) -> None:
    """(4/tau) sigmoid(tau (r - 1)) A is analytic: a complex step in log r differentiates it."""
    r, a, old = unzip(rows)
    keep = r < 50  # beyond, the sigmoid is 1 to every digit in its own form
    r, a, old = r[keep], a[keep], old[keep]
    tau = np.where(a > 0, o.tau_pos, o.tau_neg)
    z = r * (1 + 1e-30j)
    exact = (4 / tau / (1 + np.exp(-tau * (z - 1))) * a).imag / 1e-30
    assert_identity(weight(o, seen(r, old), a), exact, r * np.abs(a) * (1 + tau * (1 + r)))


@given(st.floats(0, 1), st.floats(0, 4), samples)
def test_widths_of_one_and_infinity_switch_a_side_off_exactly(low, high, rows) -> None:
    r, a, old = unzip(rows)
    free = weight(NoClip(), seen(r, old), a)
    np.testing.assert_array_equal(free, r * a)
    np.testing.assert_array_equal(weight(Clip(1, math.inf), seen(r, old), a), free)
    np.testing.assert_array_equal(weight(Clip(low, math.inf), seen(r, old), a)[a >= 0], free[a >= 0])
    np.testing.assert_array_equal(weight(Clip(1, high), seen(r, old), a)[a <= 0], free[a <= 0])
    np.testing.assert_array_equal(
        weight(DualClip(low, high, math.inf), seen(r, old), a), weight(Clip(low, high), seen(r, old), a)
    )
    for name in ("clip", "cispo", "dual_clip", "ce_gppo"):
        off = objective(name, low=1.0, high=math.inf)
        assert not np.any(clip_events(changed(off, r, old), a))
    hard = objective("ce_gppo", low=low, high=high, beta_low=0.0, beta_high=0.0)
    np.testing.assert_array_equal(weight(hard, seen(r, old), a), weight(Clip(low, high), seen(r, old), a))


# What may weigh a sample more than r A does, what may turn a weight around, and what is not r A where nothing has moved.
MORE = {
    "cispo",
    "ce_gppo",
    "gppo",
    "reinforce",
    "sapo_trinity",
    "positive_weight",
    "w_reinforce",
    "entropic",
    "repo_r",
    "calibrl",
}
TURNED = {"entropic", "repo_r"}
SHAPED = MORE - {"cispo", "ce_gppo", "gppo", "reinforce"}


@given(objectives, hnp.arrays(float, 5, elements=st.floats(-3, 3)), SEEDS)
def test_gains_are_bounded_and_one_inside_the_interval(o: Objective, log_r, seed) -> None:
    """Nothing is gained beyond r A but by the named; without a move the clips leave every sample alone."""
    r, old = np.exp(log_r), np.random.default_rng(seed).uniform(0, 1, 5)
    for sign in ("plus", "minus"):
        gain = getattr(changed(o, r, old).gains, sign)
        assert np.all(gain >= 0) or o.kind in TURNED
        assert np.all(gain <= 1 + IDENTITY["float64"]) or o.kind in MORE
        if o.kind not in SHAPED:
            assert_identity(getattr(changed(o, np.ones(5), old).gains, sign), np.ones(5), np.ones(5))
