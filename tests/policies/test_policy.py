"""Policies and prefix trees: values from their definitions, and what is refused with which message."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from entclip.policies.laws import dirichlet, peaked, uniform, zipf
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import SoftmaxPolicy, centered_kappa, kappa, log_softmax
from tests.tolerances import assert_identity


def test_softmax_policy_from_its_definition() -> None:
    policy = SoftmaxPolicy([[0.0, 1.0, -2.0], [5.0, 5.0, 5.0]])
    weights = np.exp([[0.0, 1.0, -2.0], [5.0, 5.0, 5.0]])
    probs = weights / weights.sum(-1, keepdims=True)
    assert_identity(policy.probs, probs, np.full((2, 3), 5.0))
    assert_identity(policy.surprisal, -np.log(probs), np.full((2, 3), 10.0))
    assert_identity(policy.entropy, -np.sum(probs * np.log(probs), axis=-1), np.full(2, 10.0))
    assert policy.vocab == 3
    assert policy.logits.dtype == np.float64


def test_integer_and_scalar_inputs_become_float64() -> None:
    assert SoftmaxPolicy(np.array([1, 2, 3])).logits.dtype == np.float64
    assert SoftmaxPolicy(np.array([1, 2], dtype=np.float32)).logits.dtype == np.float32


def test_a_shift_of_the_logits_changes_nothing_and_large_logits_are_stable() -> None:
    logits = np.random.default_rng(0).normal(size=9)
    assert_identity(log_softmax(logits + 1000), log_softmax(logits), np.full(9, 2000.0))
    extreme = SoftmaxPolicy([1e4, 0.0, -1e4])
    assert np.all(np.isfinite(extreme.log_probs))
    assert float(extreme.entropy) == 0.0


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_kappa_from_its_definition(geometry: str) -> None:
    policy = dirichlet(8, 1.0, seed=0, contexts=3)
    p, s = policy.probs, policy.surprisal
    want = s if geometry == "natural" else p * (s - policy.entropy[:, None])
    assert_identity(kappa(policy.log_probs, geometry), want, 2 * s + 10)
    centred = centered_kappa(policy.log_probs, geometry)
    assert_identity(centred, want - np.sum(p * want, axis=-1, keepdims=True), 2 * s + 10)
    assert_identity(np.sum(p * centred, axis=-1), np.zeros(3), np.full(3, 10.0))
    assert_identity(centered_kappa(policy.log_probs[0], geometry), centred[0], 2 * s[0] + 10)  # one context without an axis


def test_named_laws() -> None:
    assert_identity(uniform(10).entropy, math.log(10), 5.0)
    ranks = np.arange(1, 6) ** -1.5
    assert_identity(zipf(5, 1.5).probs, ranks / ranks.sum(), np.full(5, 5.0))
    assert_identity(peaked(4, 2.0).probs[0], math.exp(2) / (math.exp(2) + 3), 3.0)
    floored = dirichlet(50, 0.01, seed=4, contexts=20, floor=0.1)  # alpha .01 underflows gamma draws
    assert floored.probs.shape == (20, 50)
    assert float(floored.probs.min()) >= 0.1 / 50 * (1 - 1e-12)
    np.testing.assert_array_equal(dirichlet(5, 1.0, seed=2).logits, dirichlet(5, 1.0, seed=2).logits)


def test_from_probs_keeps_the_probabilities() -> None:
    probs = np.array([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    assert_identity(SoftmaxPolicy.from_probs(probs).probs, probs, np.full((2, 3), 5.0))


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ([0.0, math.nan], "hold 1 NaN or infinite values"),
        ([math.inf, 0.0, -math.inf], "hold 2 NaN or infinite values"),
        ([0.0], r"needs V >= 2 actions"),
        ([[1.0], [2.0]], r"shape \(2, 1\)"),
        (1.0, "needs V >= 2 actions"),
    ],
)
def test_bad_logits(logits: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxPolicy(logits)


@pytest.mark.parametrize(
    ("probs", "message"),
    [
        ([0.5, 0.6], "must sum to 1 in every row, worst row is off by 0.1"),
        ([[0.5, 0.5], [0.5, 0.4]], "worst row is off by 0.1"),
        ([1.0, 0.0], "must be positive and finite"),
        ([1.5, -0.5], "values down to -0.5"),
        ([math.nan, 1.0], "must be positive and finite"),
    ],
)
def test_bad_probabilities(probs: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SoftmaxPolicy.from_probs(probs)


def test_bad_laws() -> None:
    for vocab in (1, 0, -3, 2.5, True):
        with pytest.raises(ValueError, match="vocab must be a whole number of at least 2"):
            uniform(vocab)
    with pytest.raises(ValueError, match="zipf exponent must be finite"):
        zipf(4, math.inf)
    for alpha in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="dirichlet alpha must be positive and finite"):
            dirichlet(4, alpha)
    for floor in (-0.1, 1.0, math.nan):
        with pytest.raises(ValueError, match=r"dirichlet floor must be in \[0, 1\)"):
            dirichlet(4, 1.0, floor=floor)
    with pytest.raises(ValueError, match="NaN or infinite"):
        peaked(4, math.nan)


# ---- prefix tree ------------------------------------------------------------------------------------------------------------


def enumerated(vocab: int, length: int) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
    """All prefixes, shortest first and then with the first token slowest; all sequences likewise."""
    prefixes = [p for t in range(length) for p in itertools.product(range(vocab), repeat=t)]
    return prefixes, list(itertools.product(range(vocab), repeat=length))


trees = pytest.mark.parametrize(("vocab", "length"), [(2, 1), (5, 1), (3, 2), (2, 4), (4, 3)])


@trees
def test_prefix_tree_against_enumeration(vocab: int, length: int) -> None:
    tree = PrefixTree(vocab, length)
    prefixes, sequences = enumerated(vocab, length)
    assert (tree.prefixes, tree.sequences) == (len(prefixes), len(sequences))
    rng = np.random.default_rng(vocab * 10 + length)
    log_probs = log_softmax(rng.normal(size=(2, len(prefixes), vocab)))
    row = {p: i for i, p in enumerate(prefixes)}

    def log_chance(context: int, tokens: tuple[int, ...]) -> float:
        return math.fsum(log_probs[context, row[tokens[:t]], token] for t, token in enumerate(tokens))

    want = np.array([[log_chance(c, s) for s in sequences] for c in range(2)])
    assert_identity(tree.sequence_log_probs(log_probs), want, np.abs(want))
    visits = np.array([[math.exp(log_chance(c, p)) for p in prefixes] for c in range(2)])
    assert_identity(tree.visits(log_probs), visits, visits * 10)  # 10: |log d| rounds in the exponent
    values = rng.normal(size=(2, len(sequences)))
    summed, size = np.zeros((2, 2, len(prefixes), vocab))
    for k, s in enumerate(sequences):
        for t, token in enumerate(s):
            summed[:, row[s[:t]], token] += values[:, k]
            size[:, row[s[:t]], token] += np.abs(values[:, k])
    assert_identity(tree.per_token(values), summed, size)


@trees
def test_visits_are_sums_of_sequence_probabilities(vocab: int, length: int) -> None:
    tree = PrefixTree(vocab, length)
    log_probs = log_softmax(np.random.default_rng(1).normal(size=(tree.prefixes, vocab)))
    chances = np.exp(tree.sequence_log_probs(log_probs))
    assert_identity(chances.sum(), 1.0, 10.0)
    assert_identity(tree.per_token(chances).sum(-1), tree.visits(log_probs), np.full(tree.prefixes, 10.0))
