"""Details of policies and named laws that the tests of the claims do not see.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

import entclip.policies.snapshot
import entclip.rewards.advantage
from entclip.policies.laws import dirichlet, peaked, snapshot, uniform, zipf
from entclip.policies.softmax import SoftmaxPolicy, importance_ratio, log_softmax
from tests.tolerances import assert_identity


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
