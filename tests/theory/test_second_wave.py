"""T14, T15, T17: the proved formulas beside the functions that use them, exact enumeration, and what must be told apart."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sympy as sp

from entclip.drift.cumulants import entropy_gradient
from entclip.drift.first_order import expected_first_order, expected_weights
from entclip.drift.gains import drift_class, own_drift, own_weights
from entclip.drift.same_batch import same_batch_cost
from entclip.drift.second_order import expected_curvature
from entclip.drift.steps import expected_step, logit_step
from entclip.objectives.base import Change, View
from entclip.objectives.catalogue import objective
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.policies.softmax import Geometry, log_softmax
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Bernoulli, Rademacher
from tests.theory.test_binding import Case, agrees, cases, formula, geometries
from tests.tolerances import assert_identity
from theory import expected_drift as t5
from theory import gains as t14
from theory.sums import Action, evaluate, l, magnitude, pi, pi0

M = sp.Symbol("M", positive=True)


def change_of(case: Case, name: str, **parameters: Any) -> Change:
    chosen = objective(name, **parameters)
    return chosen.change(View.of(case.log_p, case.old, chosen.needs))


# ---- T14 --------------------------------------------------------------------------------------------------------------------


@geometries
@cases
def test_t14_the_rule_is_the_code(case: Case, geometry: Geometry) -> None:
    """Any gains and extra weights: arrays that no objective made."""
    plain = change_of(case, "clip")
    gains = [np.abs(case.of(x)) for x in ("u", "v")]
    change = replace(Change.of(*gains, plain.low, plain.high), extra_plus=case.of("d"), extra_minus=case.of("q"))
    values = case.values | dict(zip((t14.g_plus, t14.g_minus), gains, strict=True))
    values |= {t14.x_plus: case.of("d"), t14.x_minus: case.of("q"), M: 0.7, t14.share_plus: 0.2, t14.share_minus: 0.5}
    code = own_drift(change, case.log_p, half_mean=0.7, learning_rate=1.0, geometry=geometry, share_plus=0.2, share_minus=0.5)
    agrees(code, formula("T14", f"drift_{geometry}"), values)


@geometries
@cases
@pytest.mark.parametrize("name", ["clip", "none", "cispo", "dual_clip", "ce_gppo", "sapo"])
def test_t14_own_drift_is_t5_without_its_causes(case: Case, geometry: Geometry, name: str) -> None:
    """Two derivations: the difference of the gains, and T5's sum over causes for a Bernoulli reward, M = p (1 - p)."""
    change = change_of(case, name)
    weights = expected_weights(change, Independent().moments(Bernoulli(0.3), case.old_p))
    parts = expected_first_order(weights, case.log_p, learning_rate=0.5, geometry=geometry)
    code = own_drift(change, case.log_p, half_mean=0.21, learning_rate=0.5, geometry=geometry)
    assert_identity(code, sum(parts.values()), 1 + sum(np.abs(x) for x in parts.values()))


@cases
def test_t14_dual_clip_takes_back_clip_high(case: Case) -> None:
    high, cap = 0.02, 1.1
    view = View.of(case.log_p, case.old)
    weights, clipped = (own_weights(o.change(view), 0.5) for o in (DualClip(0.2, high, cap), Clip(0.2, high)))
    values = case.values | {M: 0.5, Action("1_{cap}"): (case.ratio > cap).astype(float), Action("kappa"): case.of("u")}
    values |= {t5.high: (case.ratio > 1 + high).astype(float)}
    p, value = np.exp(case.log_p), case.of("u")
    covariance = np.sum(p * value * weights, -1) - np.sum(p * value, -1) * np.sum(p * weights, -1)
    agrees(covariance, formula("T14", "dual_clip"), values)
    beyond = case.ratio > cap
    assert beyond.any()
    assert not np.any(weights[beyond])
    assert np.all(clipped[beyond] == -0.5)  # what it takes back


def test_t14_ce_gppo_changes_its_sign_at_the_edge() -> None:
    low, beta = 0.2, 0.75
    edge = beta * (1 - low)
    ratio = np.array([edge * 0.5, edge * (1 - 1e-6), edge * (1 + 1e-6), 0.79])
    change = CeGppo(low, 0.2, beta, 1.0).change(View(ratio, np.full(4, 0.1), np.log(0.1 * ratio)))
    names = {"r": Action("r", positive=True), "eps": sp.Symbol("epsilon_low", positive=True)}
    expr = formula("T14", "ce_gppo_low")
    symbols = [names["r"], names["eps"], sp.Symbol("beta_1", positive=True)]
    proved = sp.lambdify(symbols, expr, "numpy")(ratio, low, beta)
    difference = change.gains.plus - change.gains.minus
    assert_identity(difference, proved, 1 + edge / ratio)
    assert np.sign(difference).tolist() == [-1, -1, 1, 1]
    reversed_ = CeGppo(low, 0.2, 1.0, 1.0).change(View(ratio, np.full(4, 0.1), np.log(0.1 * ratio)))
    assert np.all(reversed_.gains.plus < reversed_.gains.minus)  # GPPO: all of LOW
    assert np.all(Clip(low, 0.2).change(View(ratio, np.full(4, 0.1), np.log(0.1 * ratio))).gains.minus == 0)


CLASSES = {
    "none": [
        *((name, {}) for name in ("none", "reinforce", "truncated_weights", "cispo", "cispo_trl", "cispo_torchrl", "abc_grpo")),
        ("sapo", {"tau_pos": 1.3, "tau_neg": 1.3}),
        ("erc", {"low": 1.0, "high": math.inf}),
        ("steer", {"low": 1.0, "high": math.inf, "cap": math.inf}),  # advantages of one size
    ],
    "constant": [("positive_weight", {"lambda_pos": 0.5}), ("w_reinforce", {})],
    "off_policy": [
        ("clip", {}),
        ("dual_clip", {}),
        ("ce_gppo", {}),
        ("sapo", {}),
        ("dppo_tv", {"delta": 0.01}),
        ("flexible", {}),
        *((name, {}) for name in ("leave_one_out", "gapo", "bapo", "adapo", "kl_cov")),
    ],
    "on_policy": [
        *((name, {}) for name in ("entropy_bonus", "reference_kl", "repo_r")),
        ("entropic", {"alpha": 0.5}),
        *((name, {}) for name in ("cde", "aepo")),
        ("aer", {"target": 5.0}),
        ("clip_v", {"mu": 1.0, "max_fraction": 0.1}),
        ("clip_cov", {"lower": 0.2}),
    ],
}


@pytest.mark.parametrize(("expected", "name", "parameters"), [(k, *x) for k, row in CLASSES.items() for x in row])
def test_t14_classes_of_members(expected: str, name: str, parameters: dict[str, float]) -> None:
    assert drift_class(objective(name, **parameters)) == expected


def test_t14_a_shared_factor_has_no_drift_of_its_own() -> None:
    """The 80/20 mask over no clip: none, although it drops most contexts. Over a clip what drifts is the clip."""
    assert drift_class(objective("high_entropy_mask", low=1.0, high=math.inf)) == "none"
    assert drift_class(objective("high_entropy_mask")) == "off_policy"


@geometries
@cases
def test_t14_on_policy_drifters(case: Case, geometry: Geometry) -> None:
    """REPO-R and EntroPIC at r = 1, through their own files."""
    zeta, alpha, threshold = 0.03, 0.4, 0.2
    here = View.of(case.log_p, case.log_p)
    options: dict[str, Any] = {"half_mean": 0.5, "learning_rate": 1.0}
    values = case.values | {M: 0.5, sp.Symbol("zeta", positive=True): zeta, sp.Symbol("alpha", positive=True): alpha}
    values |= {Action("1_F"): (np.exp(case.log_p) > threshold).astype(float)}
    if geometry == "natural":
        code = own_drift(objective("repo_r", zeta=zeta).change(here), case.log_p, geometry="natural", **options)
        agrees(code, formula("T14", "repo_r"), values)
        assert np.all(code > 0)
    tilted = objective("entropic", alpha=alpha, threshold=threshold).change(here)
    code = own_drift(tilted, case.log_p, geometry=geometry, **options)
    agrees(code, formula("T14", f"entropic_{geometry}"), values)


def test_t14_clip_b_discriminator_has_a_floor() -> None:
    p, entropy = np.linspace(1e-9, 1, 100_001)[:, None], np.linspace(0.01, 6, 40)
    least = np.array([float(formula("T14", "clip_b").subs(sp.Symbol("H", positive=True), h)) for h in entropy])
    found = np.min(p * (np.log(p) + entropy), axis=0)
    assert np.all(found >= least)
    curvature = np.exp(1 + entropy)  # of p (log p + H) at its minimum, 1/p: a grid of width h misses it by at most h^2/8 of that
    assert np.all(found - least <= curvature * 1e-10 / 8 * 1.01 + 1e-15)


# ---- T15 --------------------------------------------------------------------------------------------------------------------


@geometries
@cases
def test_t15_first_and_second_order(case: Case, geometry: Geometry) -> None:
    """What a bonus adds to T5 and to T8, from the proof's covariance and from its form, with any weights w."""
    w, eta, batch = case.of("d"), 0.7, 8
    plain = change_of(case, "clip")
    with_bonus = replace(plain, bonus={"bonus": w})
    moments = Independent().moments(Rademacher(), case.old_p)
    options: dict[str, Any] = {"learning_rate": eta, "geometry": geometry, "batch": batch}
    gained = [expected_curvature(case.log_p, case.ratio, c, moments, **options) for c in (with_bonus, plain)]
    bonus = expected_step(w, case.log_p, geometry=geometry)
    mean = expected_step(own_weights(plain, 0.5), case.log_p, geometry=geometry)
    proved = formula("T15", "form")
    symbols = sp.symbols("eta T_S Q X Y B", real=True)
    second = sp.lambdify(symbols, formula("T15", "second"))

    def forms(of: Any) -> tuple[Any, Any]:
        return tuple(of(proved, case.values | {Action("d"): u, Action("b"): v}) for u, v in ((mean, bonus), (bonus, bonus)))

    size = second(eta, 0, 0, *forms(magnitude), batch) + sum(np.abs(x) for x in gained)
    assert_identity(gained[0] - gained[1], second(eta, 0, 0, *forms(evaluate), batch), size)
    difference = [own_drift(c, case.log_p, half_mean=0.5, learning_rate=1.0, geometry=geometry) for c in (with_bonus, plain)]
    first = formula("T15", f"first_{geometry}")
    values = case.values | {Action("w"): w}
    assert_identity(difference[0] - difference[1], evaluate(first, values), magnitude(first, values) + np.abs(difference[0]))


@geometries
@cases
def test_t15_the_entropy_bonus_ascends_entropy(case: Case, geometry: Geometry) -> None:
    beta = 0.4
    step = expected_step(change_of(case, "entropy_bonus", coefficient=beta).bonus_weights, case.log_p, geometry=geometry)
    code = np.sum(entropy_gradient(case.log_p) * step, axis=-1)
    agrees(code, formula("T15", f"entropy_{geometry}"), case.values | {sp.Symbol("beta", real=True): beta})
    assert np.all(code > 0)
    if geometry == "euclidean":  # the step is beta grad H itself
        assert_identity(step, beta * entropy_gradient(case.log_p), 1 + np.abs(case.log_p))


# ---- T17 --------------------------------------------------------------------------------------------------------------------


def realised(w: Any, x: np.ndarray, log_p: np.ndarray, old: np.ndarray, samples: int, geometry: Geometry, others: bool) -> float:
    """First-order change, its mean over all draws: every sample of action a has weight w(a, tau), tau the mean of x over them, or
    over as many other samples."""
    gradient, p0 = entropy_gradient(log_p), np.exp(old)
    vocab, total = len(x), 0.0
    draws = list(itertools.product(range(vocab), repeat=samples))
    chance = np.array([math.prod(p0[list(draw)]) for draw in draws])
    taus = np.array([np.mean(x[list(draw)]) for draw in draws])
    mean_w = np.sum(chance[:, None] * np.array([w(tau) for tau in taus]), axis=0)
    for draw, probability, tau in zip(draws, chance, taus, strict=True):
        counts = np.bincount(draw, minlength=vocab)
        weights = counts / samples * (mean_w if others else w(tau))
        step = logit_step(weights, log_p, old, learning_rate=0.3, geometry=geometry)
        total += probability * float(gradient @ step)
    return total


@geometries
def test_t17_the_cost_is_exact_for_a_mean(geometry: Geometry) -> None:
    rng = np.random.default_rng(4)
    old = log_softmax(rng.normal(size=3))
    log_p = log_softmax(old + rng.normal(scale=0.3, size=3))
    u, v, x = rng.normal(size=(3, 3))
    for samples in (1, 2, 4):
        same, others = (realised(lambda tau: u + v * tau, x, log_p, old, samples, geometry, flag) for flag in (False, True))
        code = same_batch_cost(log_p, old, v, x, samples=samples, learning_rate=0.3, geometry=geometry)
        assert abs(code) > 1e-4  # it can be told from none
        assert_identity(np.array(code), np.array(same - others), np.array(1.0))
        values = {
            pi: np.exp(log_p),
            l: log_p,
            pi0: np.exp(old),
            Action("w'"): v,
            Action("x"): x,
            sp.Symbol("N", positive=True): samples,
        }
        agrees(code, 0.3 * formula("T17", f"cost_{geometry}"), values)


def test_t17_what_is_left_out_falls_as_the_square() -> None:
    """A weight that bends with the statistic: the first term in 1/N leaves O(1/N^2)."""
    old, x, u = log_softmax(np.array([0.4, -0.3])), np.array([0.9, -0.6]), np.array([0.2, -1.0])
    log_p = log_softmax(np.array([0.1, 0.3]))
    centre = float(np.exp(old) @ x)
    errors = []
    for samples in (3, 6, 12):
        same, others = (
            realised(lambda tau: u * np.sin(2 * tau), x, log_p, old, samples, "natural", flag) for flag in (False, True)
        )
        code = same_batch_cost(
            log_p, old, 2 * u * math.cos(2 * centre), x, samples=samples, learning_rate=0.3, geometry="natural"
        )
        errors.append(abs(same - others - float(code)))
    assert -np.polyfit(np.log([3, 6, 12]), np.log(errors), 1)[0] > 1.8


def test_t17_a_baseline_of_the_batch_shrinks_the_drift() -> None:
    rng = np.random.default_rng(1)
    old = log_softmax(rng.normal(size=4))
    reward = rng.normal(size=4)
    value = expected_first_order({"w": reward - np.exp(old) @ reward}, old, learning_rate=1.0, geometry="natural")["w"]
    cost = same_batch_cost(old, old, -1.0 + 0 * reward, reward, samples=8, learning_rate=1.0, geometry="natural")
    assert_identity(np.array(cost), np.array(-value / 8), np.array(1.0))


def test_t17_refuses_no_samples() -> None:
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        same_batch_cost(np.zeros(2), np.zeros(2), 1.0, 1.0, samples=0, learning_rate=1.0, geometry="natural")
