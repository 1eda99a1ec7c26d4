"""Details of the formula files that the tests of the claims do not see.

Rows of a batch are separate contexts, dtype and array library are kept, defaults are what the documentation says, limits are
allowed or refused exactly where the messages put them, and arithmetic that must survive an underflow survives it. Expected
values come from the definitions, written out in plain numpy or `math`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import entclip.policies.snapshot
import entclip.rewards.advantage
from entclip.drift.cumulants import (
    directional_derivatives,
    entropy_gradient,
    hessian_diagonal,
    hessian_form,
    hessian_product,
    largest_third_derivative,
    remainder_bounds,
)
from entclip.drift.expected import expected_entropy_drift
from entclip.drift.first_order import _like, clip_set_stats, expected_first_order, expected_weights
from entclip.drift.noise import noise_drift
from entclip.drift.second_order import expected_curvature, expected_step_variance, noise_trace
from entclip.drift.steps import expected_step, logit_step, step_adjoint
from entclip.objectives.base import CAUSES, Objective, clip_events, signed_gains, split_by_cause, weight
from entclip.objectives.family import CeGppo, Cispo, Clip, DppoTv, DualClip, NoClip, Sapo, objective_named
from entclip.policies.laws import dirichlet, peaked, snapshot, uniform, zipf
from entclip.policies.softmax import SoftmaxPolicy, centered_kappa, entropy, importance_ratio, log_softmax
from entclip.rewards.advantage import AdvantageMoments, GroupRelative, Independent, PairMoments
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, RewardLaw, TableReward
from tests.tolerances import assert_identity

INF = math.inf
geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])


def contexts(count: int = 4, vocab: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """(log pi, log pi_old) of contexts that differ in every respect; count and vocab differ, so mixed-up axes cannot pass."""
    rng = np.random.default_rng(11)
    old = log_softmax(rng.normal(0, 1, (count, vocab)))
    return log_softmax(old + rng.normal(0, 0.5, (count, vocab))), old


def assert_rows(whole: np.ndarray, row: Callable[[int], Any], terms: float) -> None:
    """Row k of the batch is what context k gives alone. terms bounds the sum of absolute terms behind each number."""
    for k in range(len(whole)):
        single = np.asarray(row(k))
        assert_identity(whole[k], single, np.full(single.shape, terms))


# ---- policy -----------------------------------------------------------------------------------------------------------------


def test_policies_keep_the_dtype_and_the_library_they_are_given() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[0.0, 1.0, -2.0]], dtype=torch.float32)
    policy = SoftmaxPolicy(tensor)
    assert policy.logits is tensor
    for value in (policy.log_probs, policy.probs, policy.surprisal, policy.entropy):
        assert isinstance(value, torch.Tensor)
        assert value.dtype == torch.float32
    assert SoftmaxPolicy(torch.tensor([0, 1])).logits.dtype == torch.float64, "whole numbers are no logits: they become float64"
    half = torch.tensor([[0.25, 0.75]], dtype=torch.float32)
    assert SoftmaxPolicy.from_probs(half).logits.dtype == torch.float32
    assert_identity(SoftmaxPolicy.from_probs(half).probs.numpy(), half.numpy(), np.ones((1, 2)), "float32")
    narrow = np.array([0.25, 0.75], dtype=np.float32)
    assert SoftmaxPolicy.from_probs(narrow).logits.dtype == np.float32
    # A list has no dtype of its own, whatever is in it.
    assert SoftmaxPolicy(list(narrow)).logits.dtype == np.float64  # type: ignore[arg-type]
    assert SoftmaxPolicy.from_probs(list(narrow)).logits.dtype == np.float64  # type: ignore[arg-type]


def test_contexts_with_logits_of_different_size_do_not_disturb_each_other() -> None:
    """Each row is shifted by its own maximum: by a common one, a row that lies 10^4 below would underflow to log 0."""
    row = np.array([0.0, 1.0, -2.0])
    whole = log_softmax(np.stack([row, row + 1e4, row - 1e4]))
    for k in range(3):
        assert_identity(whole[k], log_softmax(row), np.full(3, 1e4))  # 1e4: what the shift rounds away


def test_probabilities_may_be_off_by_a_millionth() -> None:
    for probs in ([0.5, 0.5 + 9e-7], [0.5, 0.5 - 9e-7]):
        got = SoftmaxPolicy.from_probs(probs).probs  # type: ignore[arg-type]
        assert_identity(got, np.array(probs) / math.fsum(probs), np.ones(2))
    for probs in ([0.5, 0.5 + 1.1e-6], [0.5, 0.5 - 1.1e-6]):
        with pytest.raises(ValueError, match=r"worst row is off by 1\.1e-06"):
            SoftmaxPolicy.from_probs(probs)  # type: ignore[arg-type]


def test_smallest_vocabularies_and_defaults_of_the_named_laws() -> None:
    for policy in (uniform(2), zipf(2, 0.0), peaked(2, 0.0)):
        assert_identity(policy.probs, np.array([0.5, 0.5]), np.ones(2))
    assert uniform(4.0).vocab == 4  # type: ignore[arg-type]  # a whole number, as a configuration file may spell it
    weights = np.array([1, 1 / 2, 1 / 3])
    assert_identity(zipf(3).probs, weights / weights.sum(), np.ones(3))  # exponent 1: word frequencies
    assert_identity(peaked(3, 1.0).probs[1:], np.full(2, 1 / (math.e + 2)), np.ones(2))
    gamma = np.random.default_rng(0).standard_gamma(1.0, size=5)  # alpha 1 is uniform on the simplex; seed 0
    assert_identity(dirichlet(5).probs, gamma / gamma.sum(), np.ones(5))


def test_the_floor_of_a_dirichlet_law_mixes_in_the_uniform_law() -> None:
    gamma = np.random.default_rng(3).standard_gamma(0.5, size=(4, 6))
    for floor in (0.0, 0.3):
        want = (1 - floor) * gamma / gamma.sum(axis=-1, keepdims=True) + floor / 6
        assert_identity(dirichlet(6, 0.5, seed=3, contexts=4, floor=floor).probs, want, np.ones((4, 6)))


def test_dirichlet_draws_that_underflow_stay_finite() -> None:
    policy = dirichlet(40, 1e-4, seed=0)  # most gamma draws are exactly 0
    assert np.all(np.isfinite(policy.logits))
    assert_identity(policy.probs.sum(), 1.0, 1.0)


def test_snapshot_policies_come_from_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file format is tested elsewhere; here: the name and the number of contexts reach it, and its answer the policy."""
    log_probs = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))

    class Stub:
        def __init__(self, name: str) -> None:
            assert name == "some-model"

        def log_probs(self, contexts: int | None) -> np.ndarray:
            return log_probs[:contexts]

    monkeypatch.setattr(entclip.policies.snapshot, "read", Stub)
    np.testing.assert_array_equal(snapshot("some-model").logits, log_probs)
    np.testing.assert_array_equal(snapshot("some-model", 1).logits, log_probs[:1])
    np.testing.assert_array_equal(snapshot("some-model", contexts=1).logits, log_probs[:1])


@pytest.mark.parametrize(("dtype", "reach"), [("float64", 690.0), ("float32", 86.0)])
def test_ratios_and_their_inverses_stay_in_range(dtype: str, reach: float) -> None:
    """exp(log pi - log pi_old) where that and its inverse are numbers of the dtype, and the last such number beyond."""
    far = 1.01 * reach
    differences = np.array([0.0, 0.25, -0.25, reach, -reach, far, -far, 1e4, -1e4], dtype=dtype)
    with np.errstate(all="raise"):
        ratio = importance_ratio(differences, np.zeros(9, dtype=dtype))
        inverse = 1 / ratio
    assert ratio.dtype == dtype
    want = np.exp(differences[:5].astype(np.float64))
    assert_identity(ratio[:5], want, want * reach, dtype)  # reach: what rounding of the exponent is multiplied by
    assert np.all(ratio[5::2] == ratio[5]), "held"
    assert np.all(ratio[6::2] == ratio[6])
    assert_identity(float(inverse[6]), float(ratio[5]), float(ratio[5]) * reach, dtype)
    assert ratio[5] >= ratio[3]
    assert ratio[5] < np.exp(np.array(far, dtype=dtype))
    old = np.array([0.0, -1.0, -3.0], dtype=dtype)
    assert_identity(
        importance_ratio(np.array([-1.0, -1.0, -1.0], dtype=dtype), old), np.exp([-1.0, 0.0, 2.0]), np.full(3, 10.0), dtype
    )


# ---- update -----------------------------------------------------------------------------------------------------------------


def steps_by_hand(w: np.ndarray, log_p: np.ndarray, log_old: np.ndarray, eta: np.ndarray, geometry: str) -> np.ndarray:
    """The two formulas of update.py, context by context and action by action."""
    out = np.zeros_like(w)
    for k in range(len(w)):
        p, old = np.exp(log_p[k]), np.exp(log_old[k])
        for a in range(w.shape[1]):
            if geometry == "natural":
                out[k, a] = eta[k, 0] * w[k, a] / old[a]
            else:
                out[k, a] = eta[k, 0] * (p[a] / old[a] * w[k, a] - p[a] * math.fsum(p / old * w[k]))
    return out


@geometries
def test_steps_of_many_contexts(geometry: str) -> None:
    log_p, log_old = contexts()
    w, eta = np.random.default_rng(1).normal(size=(4, 3)), np.array([[0.1], [0.2], [3.0], [0.0]])
    want = steps_by_hand(w, log_p, log_old, eta, geometry)
    size = 50 * (1 + np.abs(want))
    assert_identity(logit_step(w, log_p, log_old, learning_rate=eta, geometry=geometry), want, size)
    # W_a = pi0_a w_a is what action a gets on average when it carries w_a.
    mean = logit_step(np.exp(log_old) * w, log_p, log_old, learning_rate=1.0, geometry=geometry)
    assert_identity(expected_step(w, log_p, geometry=geometry), mean, np.full((4, 3), 10.0))
    p = np.exp(log_p)
    written = w if geometry == "natural" else p * (w - np.sum(p * w, axis=-1, keepdims=True))
    assert_identity(expected_step(w, log_p, geometry=geometry), written, np.full((4, 3), 10.0))


@geometries
def test_the_adjoint_prices_every_step(geometry: str) -> None:
    """<v, W> = <gradient, step of W> for each unit vector W, so for every W."""
    log_p, log_old = contexts()
    gradient, eta = np.random.default_rng(2).normal(size=(4, 3)), np.array([[0.1], [0.2], [3.0], [1.0]])
    price = step_adjoint(gradient, log_p, log_old, learning_rate=eta, geometry=geometry)
    for a in range(3):
        unit = np.zeros((4, 3))
        unit[:, a] = 1
        step = steps_by_hand(unit, log_p, log_old, eta, geometry)
        assert_identity(price[:, a], np.sum(gradient * step, axis=-1), np.sum(np.abs(gradient) * (np.abs(step) + 10), axis=-1))
    assert_rows(
        price,
        lambda k: step_adjoint(gradient[k], log_p[k], log_old[k], learning_rate=float(eta[k, 0]), geometry=geometry),
        1000.0,
    )


def test_an_action_that_cannot_be_sampled_does_not_move() -> None:
    """exp(-800) is 0 in float64: no sample ever has this action, its weight is 0, and 0 / 0 must not become NaN."""
    log_old = np.array([0.0, -800.0])
    w = np.array([0.5, 0.0])
    assert logit_step(w, log_old, log_old, learning_rate=1.0, geometry="natural").tolist() == [0.5, 0.0]
    assert step_adjoint(np.array([2.0, 0.0]), log_old, log_old, learning_rate=0.5, geometry="natural").tolist() == [1.0, 0.0]
    single = log_old.astype(np.float32)
    for value in (
        logit_step(w.astype(np.float32), single, single, learning_rate=1.0, geometry="natural"),
        step_adjoint(w.astype(np.float32), single, single, learning_rate=1.0, geometry="natural"),
    ):
        assert value.dtype == np.float32


# ---- cumulants --------------------------------------------------------------------------------------------------------------


def test_derivatives_of_many_contexts() -> None:
    log_p, _ = contexts()
    u, v = np.random.default_rng(3).normal(size=(2, 4, 3))
    assert_rows(entropy_gradient(log_p), lambda k: entropy_gradient(log_p[k]), 10.0)
    assert_rows(hessian_diagonal(log_p), lambda k: hessian_diagonal(log_p[k]), 10.0)
    assert_rows(hessian_product(log_p, v), lambda k: hessian_product(log_p[k], v[k]), 50.0)
    assert_rows(hessian_form(log_p, u, v), lambda k: hessian_form(log_p[k], u[k], v[k]), 50.0)
    for whole, name in zip(directional_derivatives(log_p, u), ("first", "second", "third", "variance"), strict=True):
        assert_rows(whole, lambda k, name=name: getattr(directional_derivatives(log_p[k], u[k]), name), 100.0)
    assert_rows(centered_kappa(log_p, "euclidean"), lambda k: centered_kappa(log_p[k], "euclidean"), 10.0)


def test_remainder_bounds_as_theory_prints_them() -> None:
    """T3: D^2 (sigma/2 + 1/4)/2 and D^3 (7 sigma/8 + 1/(3 sqrt 3))/6, sigma^2 = log(V-1)^2/4 + 1, for each context's range D."""
    steps = np.array([[0.0, 2.0, 1.0, 0.5, 0.1], [-1.0, 0.0, 2.0, 0.0, 0.0], [7.0, 7.0, 7.0, 7.0, 7.0]])
    first, second = remainder_bounds(steps)
    for vocab in (5, 2):  # at V = 2, log(V - 1) = 0 and sigma = 1
        sigma = math.sqrt(math.log(vocab - 1) ** 2 / 4 + 1)
        first, second = remainder_bounds(steps[:, :vocab])
        for k in range(3):
            d = max(steps[k, :vocab]) - min(steps[k, :vocab])
            assert_identity(first[k], d * d * (sigma / 2 + 1 / 4) / 2, 10.0)
            assert_identity(second[k], d * d * d * (7 * sigma / 8 + 1 / math.sqrt(27)) / 6, 30.0)


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_the_largest_third_derivative_looks_at_evenly_spaced_points_of_the_path(nodes: int) -> None:
    log_p, _ = contexts(count=6)
    step = np.random.default_rng(4).normal(0, 2, (6, 3))
    largest, smallest = largest_third_derivative(log_p, step, nodes=nodes)
    path = [log_softmax(log_p + t * step) for t in np.linspace(0, 1, nodes)]
    third = np.abs([directional_derivatives(at, step).third for at in path])
    assert_identity(largest, third.max(axis=0), np.full(6, 1000.0))  # 1000: |d|^4 ~ 200 in the terms of H'''
    assert_identity(smallest, third.min(axis=0), np.full(6, 1000.0))
    if nodes > 2:  # the case must tell the inner points from the ends
        assert np.any(third[1:-1].max(axis=0) > np.maximum(third[0], third[-1]))


# ---- objectives -------------------------------------------------------------------------------------------------------------


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
    assert GroupRelative() == GroupRelative(8, "none", 1, 0.0)
    assert CAUSES == ("unclipped", "clip_low", "clip_high", "other")
    kinds = {
        "clip": Clip,
        "none": NoClip,
        "dual_clip": DualClip,
        "cispo": Cispo,
        "sapo": Sapo,
        "ce_gppo": CeGppo,
        "dppo_tv": DppoTv,
    }
    for kind, cls in kinds.items():
        named = objective_named(kind)
        assert type(named) is cls
        assert named.kind == kind
        assert named.gated is (kind != "cispo"), "PPO's gating by the sign of A: all but CISPO"
    assert (Independent().kind, GroupRelative().kind, Independent().size) == ("independent", "group", 1)


@pytest.mark.parametrize("build", [Clip, DualClip, Cispo, CeGppo, Sapo, DppoTv, NoClip, GroupRelative, Independent])
def test_unknown_parameters_are_refused(build: Callable[..., object]) -> None:
    with pytest.raises((ValueError, TypeError), match="widht"):
        build(widht=0.1)


def test_a_change_of_probability_on_the_bound_is_not_masked() -> None:
    """DPPO's mask is strict. 1/4 and the ratios 1/2 and 3/2 are exact, so the changes are exactly -1/8 and 1/8."""
    old, ratio = np.full(2, 0.25), np.array([0.5, 1.5])
    for delta, low, high in ((0.125, [False, False], [False, False]), (0.1249, [True, False], [False, True])):
        got = DppoTv(delta).sets(ratio, old)
        assert [x.tolist() for x in got] == [low, high]
        assert DppoTv(delta).gain("plus", ratio, old).tolist() == [1 - float(x) for x in high]
        assert DppoTv(delta).gain("minus", ratio, old).tolist() == [1 - float(x) for x in low]


def test_gains_on_the_bounds() -> None:
    """A ratio on a bound is inside it, for the bounded weight of CE-GPPO and for dual clip's cap as well."""
    bounds, old = np.array([1 - 0.2, 1 + 0.5]), np.full(2, 0.1)
    soft = CeGppo(0.2, 0.5, 0.25, 0.5)
    assert soft.gain("plus", bounds, old).tolist() == [1.0, 1.0]
    assert soft.gain("minus", bounds, old).tolist() == [1.0, 1.0]
    beyond = np.array([0.5, 2.0])
    assert_identity(soft.gain("plus", beyond, old), np.array([1.0, 0.5 * 1.5 / 2.0]), np.ones(2))
    assert_identity(soft.gain("minus", beyond, old), np.array([0.25 * 0.8 / 0.5, 1.0]), np.ones(2))
    cap = np.array([3.0, np.nextafter(3.0, 4)])
    assert DualClip(0.2, INF, 3.0).gain("minus", cap, old).tolist() == [1.0, 0.0]
    assert DualClip(0.2, INF, 3.0).gain("plus", cap, old).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("beta_high", [0.0, 1.0])
def test_an_infinite_width_has_no_bounded_gradient(beta_high: float) -> None:
    """r > 1 + inf never holds: the gain is 1 at every ratio, and nothing on the way there is NaN or warns."""
    ratio = np.array([1e-300, 0.5, 1.0, 2.0, 1e300])
    assert CeGppo(0.2, INF, 0.75, beta_high).gain("plus", ratio, ratio).tolist() == [1.0] * 5


def test_objectives_without_a_clip_have_empty_sets_even_at_ratio_zero() -> None:
    ratio = np.array([0.0, 1e-300, 1.0, 1e300])  # 0: a probability that underflowed
    for objective in (NoClip(), Sapo()):
        assert not any(np.any(x) for x in objective.sets(ratio, ratio))


def test_small_advantages_count_as_events_and_zero_does_not() -> None:
    ratio = np.array([0.5, 1.5, 0.5, 1.5, 0.5, 1.5])
    advantage = np.array([-1e-3, 1e-3, 1e-3, -1e-3, 0.0, 0.0])
    ppo = clip_events(Clip(), ratio, advantage, ratio)
    assert ppo.low.tolist() == [True, False, False, False, False, False]
    assert ppo.high.tolist() == [False, True, False, False, False, False]
    cispo = clip_events(Cispo(), ratio, advantage, ratio)
    assert cispo.low.tolist() == [True, False, True, False, False, False]
    assert cispo.high.tolist() == [False, True, False, True, False, False]
    small = weight(CeGppo(0.2, 0.2, 0.5, 0.25), ratio[:4], advantage[:4], ratio[:4])
    assert_identity(small, np.array([-0.5 * 0.8, 0.25 * 1.2, 0.5, -1.5]) * 1e-3, np.full(4, 1e-3))


@pytest.mark.parametrize(
    ("dtype", "top"), [("float64", float(np.finfo(np.float64).max)), ("float32", float(np.finfo(np.float32).max))]
)
def test_squares_of_unbounded_gains_stay_finite(dtype: str, top: float) -> None:
    """CE-GPPO's gain bound/r at r = 1e-200 (float32: 1e-30) has no square in the dtype: it is held near the largest number."""
    tiny = 1e-200 if dtype == "float64" else 1e-30
    ratio = np.array([0.5, tiny], dtype=dtype)
    gains = signed_gains(CeGppo(0.2, 0.2, 0.75, 0.5), ratio, ratio)
    exact = np.array([0.75 * 0.8 / 0.5, 0.75 * 0.8 / tiny])
    assert_identity(gains.minus, exact, exact, dtype)
    assert_identity(gains.minus_sq[0], exact[0] ** 2, exact[0] ** 2, dtype)
    assert gains.minus_sq.dtype == dtype
    # High enough that only a ratio whose square leaves the dtype is touched, low enough that sums of a few stay finite.
    assert 0.97 * top <= float(gains.minus_sq[1]) <= 0.99 * top
    big = np.array([2.0, 1 / tiny], dtype=dtype)  # the other side: the gain of A > 0 beyond the high bound is below 1
    assert_identity(signed_gains(CeGppo(), big, big).plus_sq, (1.2 / np.array([2.0, 1 / tiny])) ** 2, np.ones(2), dtype)


def test_squares_of_gains_for_positive_advantages_are_held_too() -> None:
    """CISPO raises the weight of rare ratios for either sign of A."""
    ratio = np.array([0.5, 1e-200])
    gains = signed_gains(Cispo(0.2, 0.2), ratio, ratio)
    for mean, square in ((gains.plus, gains.plus_sq), (gains.minus, gains.minus_sq)):
        assert_identity(mean, np.array([1.6, 0.8e200]), mean)
        assert_identity(square[0], 1.6**2, 4.0)
        assert 0.97 * np.finfo(np.float64).max <= square[1] < INF


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
    for objective in (Clip(), NoClip(), DualClip(), Cispo(), Sapo(), CeGppo(), DppoTv(0.01)):
        gains = signed_gains(objective, ratio, old)
        weights = expected_weights(objective, gains, ratio, old, moments)
        terms = expected_first_order(weights, log_p, learning_rate=0.5, geometry=geometry)
        stats = clip_set_stats(objective, ratio, old, log_p, geometry)
        curvature = expected_curvature(log_p, ratio, gains, moments, learning_rate=0.5, geometry=geometry, batch=4)
        variance = expected_step_variance(log_p, ratio, gains, moments, geometry=geometry, batch=4)
        for value in (*gains, *weights.values(), *terms.values(), *stats, curvature, variance):
            assert value.dtype == log_p.dtype, objective


def test_moments_follow_the_policy_to_its_device() -> None:
    """Moments are numpy arrays; beside a policy on a GPU they must go there. A "meta" tensor stands for one on another device."""
    torch = pytest.importorskip("torch")
    for dtype in (torch.float32, torch.float64):
        moved = _like(np.ones((2, 3)), torch.empty(5, dtype=dtype, device="meta"))
        assert (moved.device.type, moved.dtype, tuple(moved.shape)) == ("meta", dtype, (2, 3))


# ---- advantages -------------------------------------------------------------------------------------------------------------


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


def moments_of(value: AdvantageMoments) -> list[np.ndarray]:
    pair = [] if value.pair is None else [value.pair.plus_plus, value.pair.minus_minus, value.pair.plus_minus]
    return [value.level_probs, value.plus, value.minus, value.plus_sq, value.minus_sq, *pair]


def test_a_reward_that_ignores_the_action_has_one_level() -> None:
    """(1, 1) tables of ones, (1,) moments: what by_action and the pair form rely on, for Gaussian and finite rewards alike."""
    for advantage in (Independent(), GroupRelative(4), GroupRelative(4, "std", eps=0.1)):
        for reward in (Gaussian(0.0, 2.0), Bernoulli(0.3), Rademacher()):
            got = advantage.moments(reward, np.full(5, 0.2))
            assert not got.action_dependent
            assert got.level_probs.tolist() == [[1.0]]
            assert [x.shape for x in (got.plus, got.minus, got.plus_sq, got.minus_sq)] == [(1,)] * 4
            for name in ("plus", "minus", "plus_sq", "minus_sq"):
                np.testing.assert_array_equal(got.by_action(name), getattr(got, name))
            assert (got.pair is None) == isinstance(advantage, Independent)
            assert all(x.shape == (1, 1) for x in moments_of(got)[5:])


def test_one_row_of_level_chances_per_action() -> None:
    """Whether the reward depends on the action is the number of rows: two actions suffice, however many levels there are."""
    for rows, levels in ((2, 1), (2, 2), (1, 1), (1, 2)):
        moments = AdvantageMoments(np.full((rows, levels), 1 / levels), *(np.ones(levels),) * 4)
        assert moments.action_dependent is (rows == 2)


def test_independent_gaussian_moments() -> None:
    """E[A+] = sd/sqrt(2 pi), E[A+^2] = sd^2/2: half of E|A| and of the variance, for each sign; the mean does not enter."""
    got = Independent().moments(Gaussian(4.0, 3.0), np.full(2, 0.5))
    m, half = 3 / math.sqrt(2 * math.pi), 9 / 2
    for name, want in (("plus", m), ("minus", m), ("plus_sq", half), ("minus_sq", half)):
        assert_identity(got.by_action(name), np.array([want]), np.full(1, 9.0))
    assert got.pair is None


def test_moments_given_the_action_sum_over_its_levels() -> None:
    """sum_l P(l|a) E[. | l] with chances of levels that are neither 0 nor 1."""
    share = np.array([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    tables = [np.array([[1.0, 2.0], [3.0, 5.0]]) + k for k in range(4)]
    got = AdvantageMoments(share, *tables)
    assert got.action_dependent
    assert got.pair is None
    for name, table in zip(("plus", "minus", "plus_sq", "minus_sq"), tables, strict=True):
        want = [[math.fsum(share[a] * row) for a in range(3)] for row in table]
        assert_identity(got.by_action(name), np.array(want), np.full((2, 3), 10.0))


@pytest.mark.parametrize("eps", [0.0, 0.05, 1.0, 2.0])
@pytest.mark.parametrize("ddof", [0, 1])
def test_gaussian_groups_of_three_with_eps_against_the_chi_law(eps: float, ddof: int) -> None:
    """G = 3: the length of the centred rewards over sd is chi with 2 degrees of freedom, density x exp(-x^2/2), and the direction
    is uniform on a circle, so A+ of one sample is cos+ times sqrt(2/3) times length/(length/sqrt(3 - ddof) + eps).
    E cos+ = 1/pi and E cos+^2 = 1/4."""
    sd = 0.8
    x, weights = np.polynomial.legendre.leggauss(300)
    x, weights = 7 * (x + 1), 7 * weights  # [0, 14]: the density beyond is exp(-98)
    density = weights * x * np.exp(-x * x / 2)
    scaled = sd * x / (sd * x / math.sqrt(3 - ddof) + eps)
    got = GroupRelative(3, "std", ddof, eps=eps).moments(Gaussian(0.0, sd), np.full(2, 0.5))  # type: ignore[arg-type]
    m, m2 = (math.sqrt(2 / 3) / math.pi * density @ scaled, 2 / 3 / 4 * density @ scaled**2)
    # The nearest pole, at x = -eps sqrt(3 - ddof)/sd <= -.06, leaves these nodes an error of (1 + sqrt(.12/7))^-600 = 1e-32.
    for name, want in (("plus", m), ("minus", m), ("plus_sq", m2), ("minus_sq", m2)):
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


# ---- second order -----------------------------------------------------------------------------------------------------------


@geometries
def test_curvature_and_step_variance_of_many_contexts(geometry: str) -> None:
    log_p, log_old = contexts()
    ratio, old, clip = np.exp(log_p - log_old), np.exp(log_old), Cispo(0.1, 0.1)
    table, group = TableReward((0.0, 1.0, 0.4)), GroupRelative(2, "std", 1, eps=0.1)
    visits, eta = np.array([1.0, 0.5, 0.3, 0.9]), np.array([0.1, 0.2, 0.3, 0.4])
    square = np.random.default_rng(6).uniform(size=(4, 3))

    def curvature(k: Any) -> Any:
        return expected_curvature(
            log_p[k], ratio[k], signed_gains(clip, ratio[k], old[k]), group.moments(table, old[k]),
            learning_rate=eta[k], geometry=geometry, batch=4, shared_group=1 / 3, visits=visits[k],
        )  # fmt: skip

    def variance(k: Any) -> Any:
        gains, moments = signed_gains(clip, ratio[k], old[k]), Independent().moments(table, old[k])
        return expected_step_variance(log_p[k], ratio[k], gains, moments, geometry=geometry, batch=4)

    assert_rows(curvature(slice(None)), curvature, 100.0)
    assert_rows(variance(slice(None)), variance, 100.0)
    assert_rows(
        noise_trace(log_p, ratio, square, geometry=geometry),
        lambda k: noise_trace(log_p[k], ratio[k], square[k], geometry=geometry),
        100.0,
    )
    assert_rows(
        noise_drift(log_p, learning_rate=0.3, second_moment=0.7, batch=4, geometry=geometry),
        lambda k: noise_drift(log_p[k], learning_rate=0.3, second_moment=0.7, batch=4, geometry=geometry),
        100.0,
    )


@geometries
def test_step_variance_of_one_sample_from_its_definition(geometry: str) -> None:
    """B = 1: sum over actions and signs of chance times Var_pi of that one step."""
    log_p, log_old = (x[0] for x in contexts())
    p, old, ratio = np.exp(log_p), np.exp(log_old), np.exp(log_p - log_old)
    objective, reward = CeGppo(0.1, 0.1, 0.75, 0.5), Bernoulli(0.2)
    want = 0.0
    for a, (chance, value) in itertools.product(range(3), ((0.8, -0.2), (0.2, 0.8))):
        c = float(weight(objective, ratio, np.full(3, value), old)[a])
        unit = np.eye(3)[a]
        step = c * unit / p[a] if geometry == "natural" else c * (unit - p)
        want += old[a] * chance * float(p @ (step - p @ step) ** 2)
    got = expected_step_variance(
        log_p, ratio, signed_gains(objective, ratio, old), Independent().moments(reward, old), geometry=geometry, batch=1
    )
    assert_identity(got, want, 10.0)


@geometries
def test_curvature_of_a_policy_without_entropy_is_finite(geometry: str) -> None:
    """log pi of the one likely action is exactly 0, in groups too: nothing divides by it."""
    log_p = log_softmax(np.array([0.0, -60.0, -70.0]))
    assert log_p[0] == 0.0
    one, group = np.ones(3), GroupRelative(2)
    moments = group.moments(TableReward((0.0, 1.0, 0.5)), np.exp(log_p))
    got = expected_curvature(
        log_p, one, signed_gains(NoClip(), one, np.exp(log_p)), moments,
        learning_rate=0.1, geometry=geometry, batch=2, shared_group=1.0,
    )  # fmt: skip
    assert np.isfinite(got)


def test_independent_samples_need_no_pair_moments() -> None:
    """shared_group is 0 and every sample visits the context unless said otherwise; independent samples have no pair moments."""
    log_p, log_old = contexts()
    ratio, old = np.exp(log_p - log_old), np.exp(log_old)
    gains, moments = signed_gains(Clip(), ratio, old), Independent().moments(Rademacher(), old)
    arguments = (log_p, ratio, gains, moments)
    for geometry in ("natural", "euclidean"):
        short = expected_curvature(*arguments, learning_rate=0.3, geometry=geometry, batch=3)
        spelled = expected_curvature(*arguments, learning_rate=0.3, geometry=geometry, batch=3, shared_group=0.0, visits=1.0)
        np.testing.assert_array_equal(short, spelled)
        assert np.all(short != 0)


def test_pair_moments_of_several_levels_by_hand() -> None:
    """tr(Hess C) for two actions, one level each: every pair of levels once, u+' Hess u- counted from both sides."""
    log_p = log_softmax(np.array([0.4, -0.3]))
    one, p = np.ones(2), np.exp(log_p)
    tables = [np.array([[1.0, 2.0], [2.0, 5.0]]), np.array([[0.5, 0.1], [0.1, 3.0]]), np.array([[0.2, 0.7], [0.3, 0.4]])]
    moments = AdvantageMoments(np.eye(2), *(np.zeros(2),) * 4, pair=PairMoments(*tables))
    got = expected_curvature(
        log_p, one, signed_gains(NoClip(), one, p), moments, learning_rate=1.0, geometry="natural", batch=2, shared_group=1.0
    )
    # Natural steps of levels 0 and 1 are the unit vectors: the form of (i, j) is Hess_ij of T1.
    x = log_p - p @ log_p
    hessian = -np.diag(p * (x + 1)) + np.outer(p, p) * (x[:, None] + x[None, :] + 1)
    cross = tables[2] + tables[2].T
    want = math.fsum(((tables[0] + tables[1] - cross) * hessian).ravel()) / 2 * (1 - 1 / 2)
    assert_identity(got, want, 20.0)


# ---- expected_entropy_drift: the public function ----------------------------------------------------------------------------


OLD = SoftmaxPolicy([0.3, -0.6, 0.1])
NEW = SoftmaxPolicy([0.9, -1.1, 0.2])  # ratios about 1.32, .44, .80
TABLE = TableReward((1.0, 0.0, 0.4))  # A > 0 beyond the high bound, A < 0 below the low one: both sides act


def mean_change(
    objective: Objective, advantage: Independent | GroupRelative, reward: RewardLaw, eta: float, geometry: str, batch: int
) -> tuple[float, float]:
    """E[dH] over every outcome of a minibatch of the old policy, from H = -sum p log p, and T3's bound on the third order."""
    log_p, log_old = NEW.log_probs, OLD.log_probs
    p, old, ratio = np.exp(log_p), np.exp(log_old), np.exp(log_p - log_old)
    chances, levels = np.broadcast_to(reward.level_probs, (3, len(reward.levels))), reward.levels  # type: ignore[union-attr, arg-type]
    one = [(old[a] * chances[a, k], a, levels[k]) for a in range(3) for k in range(len(levels)) if chances[a, k]]
    mean, bound = [], []
    for samples in itertools.product(one, repeat=batch):
        chance, rewards = math.prod(s[0] for s in samples), np.array([s[2] for s in samples])
        if isinstance(advantage, GroupRelative):
            values = rewards - rewards.mean()  # one group
            if advantage.scale == "std":
                std = rewards.std(ddof=advantage.ddof)
                values = values / (std + advantage.eps) if std > 0 else 0 * values
        else:
            values = rewards - old @ chances @ levels
        step = np.zeros(3)
        for (_, a, _), value in zip(samples, values, strict=True):
            c = float(weight(objective, ratio, np.full(3, value), old)[a])
            step += eta / batch * c * (np.eye(3)[a] / p[a] if geometry == "natural" else np.eye(3)[a] - p)
        mean.append(chance * float(entropy(log_softmax(log_p + step)) - NEW.entropy))
        bound.append(chance * float(remainder_bounds(step)[1]))
    return math.fsum(mean), math.fsum(bound)


@geometries
@pytest.mark.parametrize(
    ("advantage", "reward", "batch"),
    [
        (Independent(), Bernoulli(0.2), 1),
        (Independent(), TABLE, 2),
        (GroupRelative(2), TABLE, 2),
        (GroupRelative(2, "std", 0, eps=0.1), Bernoulli(0.2), 2),
        (GroupRelative(3), Rademacher(), 3),
    ],
    ids=str,
)
def test_drift_of_a_minibatch_against_every_outcome(
    advantage: Independent | GroupRelative, reward: RewardLaw, batch: int, geometry: str
) -> None:
    """All terms together are E[dH] up to the third order, which T3 bounds; without curvature they are not."""
    clip, eta = Clip(0.2, 0.2), 1e-3
    arguments: dict[str, Any] = dict(old_policy=OLD, learning_rate=eta, geometry=geometry, advantage=advantage)
    got = expected_entropy_drift(NEW, clip, reward, **arguments, order=2, batch=batch)
    want, third = mean_change(clip, advantage, reward, eta, geometry, batch)
    # Rounding of the enumerated entropies: 64 ulps of 1 each, weights adding up to 1.
    assert abs(float(got.total) - want) <= third + 64 * 2.0**-52
    first = expected_entropy_drift(NEW, clip, reward, **arguments)
    assert first.curvature is None
    assert abs(float(first.total) - want) > 3 * third, "the case must be able to see the curvature"
    for name in (*CAUSES, "gap_low", "gap_high"):
        assert float(getattr(first, name)) == float(getattr(got, name))
    assert_identity(first.total, first.unclipped + first.clip_low + first.clip_high + first.other, 1e-3)
    assert_identity(got.total, first.total + got.curvature, 1e-3)


@geometries
@pytest.mark.parametrize(
    "objective", [NoClip(), DualClip(0.6, 0.2, 1.25), Cispo(0.3, 0.1), Sapo(1.0, 2.5), CeGppo(), DppoTv(0.05)], ids=str
)
def test_drift_of_every_objective_against_every_outcome(objective: Objective, geometry: str) -> None:
    """As above; the clip that comes with another objective is not applied."""
    eta = 1e-3
    got = expected_entropy_drift(
        NEW, Clip(0.9, 0.01), Bernoulli(0.2), old_policy=OLD, learning_rate=eta, geometry=geometry, objective=objective,
        order=2, batch=1,
    )  # fmt: skip
    want, third = mean_change(objective, Independent(), Bernoulli(0.2), eta, geometry, 1)
    assert abs(float(got.total) - want) <= third + 64 * 2.0**-52
    inside = [s.any() for s in objective.sets(np.exp(NEW.log_probs - OLD.log_probs), OLD.probs)]
    assert [not math.isnan(gap) for gap in (got.gap_low, got.gap_high)] == inside


def test_reference_c_through_the_public_function() -> None:
    """Reference C of theory.md (eta = 1, random +/-1 reward, clip .2/.2), as printed; natural steps and order 1 by default."""
    a = np.arange(1, 65)
    old, policy = SoftmaxPolicy(-np.log(a)), SoftmaxPolicy(-np.log(a) + 0.3 * np.sin(a))
    got = expected_entropy_drift(policy, Clip(), Rademacher(), old_policy=old, learning_rate=1.0)
    for name, printed, digits in (("clip_low", 0.105267, 6), ("clip_high", 0.022933, 6), ("gap_low", 1.137818, 6),
                                  ("gap_high", -0.201486, 6)):  # fmt: skip
        assert abs(float(getattr(got, name)) - printed) <= 0.5000001 * 10**-digits
    assert got.curvature is None
    got = expected_entropy_drift(
        policy, Clip(), Rademacher(), old_policy=old, learning_rate=4.0, geometry="euclidean", order=2, batch=1024
    )
    assert got.curvature is not None
    assert abs(float(got.curvature) + 0.008531) <= 0.5000001e-6
    assert abs(float(got.clip_low) - 4 * 0.0127347) <= 4 * 0.5000001e-7


def test_gaps_are_conditional_means_and_nan_where_a_set_is_empty() -> None:
    log_p, log_old = contexts()
    log_p = np.concatenate([log_p, log_old[:1]])  # the last context is on-policy: nothing there is beyond a bound
    log_old = np.concatenate([log_old, log_old[:1]])
    got = expected_entropy_drift(
        SoftmaxPolicy(log_p), Clip(0.1, 0.1), Rademacher(), old_policy=SoftmaxPolicy(log_old), learning_rate=0.1
    )
    p, s, ratio = np.exp(log_p), -log_p, np.exp(log_p - log_old)
    for gap, inside in ((got.gap_low, ratio < 0.9), (got.gap_high, ratio > 1.1)):
        assert gap.shape == (5,)
        for k in range(5):
            if not inside[k].any():
                assert math.isnan(gap[k])
                continue
            conditional = math.fsum((p[k] * s[k])[inside[k]]) / math.fsum(p[k][inside[k]])
            assert_identity(gap[k], conditional - math.fsum(p[k] * s[k]), 20.0 / float(p[k][inside[k]].sum()))
    assert math.isnan(got.gap_low[4])
    assert math.isnan(got.gap_high[4])
    assert np.isfinite(got.gap_low[:4]).any()


def test_objectives_by_name_take_the_widths_of_the_clip() -> None:
    clip = Clip(0.1, 0.3)

    def drift(objective: Objective | str | None) -> list[float]:
        got = expected_entropy_drift(NEW, clip, TABLE, old_policy=OLD, learning_rate=0.1, objective=objective)
        return [float(getattr(got, name)) for name in (*CAUSES, "gap_low", "gap_high")]

    np.testing.assert_array_equal(drift(None), drift(clip))
    named = {"clip": clip, "cispo": Cispo(0.1, 0.3), "dual_clip": DualClip(0.1, 0.3), "ce_gppo": CeGppo(0.1, 0.3)}
    for name, same in named.items():
        np.testing.assert_array_equal(drift(name), drift(same), err_msg=name)
    assert drift("cispo") != drift(Cispo())
    assert drift(Clip(0.1, 0.4)) != drift(None), "an objective given as such keeps its own widths"
    with pytest.raises(ValueError, match="unknown objective 'ppo'"):
        drift("ppo")


@pytest.mark.parametrize(("name", "same"), [("none", NoClip()), ("sapo", Sapo()), ("dppo_tv", DppoTv())])
def test_objectives_without_widths_by_name(name: str, same: Objective) -> None:
    drifts = [
        expected_entropy_drift(NEW, Clip(0.1, 0.3), TABLE, old_policy=OLD, learning_rate=0.1, objective=o) for o in (name, same)
    ]
    for cause in CAUSES:
        np.testing.assert_array_equal(getattr(drifts[0], cause), getattr(drifts[1], cause))


def test_torch_policies_give_torch_terms() -> None:
    torch = pytest.importorskip("torch")
    log_p, log_old = contexts()
    arguments: dict[str, Any] = dict(learning_rate=0.1, advantage=GroupRelative(2), order=2, batch=4)
    want = expected_entropy_drift(SoftmaxPolicy(log_p), Clip(), TABLE, old_policy=SoftmaxPolicy(log_old), **arguments)
    policies = [SoftmaxPolicy(torch.from_numpy(x)) for x in (log_p, log_old)]
    got = expected_entropy_drift(policies[0], Clip(), TABLE, old_policy=policies[1], **arguments)
    for name in (*CAUSES, "curvature", "gap_low", "gap_high", "total"):
        value, reference = getattr(got, name), getattr(want, name)
        assert value.dtype == torch.float64
        empty = np.isnan(reference)
        np.testing.assert_array_equal(np.isnan(value.numpy()), empty)
        assert_identity(value.numpy()[~empty], reference[~empty], np.full(int((~empty).sum()), 20.0))


def test_drift_can_be_differentiated_in_the_logits() -> None:
    """Torch policies that require a gradient are taken as they are; the moments of the reward are constants."""
    torch = pytest.importorskip("torch")
    old = SoftmaxPolicy(torch.tensor([0.3, -0.6, 0.1], dtype=torch.float64, requires_grad=True))
    logits = torch.tensor([0.9, -1.1, 0.2], dtype=torch.float64, requires_grad=True)

    def total(values: Any) -> Any:
        return expected_entropy_drift(SoftmaxPolicy(values), Clip(), TABLE, old_policy=old, learning_rate=0.1).total

    total(logits).backward()
    h = 1e-5  # central differences: truncation h^2/6 times a third derivative of order eta, rounding / h
    for a in range(3):
        shift = h * torch.eye(3, dtype=torch.float64)[a]
        numeric = float(total((logits + shift).detach()) - total((logits - shift).detach())) / (2 * h)
        assert abs(float(logits.grad[a]) - numeric) <= h**2 + 64 * 2.0**-52 / h


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"old_policy": SoftmaxPolicy([0.0, 0.0])}, r"policy has shape \(3,\) and old_policy \(2,\)"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"learning_rate": -0.1}, "learning_rate must be positive and finite, got -0.1"),
        ({"learning_rate": INF}, "learning_rate must be positive and finite, got inf"),
        ({"learning_rate": math.nan}, "learning_rate must be positive and finite, got nan"),
        ({"geometry": "hyperbolic"}, "geometry must be .* got 'hyperbolic'"),
        ({"order": 0}, "order must be 1 .* or 2 .* got 0"),
        ({"order": 3, "batch": 2}, "order must be 1 .* or 2 .* got 3"),
        ({"order": 2}, "order = 2 needs batch >= 1, .* got None"),
        ({"order": 2, "batch": 0}, "order = 2 needs batch >= 1, .* got 0"),
        ({"order": 2, "batch": -4}, "order = 2 needs batch >= 1, .* got -4"),
        ({"order": 2, "batch": 6, "advantage": GroupRelative(4)}, "batch = 6 is not divisible by advantage.size = 4"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = dict(old_policy=OLD, learning_rate=0.1)
    with pytest.raises(ValueError, match=message):
        expected_entropy_drift(NEW, Clip(), Bernoulli(0.2), **{**arguments, **wrong})


@pytest.mark.parametrize(
    "right",
    [
        {"geometry": "natural"},
        {"geometry": "euclidean"},
        {"order": 1, "batch": 6, "advantage": GroupRelative(4)},  # first order has no minibatch to cut into groups
        {"order": 2, "batch": 1},
        {"order": 2, "batch": 8, "advantage": GroupRelative(4)},
        {"learning_rate": 1e-300},
        {"learning_rate": 2.0},
    ],
    ids=str,
)
def test_arguments_at_the_ends_of_what_makes_sense(right: dict[str, Any]) -> None:
    got = expected_entropy_drift(NEW, Clip(), Bernoulli(0.2), **{"old_policy": OLD, "learning_rate": 0.1, **right})
    assert np.isfinite(got.total)
    assert (got.curvature is not None) == (right.get("order") == 2)


def test_causes_of_an_ungated_objective_act_on_both_signs() -> None:
    """CISPO below the low bound: the weight is 0.8 A for either sign, a change of (0.8 - r) A booked on the low side."""
    ratio = np.array([0.5, 2.0])
    old, plus, minus = np.full(2, 0.1), np.array([0.3, 0.3]), np.array([0.1, 0.1])
    causes = split_by_cause(Cispo(0.2, 0.2), signed_gains(Cispo(0.2, 0.2), ratio, old), ratio, old, plus, minus)
    assert_identity(causes["unclipped"], np.array([0.2, 0.2]), np.ones(2))
    assert_identity(causes["clip_low"], np.array([(0.8 / 0.5 - 1) * 0.2, 0.0]), np.ones(2))
    assert_identity(causes["clip_high"], np.array([0.0, (1.2 / 2.0 - 1) * 0.2]), np.ones(2))
    assert_identity(causes["other"], np.zeros(2), np.ones(2))


def test_causes_of_dual_clip_book_the_cap_as_other() -> None:
    """A < 0 and r beyond the cap: neither of PPO's sides, so the whole A- is lost under `other`."""
    ratio, old = np.array([4.0]), np.array([0.1])
    causes = split_by_cause(DualClip(), signed_gains(DualClip(), ratio, old), ratio, old, np.array([0.0]), np.array([0.7]))
    assert [float(causes[name][0]) for name in CAUSES] == [-0.7, 0.0, 0.0, 0.7]


def test_the_gradient_through_an_infinite_width_is_finite() -> None:
    """torch.where passes 0 times the gradient of the branch not taken: it must not be infinite."""
    torch = pytest.importorskip("torch")
    ratio = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    (CeGppo(0.2, INF).gain("plus", ratio, ratio.detach()) * ratio).sum().backward()
    assert_identity(ratio.grad.numpy(), np.ones(3), np.ones(3))
