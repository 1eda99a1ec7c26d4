"""What sampled tokens say about entropy: against the whole distribution, enumeration, finite differences, and samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from entclip.drift.samples import euclidean_value, masked_parts, natural_value, sampled_parts
from entclip.objectives.base import CAUSES, Change, Objective, View
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.policies.softmax import SoftmaxPolicy, centered_kappa, entropy, log_softmax
from tests.tolerances import SIGMAS, assert_identity


def _policies(contexts=5, vocab=6):
    rng = np.random.default_rng(3)
    old = rng.normal(0, 1, (contexts, vocab))
    return log_softmax(old + rng.normal(0, 0.4, (contexts, vocab))), log_softmax(old)


def _values(log_probs, geometry):
    probs, held = np.exp(log_probs), entropy(log_probs)[..., None]
    if geometry == "natural":
        return natural_value(log_probs, held)
    sums = (np.sum(x, axis=-1, keepdims=True) for x in (probs**2, probs**2 * log_probs))
    return euclidean_value(log_probs, held, *sums)


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_a_tokens_value_is_the_slope_of_entropy_along_its_step(geometry):
    log_probs, _ = _policies()
    value, size = _values(log_probs, geometry), 1e-5
    for action in range(log_probs.shape[-1]):
        step = np.eye(log_probs.shape[-1])[action] - np.exp(log_probs)
        if geometry == "natural":
            step = step / np.exp(log_probs)  # up to a constant, which changes no policy
        far = np.abs(step).max(axis=-1)  # of steps no longer than 1 the third derivative is of order 1
        ends = [SoftmaxPolicy(log_probs + sign * size * step / far[:, None]).entropy for sign in (1, -1)]
        slope = far * (ends[0] - ends[1]) / (2 * size)
        assert np.all(np.abs(value[:, action] - slope) < 1e-9 * far)


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize("objective", [Clip(0.1, 0.2), DualClip(0.1, 0.2, 1.3)], ids=["clip", "dual"])
def test_enumerated_over_actions_they_add_up_to_the_covariance(objective, geometry):
    log_probs, old = _policies()
    rng = np.random.default_rng(5)
    advantage = rng.normal(0, 1, log_probs.shape)
    value, seen = _values(log_probs, geometry), 0
    parts = sampled_parts(objective, log_probs, old, advantage)
    centred = centered_kappa(log_probs, geometry)
    for cause in CAUSES:
        weight = parts.weights[cause] / parts.ratio
        whole = np.sum(np.exp(log_probs) * centred * weight, axis=-1)  # Cov_pi(kappa, w)
        enumerated = np.sum(np.exp(old) * parts.weights[cause] * value, axis=-1)
        assert np.allclose(enumerated, whole, rtol=0, atol=1e-13)
        seen += bool((np.abs(whole) > 1e-3).any())
    assert seen == (4 if isinstance(objective, DualClip) else 3)


# Clip(.2, .4) and a cap at 1.3: r, A, c(r, A) by cause (unclipped, low, high, other), and which of low, high, other removed it
TOKENS = [
    (0.7, -1.0, (-0.7, 0.7, 0.0, 0.0), "low"),
    (0.7, 2.0, (1.4, 0.0, 0.0, 0.0), None),
    (1.0, 0.5, (0.5, 0.0, 0.0, 0.0), None),
    (1.0, -0.5, (-0.5, 0.0, 0.0, 0.0), None),
    (1.5, 0.5, (0.75, 0.0, -0.75, 0.0), "high"),
    (1.5, 2.0, (3.0, 0.0, -3.0, 0.0), "high"),
    (1.2, -2.0, (-2.4, 0.0, 0.0, 0.0), None),
    (1.35, -1.0, (-1.35, 0.0, 0.0, 1.35), "other"),
    (1.35, 0.5, (0.675, 0.0, 0.0, 0.0), None),
    (1.5, -1.0, (-1.5, 0.0, 0.0, 1.5), "other"),
    (0.7, 0.0, (0.0, 0.0, 0.0, 0.0), None),
    (1.5, 0.0, (0.0, 0.0, 0.0, 0.0), None),
]


def test_what_each_bound_removes_of_single_tokens() -> None:
    ratios, advantages = (np.array([token[k] for token in TOKENS]) for k in (0, 1))
    removed = {name: [token[3] == name for token in TOKENS] for name in ("low", "high", "other")}
    old = np.log(np.linspace(0.1, 0.5, len(TOKENS)))
    new = old + np.log(ratios)
    parts = sampled_parts(DualClip(0.2, 0.4, 1.3), new, old, advantages)
    assert {name: getattr(parts, name).tolist() for name in removed} == removed
    plain = masked_parts(new, old, advantages, parts.low, parts.high)
    assert [plain.low.tolist(), plain.high.tolist()] == [removed["low"], removed["high"]]
    assert not plain.other.any()
    assert_identity(parts.ratio, ratios, ratios)
    assert_identity(plain.ratio, ratios, ratios)
    for k, cause in enumerate(CAUSES):
        want = np.array([token[2][k] for token in TOKENS])
        assert_identity(parts.weights[cause], want, 8 * np.abs(ratios * advantages))
        if cause != "other":  # masks say nothing of a cap
            assert_identity(plain.weights[cause], want, 8 * np.abs(ratios * advantages))
    assert plain.weights.keys() == parts.weights.keys()
    assert plain.weights["other"].tolist() == [0.0] * len(TOKENS)


@dataclass
class NoPositive(Objective):
    """Drops every sample with A > 0 and says of none that a bound did it."""

    def change(self, view: View) -> Change:
        one, never = np.ones(view.ratio.shape), np.zeros(view.ratio.shape, bool)
        return Change.of(0 * one, one, never, never)


def test_what_no_bound_removes_is_other() -> None:
    log_probs = np.log([0.2, 0.2, 0.2, 0.2])
    parts = sampled_parts(NoPositive(), log_probs, log_probs, np.array([2.0, 0.5, -0.5, 0.0]))
    assert parts.other.tolist() == [True, True, False, False]
    assert not parts.low.any()
    assert not parts.high.any()
    assert parts.weights["other"].tolist() == [-2.0, -0.5, 0.0, 0.0]


@pytest.mark.statistical
def test_means_over_sampled_tokens_are_the_exact_parts():
    log_probs, old = _policies()
    rng = np.random.default_rng(7)
    reward = rng.normal(0, 1, log_probs.shape)
    probs, held = np.exp(old) / len(old), np.broadcast_to(entropy(log_probs)[:, None], log_probs.shape)
    taken = rng.choice(probs.size, 40_000, p=probs.ravel())
    exact = sampled_parts(Clip(0.1, 0.1), log_probs, old, reward)
    lp, op, drawn_reward, h = (x.ravel()[taken] for x in (log_probs, old, reward, held))
    parts = sampled_parts(Clip(0.1, 0.1), lp, op, drawn_reward)
    for cause in ("unclipped", "clip_low", "clip_high"):
        drawn = parts.weights[cause] * natural_value(lp, h)
        error = drawn.std(ddof=1) / np.sqrt(len(drawn))
        truth, uncentred = (float(np.sum(probs * exact.weights[cause] * x)) for x in (-log_probs - held, -log_probs))
        assert abs(drawn.mean() - truth) < SIGMAS * error
        if cause != "unclipped":
            assert abs(drawn.mean() - uncentred) > SIGMAS * error, "without its baseline the estimate is another one"
