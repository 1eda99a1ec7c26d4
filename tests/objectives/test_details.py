"""Details of objectives that the tests of the claims do not see: parameters at their ends, gains on the bounds, dtypes.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from entclip.drift.first_order import _like, clip_set_stats, expected_first_order, expected_weights
from entclip.drift.second_order import expected_curvature, expected_step_variance
from entclip.objectives.base import CAUSES, Change, View, clip_events, weight
from entclip.objectives.catalogue import kinds, objective
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.flexible import Flexible
from entclip.objectives.high_entropy_mask import HighEntropyMask
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import TableReward
from tests.contexts import contexts, geometries
from tests.family import members
from tests.seen import changed, seen, sets
from tests.tolerances import assert_identity

INF = math.inf


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CeGppo(beta_low=INF), r"ce_gppo\.beta_low must be finite"),
        (lambda: CeGppo(beta_high=INF), r"ce_gppo\.beta_high must be finite"),
        (lambda: CeGppo(beta_high=-0.1), r"ce_gppo\.beta_high must be finite"),
        (lambda: Sapo(tau_pos=INF), r"sapo\.tau_pos must be positive"),
        (lambda: Sapo(tau_neg=0.0), r"sapo\.tau_neg must be positive"),
        (lambda: Sapo(tau_neg=-1.0), r"sapo\.tau_neg must be positive"),
        (lambda: DppoTv(delta=-0.01), r"dppo_tv\.delta must be in \[0, 1\]"),
        (lambda: DppoTv(delta=1.01), r"dppo_tv\.delta must be in \[0, 1\]"),
        (lambda: DualClip(cap=0.5), r"dual_clip\.cap must be above 1"),
    ],
)
def test_parameters_just_beyond_their_ends_are_refused(build: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


def test_parameters_at_their_ends_are_allowed() -> None:
    CeGppo(beta_low=0, beta_high=0)  # the hard clip
    Sapo(tau_pos=0.5, tau_neg=0.5)
    DppoTv(delta=0)
    DppoTv(delta=1)
    DualClip(cap=1.001)
    DualClip(cap=INF)


def test_defaults_are_those_of_the_papers() -> None:
    assert Clip() == Clip(0.2, 0.2)
    assert DualClip() == DualClip(0.2, 0.2, 3.0)
    assert Cispo() == Cispo(0.2, 0.2)
    assert Sapo() == Sapo(1.0, 1.05)
    assert CeGppo() == CeGppo(0.2, 0.2, 0.75, 1.0)
    assert DppoTv() == DppoTv(0.15)
    assert Flexible() == Flexible(0.3, 0.5, -0.13, -0.25)
    assert HighEntropyMask() == HighEntropyMask(0.2, 0.2, 0.28, "kept", "policies")
    assert GroupRelative() == GroupRelative(8, "none", 1, 0.0)
    assert CAUSES == ("unclipped", "clip_low", "clip_high", "other")
    for kind, cls in kinds().items():
        named = objective(kind)
        assert type(named) is cls
        assert named.kind == kind
        if not named.needs:
            gated = changed(named, np.ones(2), np.full(2, 0.1)).gated
            either = {"cispo", "cispo_trl", "cispo_torchrl", "truncated_weights"}
            assert gated is (kind not in either), "PPO's gating by the sign of A: all but those that bound either sign"
    assert (Independent().kind, GroupRelative().kind, Independent().size) == ("independent", "group", 1)


@pytest.mark.parametrize("build", [Clip, DualClip, Cispo, CeGppo, Sapo, DppoTv, NoClip, GroupRelative, Independent])
def test_unknown_parameters_are_refused(build: Callable[..., object]) -> None:
    with pytest.raises((ValueError, TypeError), match="widht"):
        build(widht=0.1)


def test_a_change_of_probability_on_the_bound_is_not_masked() -> None:
    """DPPO's mask is strict. 1/4 and the ratios 1/2 and 3/2 are exact, so the changes are exactly -1/8 and 1/8."""
    old, ratio = np.full(2, 0.25), np.array([0.5, 1.5])
    for delta, low, high in ((0.125, [False, False], [False, False]), (0.1249, [True, False], [False, True])):
        got = sets(DppoTv(delta), ratio, old)
        assert [x.tolist() for x in got] == [low, high]
        assert changed(DppoTv(delta), ratio, old).gains.plus.tolist() == [1 - float(x) for x in high]
        assert changed(DppoTv(delta), ratio, old).gains.minus.tolist() == [1 - float(x) for x in low]


def test_gains_on_the_bounds() -> None:
    """A ratio on a bound is inside it, for the bounded weight of CE-GPPO and for dual clip's cap as well."""
    bounds, old = np.array([1 - 0.2, 1 + 0.5]), np.full(2, 0.1)
    soft = CeGppo(0.2, 0.5, 0.25, 0.5)
    assert changed(soft, bounds, old).gains.plus.tolist() == [1.0, 1.0]
    assert changed(soft, bounds, old).gains.minus.tolist() == [1.0, 1.0]
    beyond = np.array([0.5, 2.0])
    assert_identity(changed(soft, beyond, old).gains.plus, np.array([1.0, 0.5 * 1.5 / 2.0]), np.ones(2))
    assert_identity(changed(soft, beyond, old).gains.minus, np.array([0.25 * 0.8 / 0.5, 1.0]), np.ones(2))
    cap = np.array([3.0, np.nextafter(3.0, 4)])
    assert changed(DualClip(0.2, INF, 3.0), cap, old).gains.minus.tolist() == [1.0, 0.0]
    assert changed(DualClip(0.2, INF, 3.0), cap, old).gains.plus.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("beta_high", [0.0, 1.0])
def test_an_infinite_width_has_no_bounded_gradient(beta_high: float) -> None:
    """r > 1 + inf never holds: the gain is 1 at every ratio, and nothing on the way there is NaN or warns."""
    ratio = np.array([1e-300, 0.5, 1.0, 2.0, 1e300])
    assert changed(CeGppo(0.2, INF, 0.75, beta_high), ratio, np.ones(5)).gains.plus.tolist() == [1.0] * 5


def test_objectives_without_a_clip_have_empty_sets_even_at_ratio_zero() -> None:
    ratio = np.array([0.0, 1e-300, 1.0, 1e300])  # 0: a probability that underflowed
    for none in (NoClip(), Sapo()):
        change = none.change(View(ratio, ratio, ratio))
        assert not np.any(change.low | change.high)


def test_small_advantages_count_as_events_and_zero_does_not() -> None:
    ratio = np.array([0.5, 1.5, 0.5, 1.5, 0.5, 1.5])
    advantage = np.array([-1e-3, 1e-3, 1e-3, -1e-3, 0.0, 0.0])
    ppo = clip_events(changed(Clip(), ratio, ratio), advantage)
    assert ppo.low.tolist() == [True, False, False, False, False, False]
    assert ppo.high.tolist() == [False, True, False, False, False, False]
    cispo = clip_events(changed(Cispo(), ratio, ratio), advantage)
    assert cispo.low.tolist() == [True, False, True, False, False, False]
    assert cispo.high.tolist() == [False, True, False, True, False, False]
    small = weight(CeGppo(0.2, 0.2, 0.5, 0.25), seen(ratio[:4], ratio[:4]), advantage[:4])
    assert_identity(small, np.array([-0.5 * 0.8, 0.25 * 1.2, 0.5, -1.5]) * 1e-3, np.full(4, 1e-3))


@pytest.mark.parametrize(
    ("dtype", "top"), [("float64", float(np.finfo(np.float64).max)), ("float32", float(np.finfo(np.float32).max))]
)
def test_squares_of_unbounded_gains_stay_finite(dtype: str, top: float) -> None:
    """CE-GPPO's gain bound/r at r = 1e-200 (float32: 1e-30) has no square in the dtype: it is held near the largest number."""
    tiny = 1e-200 if dtype == "float64" else 1e-30
    ratio = np.array([0.5, tiny], dtype=dtype)
    gains = changed(CeGppo(0.2, 0.2, 0.75, 0.5), ratio, np.ones_like(ratio)).gains
    exact = np.array([0.75 * 0.8 / 0.5, 0.75 * 0.8 / tiny])
    assert_identity(gains.minus, exact, exact, dtype)
    assert_identity(gains.minus_sq[0], exact[0] ** 2, exact[0] ** 2, dtype)
    assert gains.minus_sq.dtype == dtype
    # High enough that only a ratio whose square leaves the dtype is touched, low enough that sums of a few stay finite.
    assert 0.97 * top <= float(gains.minus_sq[1]) <= 0.99 * top
    big = np.array([2.0, 1 / tiny], dtype=dtype)  # the other side: the gain of A > 0 beyond the high bound is below 1
    assert_identity(
        changed(CeGppo(), big, np.ones_like(big)).gains.plus_sq, (1.2 / np.array([2.0, 1 / tiny])) ** 2, np.ones(2), dtype
    )


def test_squares_of_gains_for_positive_advantages_are_held_too() -> None:
    """CISPO raises the weight of rare ratios for either sign of A."""
    ratio = np.array([0.5, 1e-200])
    gains = changed(Cispo(0.2, 0.2), ratio, np.ones(2)).gains
    for mean, square in ((gains.plus, gains.plus_sq), (gains.minus, gains.minus_sq)):
        assert_identity(mean, np.array([1.6, 0.8e200]), mean)
        assert_identity(square[0], 1.6**2, 4.0)
        assert 0.97 * np.finfo(np.float64).max <= square[1] < INF


def test_squares_of_negative_gains_are_squares() -> None:
    """A penalty may turn a weight around; no published objective does."""
    gain, never = np.array([-2.0, -1e200, 3.0]), np.zeros(3, dtype=bool)
    square = Change.of(gain, -gain, never, never).gains
    assert square.plus_sq.tolist()[::2] == square.minus_sq.tolist()[::2] == [4.0, 9.0]
    assert 0.97 * np.finfo(np.float64).max <= square.plus_sq[1] == square.minus_sq[1] < INF


@pytest.mark.parametrize("library", ["numpy", "torch"])
@geometries
def test_float32_stays_float32(library: str, geometry: str) -> None:
    """A policy in float32 is answered in float32 by every formula: a silent float64 would double the memory of a large one."""
    log_p, log_old = (x.astype(np.float32) for x in contexts())
    if library == "torch":
        torch = pytest.importorskip("torch")
        log_p, log_old = torch.from_numpy(log_p), torch.from_numpy(log_old)
    xp: Any = np if library == "numpy" else torch
    ratio, old = xp.exp(log_p - log_old), xp.exp(log_old)
    moments = Independent().moments(TableReward((0.0, 1.0, 0.5)), np.asarray(old.tolist()))
    for name, member in members(0.2).items():
        change = changed(member, ratio, old)
        weights = expected_weights(change, moments)
        terms = expected_first_order(weights, log_p, learning_rate=0.5, geometry=geometry)
        stats = clip_set_stats(change, log_p, geometry)
        curvature = expected_curvature(log_p, ratio, change, moments, learning_rate=0.5, geometry=geometry, batch=4)
        variance = expected_step_variance(log_p, ratio, change, moments, geometry=geometry, batch=4)
        for value in (*change.gains, *weights.values(), *terms.values(), *stats, curvature, variance):
            assert value.dtype == log_p.dtype, name


def test_moments_follow_the_policy_to_its_device() -> None:
    """Moments are numpy arrays; beside a policy on a GPU they must go there. A "meta" tensor stands for one on another device."""
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64):
        moved = _like(np.ones((2, 3)), torch.empty(5, dtype=dtype, device="meta"))
        assert (moved.device.type, moved.dtype, tuple(moved.shape)) == ("meta", dtype, (2, 3))
