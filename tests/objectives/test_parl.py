"""PARL's term on sequences: the gradient of their entropy, every outcome, samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from entclip import objective
from entclip.ledger.columns import PARTS
from entclip.objectives.base import View
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import log_softmax
from entclip.prediction.meanfield import predict
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.contexts import geometries
from tests.objectives.test_sequence_ratios import on_sequences
from tests.tolerances import SIGMAS

TREE, STEP = PrefixTree(3, 3), 1e-20
LOGITS = np.random.default_rng(2).normal(size=(TREE.prefixes, 3))
PARL = objective("parl", coefficient=0.4, low=0.05, high=0.08)


def sequence_entropy(theta: np.ndarray) -> complex:
    """Entropy of whole sequences of complex logits, from a list of their probabilities."""
    log_probs = theta - np.log(np.sum(np.exp(theta), axis=-1, keepdims=True))
    total = 0j
    for a in range(3):
        for b in range(3):
            for c in range(3):
                log_p = log_probs[0, a] + log_probs[1 + a, b] + log_probs[4 + 3 * a + b, c]
                total -= np.exp(log_p) * log_p
    return total


def test_its_weights_are_the_gradient_of_the_entropy_of_sequences() -> None:
    """d_p pi (w - E w) is minus coefficient/length times dH/dtheta, each derivative by a complex step."""
    log_probs = log_softmax(LOGITS)
    weights = PARL.change(View.of(log_probs, log_probs)).bonus["bonus"]
    probs = np.exp(log_probs)
    step = TREE.visits(log_probs)[:, None] * probs * (weights - np.sum(probs * weights, axis=-1, keepdims=True))
    for index in np.ndindex(LOGITS.shape):
        unit = np.zeros(LOGITS.shape, complex)
        unit[index] = 1j * STEP
        assert step[index] == pytest.approx(-0.4 / 3 * sequence_entropy(LOGITS + unit).imag / STEP, abs=1e-12)
    plain = objective("entropy_bonus", coefficient=-0.4 / 3).change(View.of(log_probs, log_probs)).bonus["bonus"]
    assert np.max(np.abs(plain - weights)) > 0.01, "falsifier: what follows a token counts"


def test_on_single_tokens_it_is_an_entropy_bonus_with_the_sign_turned() -> None:
    log_probs = log_softmax(LOGITS[:1])
    bonus = objective("entropy_bonus", coefficient=-0.4).change(View.of(log_probs, log_probs)).bonus["bonus"]
    assert PARL.change(View.of(log_probs, log_probs)).bonus["bonus"] == pytest.approx(bonus, abs=1e-15)


@geometries
def test_every_outcome_of_two_updates(geometry: str) -> None:
    found = run(on_sequences(PARL, geometry), "exact").summary()["arms"]["a"]
    assert all(abs(found[part] - found[f"expected_{part}"]) <= 1e-12 for part in PARTS)
    assert found["bonus"] < -1e-3
    other = run(on_sequences(objective("entropy_bonus", coefficient=-0.2, low=0.05, high=0.08), geometry), "exact")
    assert abs(other.summary()["arms"]["a"]["bonus"] - found["bonus"]) > 1e-6, "falsifier"


@pytest.mark.statistical
@geometries
def test_samples_of_longer_sequences(geometry: Any) -> None:
    policy = {"kind": "autoregressive", "vocab": 3, "length": 3, "contexts": 2}
    rate = {"natural": 0.1, "euclidean": 2.0}[geometry]
    update = {"batch": 32, "minibatches": 4, "learning_rate": rate}
    found = run(on_sequences(PARL, geometry, policy=policy, replicas=256, update=update)).summary()["arms"]["a"]
    for part in PARTS:
        assert abs(found[part] - found[f"expected_{part}"]) <= SIGMAS * found[f"residual_{part}_se"] + 1e-13, part
    assert abs(found["bonus"]) > 10 * found["measured_se"] / SIGMAS, "the term is seen"


def test_who_has_no_prefixes_says_so() -> None:
    single = on_sequences(PARL, "natural", policy={"kind": "zipf", "vocab": 3})
    with pytest.raises(SpecError, match=r"'parl' looks at .*all prefixes of a sequence.* use the engine sampled or exact"):
        run(single, "reduced")
    with pytest.raises(SpecError, match="which predict does not"):
        predict(single)
    with pytest.raises(ValueError, match=r"parl\.coefficient must be finite and at least 0, got -1"):
        objective("parl", coefficient=-1)
