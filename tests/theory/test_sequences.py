"""T16: GSPO's drift on a tree of prefixes against differences of its surrogate and against samples; the ceiling on shares."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy as sp

from entclip.drift.cumulants import entropy_gradient
from entclip.drift.first_order import expected_first_order
from entclip.drift.sequences import gspo_drift, normal_clip_share, sequence_ratio, share_ceiling
from entclip.drift.steps import logit_step
from entclip.objectives.base import View, split_by_cause
from entclip.objectives.clip import Clip
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import Geometry, log_softmax
from tests.theory.test_binding import formula, geometries
from tests.tolerances import SIGMAS, assert_identity

TREE = PrefixTree(3, 2)
LOW, HIGH = 0.08, 0.06


def policies() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    old = log_softmax(rng.normal(size=(TREE.prefixes, TREE.vocab)))
    return log_softmax(old + rng.normal(scale=0.3, size=old.shape)), old


def moments() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    return np.abs(rng.normal(size=TREE.sequences)), np.abs(rng.normal(size=TREE.sequences))


def surrogate(logits: np.ndarray, old: np.ndarray, plus: np.ndarray, minus: np.ndarray) -> float:
    """The expectation of min(s A, clip(s) A) over all sequences."""
    s = np.exp((TREE.sequence_log_probs(log_softmax(logits)) - TREE.sequence_log_probs(old)) / TREE.length)
    value = plus * np.minimum(s, 1 + HIGH) - minus * np.maximum(s, 1 - LOW)
    return float(np.exp(TREE.sequence_log_probs(old)) @ value)


def test_t16_euclidean_drift_is_the_surrogates_own_gradient() -> None:
    log_p, old = policies()
    plus, minus = moments()
    ratio = sequence_ratio(TREE, log_p, old)
    assert np.any(ratio < 1 - LOW)
    assert np.any(ratio > 1 + HIGH)
    gradient, h = np.zeros_like(log_p), 1e-5
    for place in np.ndindex(log_p.shape):
        move = np.zeros_like(log_p)
        move[place] = h
        gradient[place] = (surrogate(log_p + move, old, plus, minus) - surrogate(log_p - move, old, plus, minus)) / (2 * h)
    numeric = np.sum(entropy_gradient(log_p) * gradient, axis=-1)
    code = gspo_drift(TREE, log_p, old, plus, minus, low=LOW, high=HIGH, learning_rate=1.0, geometry="euclidean")
    # truncation h^2/6 times a third derivative of order 1, rounding 1e-16/h
    assert np.max(np.abs(code - numeric)) < 1e-10
    unclipped = gspo_drift(TREE, log_p, old, plus, minus, low=1, high=math.inf, learning_rate=1.0, geometry="euclidean")
    assert np.max(np.abs(unclipped - numeric)) > 1e-3  # the clip matters here


@geometries
def test_t16_drift_against_samples(geometry: Geometry) -> None:
    """Rewards that ignore the sequence, A = +-1; sequences drawn, each token pushed by its sequence's weight."""
    log_p, old = policies()
    rng, batch, repeats = np.random.default_rng(2), 64, 3000
    probs, ratio, visits = np.exp(TREE.sequence_log_probs(old)), sequence_ratio(TREE, log_p, old), TREE.visits(old)
    found = np.empty((repeats, TREE.prefixes))
    token_ratio = np.exp(log_p - old)
    for k in range(repeats):
        counts = rng.multinomial(batch, probs)
        ups = rng.binomial(counts, 0.5)
        weight = (ups * (ratio <= 1 + HIGH) - (counts - ups) * (ratio >= 1 - LOW)) * ratio / TREE.length / batch
        step = logit_step(TREE.per_token(weight) / token_ratio, log_p, old, learning_rate=1.0, geometry=geometry)
        if geometry == "natural":  # logit_step takes every sample of a context; here a share d_s of them comes by
            step = step / visits[:, None]
        found[k] = np.sum(entropy_gradient(log_p) * step, axis=-1)
    error = np.std(found, axis=0, ddof=1) / math.sqrt(repeats)
    args = {"low": LOW, "high": HIGH, "learning_rate": 1.0, "geometry": geometry}
    code = gspo_drift(TREE, log_p, old, 0.5, 0.5, **args)  # type: ignore[arg-type]
    assert np.all(np.abs(np.mean(found, axis=0) - code) < SIGMAS * error)
    swapped = gspo_drift(TREE, log_p, old, 0.5, 0.5, **(args | {"low": HIGH * 3, "high": LOW / 4}))  # type: ignore[arg-type]
    assert np.any(np.abs(np.mean(found, axis=0) - swapped) > SIGMAS * error)


@geometries
def test_t16_one_token_is_ppo_and_no_clip_does_nothing(geometry: Geometry) -> None:
    tree, rng = PrefixTree(5, 1), np.random.default_rng(3)
    old = log_softmax(rng.normal(size=(1, 5)))
    log_p = log_softmax(old + rng.normal(scale=0.4, size=(1, 5)))
    code = gspo_drift(tree, log_p, old, 0.5, 0.5, low=0.2, high=0.1, learning_rate=0.3, geometry=geometry)
    weights = split_by_cause(Clip(0.2, 0.1).change(View.of(log_p, old)), np.full((1, 5), 0.5), np.full((1, 5), 0.5))
    token = expected_first_order({"all": sum(weights.values())}, log_p, learning_rate=0.3, geometry=geometry)["all"]
    assert_identity(code, token, np.ones(1))
    log_p, old = policies()
    zero = gspo_drift(TREE, log_p, old, 0.5, 0.5, low=1, high=math.inf, learning_rate=0.3, geometry=geometry)
    assert_identity(zero, np.zeros(TREE.prefixes), np.ones(TREE.prefixes))


def test_t16_weights_of_tokens_as_proved() -> None:
    """GSPO's and GMPO's formulas at numbers, against differences of the surrogates."""
    first, rest, advantage, h = 0.13, -0.21, 1.7, 1e-6
    symbols = [*sp.symbols("rho_t rho_other A", real=True), sp.Symbol("T", positive=True, integer=True)]
    code = float(sp.lambdify(symbols, formula("T16", "gspo"))(first, rest, advantage, 5))
    numeric = [math.exp((first + sign * h + rest) / 5) * advantage for sign in (1, -1)]
    assert abs(code - (numeric[0] - numeric[1]) / (2 * h)) < 1e-9
    gmpo = formula("T16", "gmpo")
    clamped, inside = sp.Symbol("c_t", real=True), sp.Symbol("1_{in}", real=True)
    for value, slope in ((0.13, 1), (0.4, 0)):
        numeric = [math.exp((min(value + sign * h, 0.3) + rest) / 5) * advantage for sign in (1, -1)]
        at = {symbols[1]: rest, symbols[2]: advantage, symbols[3]: 5, clamped: min(value, 0.3), inside: slope}
        assert abs(float(gmpo.subs(at)) - (numeric[0] - numeric[1]) / (2 * h)) < 1e-9


def test_t16_ratio_of_what_the_old_policy_hardly_knew_is_held_in_range() -> None:
    """Sequences of chance e^-1600 before and e^-1.4 now: as a token's ratio, neither infinite nor 0."""
    now = np.log(np.full((TREE.prefixes, TREE.vocab), 1 / TREE.vocab))
    old = now.copy()
    old[..., 0] = -1600.0
    ratio = sequence_ratio(TREE, now, old)
    assert np.isfinite(ratio).all()
    assert np.isfinite(1 / sequence_ratio(TREE, old, now)).all()
    assert np.max(ratio) > 1e290


@pytest.mark.parametrize("minibatches", [1, 2, 4, 16])
def test_t16_ceiling(minibatches: int) -> None:
    k = sp.Symbol("K", positive=True)
    assert share_ceiling(minibatches) == pytest.approx(float(formula("T16", "ceiling").subs(k, minibatches)), abs=1e-15)
    # the narrowest clip there is reaches it: every ratio is beyond one side, and signs gate half
    assert (minibatches - 1) / minibatches * normal_clip_share(100, 0.2, 0.0, 0.0) == share_ceiling(minibatches)


def test_t16_normal_share() -> None:
    length, spread, low, high = 64, 0.25, 0.02, 0.03
    names = {"T": length, "sigma": spread, "epsilon_low": low, "epsilon_high": high}
    expr = formula("T16", "normal_share")
    code = normal_clip_share(length, spread, low, high)
    assert code == pytest.approx(float(expr.subs({sp.Symbol(x, positive=True): v for x, v in names.items()})), abs=1e-14)
    rng, draws = np.random.default_rng(5), 40_000
    mean = rng.normal(scale=spread, size=(draws, length)).mean(axis=1)
    up = rng.random(draws) < 0.5
    share = np.mean((up & (mean > math.log1p(high))) | (~up & (mean < math.log1p(-low))))
    assert abs(share - code) < SIGMAS * math.sqrt(code * (1 - code) / draws)
    assert normal_clip_share(length, spread, 1.0, math.inf) == 0.0
    # tokens of a width that clips a tenth of a percent of sequences at most
    assert normal_clip_share(4000, spread, 0.2, 0.2) < 1e-100


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: share_ceiling(0), "minibatches must be at least 1, got 0"),
        (lambda: normal_clip_share(0, 0.1, 0.2, 0.2), "length = 0 must be at least 1"),
        (lambda: normal_clip_share(3, math.nan, 0.2, 0.2), "spread = nan"),
        (lambda: normal_clip_share(3, math.inf, 0.2, 0.2), "spread = inf"),
        (lambda: normal_clip_share(3, 0.1, 1.2, 0.2), "low = 1.2 must be in"),
        (lambda: normal_clip_share(3, 0.1, 0.2, math.nan), "high = nan at least 0"),
    ],
)
def test_t16_bad_input(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()  # type: ignore[operator]
