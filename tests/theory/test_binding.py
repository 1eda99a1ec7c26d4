"""T1 to T10: what theory/ proved is what entclip computes: every published formula evaluated beside the function that uses it."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp

from entclip.drift import cumulants
from entclip.drift.first_order import clip_set_stats, expected_first_order, expected_weights
from entclip.drift.noise import noise_drift
from entclip.drift.second_order import expected_curvature, expected_step_variance, noise_trace
from entclip.objectives.base import split_by_cause, weight
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.sapo import Sapo
from entclip.policies.softmax import Geometry, log_softmax
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher
from tests.seen import changed, seen, sets
from tests.tolerances import assert_identity
from theory import expected_drift as t5
from theory import group_advantages as t7
from theory.catalogue import proofs
from theory.curvature import form
from theory.sums import Action, evaluate, l, magnitude, pi

SYMBOL = {name: Action(name) for name in ("u", "v", "d", "q")}
CLIP = Clip(0.2, 0.28)
geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])


proved = cache(proofs)


def formula(claim: str, key: str) -> Any:
    """A formula that the proofs of a claim concluded with."""
    return next(p.formulas[key] for p in proved(claim) if key in p.formulas)


def agrees(code: Any, expr: Any, values: dict[Any, Any]) -> None:
    """The code's value is the formula's, up to the rounding of the formula's own terms: it cancels more than the code does."""
    assert_identity(code, evaluate(expr, values), magnitude(expr, values) + np.abs(code))


class Case:
    """Two policies of four contexts and the quantities of the proofs on them."""

    def __init__(self, vocab: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.old = log_softmax(rng.normal(size=(4, vocab)))
        self.log_p = log_softmax(self.old + rng.normal(scale=0.4, size=(4, vocab)))
        self.ratio, self.old_p = np.exp(self.log_p - self.old), np.exp(self.old)
        self.vectors = {x: rng.normal(size=(4, vocab)) for x in SYMBOL.values()}
        self.values = {pi: np.exp(self.log_p), l: self.log_p, t5.r: self.ratio, **self.vectors}
        low, high = sets(CLIP, self.ratio, self.old_p)
        self.values |= {t5.low: low.astype(float), t5.high: high.astype(float)}

    def of(self, name: str) -> Any:
        return self.vectors[SYMBOL[name]]


cases = pytest.mark.parametrize("case", [Case(2, 0), Case(5, 1), Case(64, 2)], ids=["V=2", "V=5", "V=64"])


@cases
def test_t1_gradient_and_hessian(case: Case) -> None:
    u, v = case.of("u"), case.of("v")
    agrees(cumulants.entropy_gradient(case.log_p), formula("T1", "gradient"), case.values)
    agrees(cumulants.hessian_product(case.log_p, v), formula("T1", "product"), case.values)
    agrees(cumulants.hessian_form(case.log_p, u, v), formula("T1", "form"), case.values)
    agrees(cumulants.hessian_diagonal(case.log_p), formula("T1", "diagonal"), case.values)


@cases
def test_t2_t3_derivatives_along_a_step(case: Case) -> None:
    found = cumulants.directional_derivatives(case.log_p, case.of("d"))
    agrees(found.first, formula("T2", "first"), case.values)
    for order in ("first", "second", "third", "variance"):
        agrees(getattr(found, order), formula("T3", order), case.values)


@cases
def test_t3_remainder_bounds(case: Case) -> None:
    d = case.of("d")
    values = {SYMBOL["d"]: d, sp.Symbol("D", positive=True): d.max(-1) - d.min(-1)}
    values[sp.Symbol("sigma", positive=True)] = np.full(4, float(evaluate(formula("T3", "sigma"), {SYMBOL["d"]: d})))
    for code, key in zip(cumulants.remainder_bounds(d), ("after_first", "after_second"), strict=True):
        agrees(code, formula("T3", key), values)


def test_t4_weight_of_the_clipped_surrogate() -> None:
    low, high = sp.Symbol("epsilon_low", nonnegative=True), sp.Symbol("epsilon_high", nonnegative=True)
    r, a = sp.Symbol("r", positive=True), sp.Symbol("A", real=True)
    proved = sp.lambdify((r, a, low, high), formula("T4", "weight"), "numpy")
    rng = np.random.default_rng(0)
    ratio, advantage = np.exp(rng.normal(scale=0.5, size=400)), rng.normal(size=400)
    for clip in (CLIP, Clip(0, 0), Clip(1, 5)):
        code = weight(clip, seen(ratio, np.full(400, 0.1)), advantage)
        assert_identity(code, proved(ratio, advantage, clip.low, clip.high), np.abs(ratio * advantage))


@geometries
@cases
@pytest.mark.parametrize("law", [Rademacher(), Bernoulli(0.2), Gaussian(0, 2)], ids=lambda law: law.kind)
def test_t5_drift_by_cause(case: Case, geometry: Geometry, law: Any) -> None:
    moments = Independent().moments(law, case.old_p)
    values = case.values | {
        t5.m_plus: np.broadcast_to(moments.by_action("plus"), case.log_p.shape),
        t5.m_minus: np.broadcast_to(moments.by_action("minus"), case.log_p.shape),
    }
    weights = expected_weights(changed(CLIP, case.ratio, case.old_p), moments)
    found = expected_first_order(weights, case.log_p, learning_rate=1.0, geometry=geometry)
    for cause in ("unclipped", "clip_low", "clip_high"):
        agrees(found[cause], formula("T5", f"{cause}_{geometry}"), values)
    # T5 allows any reward: other numbers for M+ and M-, different for each action, through the same function
    values |= {t5.m_plus: np.abs(case.of("u")), t5.m_minus: np.abs(case.of("v"))}
    weights = split_by_cause(changed(CLIP, case.ratio, case.old_p), values[t5.m_plus], values[t5.m_minus])
    found = expected_first_order(weights, case.log_p, learning_rate=1.0, geometry=geometry)
    for cause in ("unclipped", "clip_low", "clip_high"):
        agrees(found[cause], formula("T5", f"{cause}_{geometry}"), values)


@geometries
@cases
def test_t6_masses_of_the_clip_sets(case: Case, geometry: Geometry) -> None:
    clip = Clip(0.02, 0.02)  # both sets must hold something: the formula divides by their probabilities
    stats = clip_set_stats(changed(clip, case.ratio, case.old_p), case.log_p, geometry)
    low, high = (x.astype(float) for x in sets(clip, case.ratio, case.old_p))
    values = case.values | {t5.low: low, t5.high: high, sp.Symbol("M", positive=True): 0.7}
    agrees(0.7 * (stats.mass_low - stats.mass_high), formula("T6", f"drift_{geometry}"), values)


@pytest.mark.parametrize("size", [2, 3, 8, 17])
@pytest.mark.parametrize("chance", [0.5, 0.2, 0.93])
@pytest.mark.parametrize("scale", ["none", "std"])
def test_t7_bernoulli_groups(size: int, chance: float, scale: Any) -> None:
    at = {t7.G: size, t7.chance: sp.Rational(str(chance))}
    found = GroupRelative(size, scale, ddof=0).moments(Bernoulli(chance), np.full((1, 2), 0.5))
    assert found.pair is not None
    second = float(formula("T7", f"square_{scale}").subs(at))
    for key, value in (
        (f"pp_{scale}", found.pair.plus_plus),
        (f"mm_{scale}", found.pair.minus_minus),
        (f"pm_{scale}", found.pair.plus_minus),
        (f"square_{scale}", found.plus_sq + found.minus_sq),
    ):
        # p^G and q^G come from G convolutions: each adds a few ulps, relative to second moments of order m2
        assert_identity(np.squeeze(value), float(formula("T7", key).subs(at)), size * second)
    if scale == "none":
        assert_identity(np.squeeze(found.plus), float(formula("T7", "mean_none").subs(at)), size * second)


@pytest.mark.parametrize("eps", [0.0, 0.3])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_t7_scaled_mean_of_bernoulli_groups(size: int, eps: float) -> None:
    hits, misses, added = sp.Symbol("k", positive=True), sp.Symbol("m", positive=True), sp.Symbol("epsilon", nonnegative=True)
    term = formula("T7", "mean_eps_term")
    mean = math.fsum(
        math.comb(size, k) * 0.3**k * 0.7 ** (size - k) * float(term.subs({hits: k, misses: size - k, added: eps}))
        for k in range(1, size)
    )
    found = GroupRelative(size, "std", ddof=0, eps=eps).moments(Bernoulli(0.3), np.full((1, 2), 0.5))
    assert_identity(np.squeeze(found.plus), mean, size)
    assert_identity(np.squeeze(found.minus), mean, size)


@pytest.mark.parametrize("size", [2, 3, 8, 64])
def test_t7_gaussian_groups(size: int) -> None:
    group, sd = sp.Symbol("G", integer=True, positive=True), sp.Symbol("sd", positive=True)
    angle = sp.Symbol("alpha", real=True)
    old = np.full((1, 2), 0.5)
    plain = GroupRelative(size, "none").moments(Gaussian(1.0, 2.0), old)
    scaled = GroupRelative(size, "std", ddof=0).moments(Gaussian(1.0, 2.0), old)
    # lgamma of arguments up to 32 is about 80, and its exponential carries that many ulps
    assert_identity(plain.plus[0], float(formula("T7", "mean_none_gaussian").subs({group: size, sd: 2})), 2.0)
    assert_identity(scaled.plus[0], float(formula("T7", "mean_std").subs({group: size, sd: 2})), 2.0 if size < 64 else 80.0)
    at = {angle: math.acos(-1 / (size - 1))}
    for moments, second in ((plain, 4 * (size - 1) / size), (scaled, 1.0)):
        assert moments.pair is not None
        for key, value in (
            ("same", moments.pair.plus_plus),
            ("same", moments.pair.minus_minus),
            ("opposite", moments.pair.plus_minus),
        ):
            assert_identity(np.squeeze(value), second * float(formula("T7", key).subs(at)), 4.0)


@geometries
@cases
def test_t8_trace_and_step_variance(case: Case, geometry: Geometry) -> None:
    square = np.abs(case.of("q"))
    values = case.values | {SYMBOL["q"]: square}
    agrees(noise_trace(case.log_p, case.ratio, square, geometry=geometry), formula("T8", f"trace_{geometry}"), values)
    moments = Independent().moments(Rademacher(), case.old_p)
    change = changed(CLIP, case.ratio, case.old_p)
    gains = change.gains
    found = expected_step_variance(case.log_p, case.ratio, change, moments, geometry=geometry, batch=1)
    values = case.values | {SYMBOL["q"]: (gains.plus_sq + gains.minus_sq) / 2}
    agrees(found, formula("T8", f"variance_{geometry}"), values)


@geometries
@cases
@pytest.mark.parametrize("shared", [0.0, 1.0, 0.25])
def test_t8_curvature(case: Case, geometry: Geometry, shared: float) -> None:
    """The general formula, its pair part from the proof's form and the K table of the clip's states."""
    rule, law, batch, eta = GroupRelative(4, "none"), Bernoulli(0.3), 8, 0.7
    moments, change = rule.moments(law, case.old_p), changed(CLIP, case.ratio, case.old_p)
    gains = change.gains
    assert moments.pair is not None
    numbers = {
        sp.Symbol("pp", nonnegative=True): moments.pair.plus_plus,
        sp.Symbol("mm", nonnegative=True): moments.pair.minus_minus,
    }
    numbers[sp.Symbol("pm", nonnegative=True)] = moments.pair.plus_minus
    numbers = {k: float(np.squeeze(v)) for k, v in numbers.items()}
    low, high = case.values[t5.low], case.values[t5.high]
    marks = {"band": 1 - low - high, "HIGH": high, "LOW": low}
    p = np.exp(case.log_p)

    def step(w: np.ndarray) -> np.ndarray:
        return w if geometry == "natural" else p * (w - np.sum(p * w, -1, keepdims=True))

    pair_value, pair_size = np.zeros(4), np.zeros(4)
    for s, first in marks.items():
        for t, second in marks.items():
            key = (
                f"K_{s}_{t}"
                if (s, t)
                in (("band", "band"), ("band", "HIGH"), ("band", "LOW"), ("HIGH", "HIGH"), ("HIGH", "LOW"), ("LOW", "LOW"))
                else f"K_{t}_{s}"
            )
            k = float(formula("T8", key).subs(numbers))
            values = case.values | {SYMBOL["u"]: step(first), SYMBOL["v"]: step(second)}
            expr = form(SYMBOL["u"], SYMBOL["v"])
            pair_value += k * evaluate(expr, values)
            pair_size += abs(k) * magnitude(expr, values)
    plus, minus = (np.squeeze(moments.by_action(x)) for x in ("plus", "minus"))
    square = gains.plus_sq * moments.by_action("plus_sq") + gains.minus_sq * moments.by_action("minus_sq")
    values = case.values | {SYMBOL["q"]: square}
    trace = formula("T8", f"trace_{geometry}")
    mean = step(gains.plus * plus - gains.minus * minus)
    quad = case.values | {SYMBOL["u"]: mean, SYMBOL["v"]: mean}
    names = {"T_S": evaluate(trace, values), "T_C": pair_value, "Q": evaluate(form(SYMBOL["u"], SYMBOL["v"]), quad)}
    sizes = {"T_S": magnitude(trace, values), "T_C": pair_size, "Q": magnitude(form(SYMBOL["u"], SYMBOL["v"]), quad)}
    general = sp.lambdify(
        [*sp.symbols("T_S T_C Q", real=True), *sp.symbols("eta B", positive=True), sp.Symbol("c", real=True)],
        formula("T8", "general"),
    )
    code = expected_curvature(
        case.log_p, case.ratio, change, moments, learning_rate=eta, geometry=geometry, batch=batch, shared_group=shared
    )
    assert_identity(
        code, general(*names.values(), eta, batch, shared), general(*sizes.values(), eta, batch, shared) + np.abs(code)
    )


@geometries
@cases
def test_t9_noise_drift(case: Case, geometry: Geometry) -> None:
    code = noise_drift(case.log_p, learning_rate=1.0, second_moment=2.0, batch=1, geometry=geometry)
    agrees(code, formula("T9", geometry), case.values)


@cases
@pytest.mark.parametrize("key", ["clip", "dual_clip", "cispo", "ce_gppo", "sapo"])
def test_t10_weights_of_the_family(case: Case, key: str) -> None:
    objective = {
        "clip": CLIP,
        "dual_clip": DualClip(0.2, 0.28, 1.5),
        "cispo": Cispo(0.2, 0.28),
        "ce_gppo": CeGppo(0.2, 0.28, 0.6, 0.9),
        "sapo": Sapo(1.0, 2.5),
    }[key]
    values = case.values | {
        sp.Symbol("M", positive=True): 0.5,
        Action("1_{cap}"): (case.ratio > 1.5).astype(float),
        sp.Symbol("epsilon_low", positive=True): 0.2,
        sp.Symbol("epsilon_high", positive=True): 0.28,
        sp.Symbol("beta_1", positive=True): 0.6,
        sp.Symbol("beta_2", positive=True): 0.9,
        sp.Symbol("r", positive=True): case.ratio,
        sp.Symbol("tau_p", positive=True): 1.0,
        sp.Symbol("tau_n", positive=True): 2.5,
    }
    parts = expected_weights(changed(objective, case.ratio, case.old_p), Independent().moments(Rademacher(), case.old_p))
    code = sum(parts.values())
    expr = formula("T10", key)
    symbols = sorted(expr.free_symbols, key=str)
    proved = np.asarray(sp.lambdify(symbols, expr, "numpy")(*(values[x] for x in symbols))) + 0 * case.ratio
    assert_identity(code, proved, 4 + 0 * code)
