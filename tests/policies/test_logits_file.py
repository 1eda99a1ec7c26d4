"""Files of logits: numbers that are no logits are refused with what to do, and what a user may mean stays possible."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from entclip.experiments.experiment import parse_experiment
from entclip.experiments.shape import shape_of
from entclip.experiments.start import start_of
from entclip.policies.logits_file import read_logits
from entclip.policies.softmax import entropy, log_softmax
from entclip.support.errors import SpecError

LOGITS = np.random.default_rng(0).normal(0, 2, (5, 50))
PROBS = np.exp(log_softmax(LOGITS))
TOP = np.sort(log_softmax(LOGITS), axis=-1)[:, -20:]


@pytest.mark.parametrize(
    "values",
    [
        LOGITS,
        LOGITS.astype(np.float32),
        log_softmax(LOGITS),
        log_softmax(LOGITS).astype(np.float16),  # its sum is rounded
        np.log(PROBS),
        LOGITS[0],
        TOP - TOP.max(axis=-1, keepdims=True),  # said: the rest is shared among these
        PROBS + 1,  # said: these are logits
        -np.log(np.arange(1.0, 9.0)),
        np.array([[0, 3], [-5, -7]]) - np.array([[0], [-5]]),
        np.array([0.0, 1.0, 1.0]),
        np.array([0.0, -1e4]),
    ],
)
def test_logits(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", values)
    assert np.array_equal(read_logits(str(tmp_path / "x.npy")), values.astype(np.float64))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (PROBS, "holds probabilities: all values are from 0 to 1 and every row sums to 1"),
        (PROBS.astype(np.float32), "store their numpy.log. If they are logits, add 1 to all"),
        (np.array([0.5, 0.5]), "holds probabilities"),
        (np.eye(3), "holds probabilities"),
        (TOP, r"the values of row 0 are all at most 0 and their exponentials sum to 0.9\d+: log-probabilities that lack"),
        (np.concatenate([log_softmax(LOGITS[:3]), np.full((1, 50), -9.0)]), r"row 3 .* \(1 of 4 rows\)"),
        (np.array([-5, -7]), "subtract each row's maximum"),
        (np.array([0.0, np.nan]), "1 NaN or infinite values"),
        (np.array([0.0, -np.inf]), "a large negative number such as -1e4"),
        (np.array([0.0, 1e300]), "or logits beyond 1e"),
        (np.array([1.0]), r"shape \(1,\): expected at least one context and two actions"),
        (np.zeros((0, 4)), r"shape \(0, 4\): expected at least one context"),
        (np.zeros((4, 0)), r"shape \(4, 0\): expected at least one context"),
        (np.array(1.0), r"shape \(\): expected real logits \(V,\) or \(contexts, V\)"),
        (np.zeros((2, 2, 2)), r"shape \(2, 2, 2\)"),
        (np.array([True, False]), "holds bool: expected real logits"),
        (np.array(["a", "b"]), "expected real numbers"),
    ],
)
def test_what_is_no_list_of_logits(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "x.npy", values)
    with pytest.raises(SpecError, match=message):
        read_logits(str(tmp_path / "x.npy"))


@pytest.mark.parametrize("shape", [(), (1,), (0, 4), (4, 0), (2, 2, 2)])
def test_sizes_are_not_foreseen_of_what_is_no_list_of_logits(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape))
    with pytest.raises(SpecError, match=r"holds shape \(.*expected"):
        shape_of(parse_experiment({"policy": {"kind": "file", "path": str(tmp_path / "x.npy")}}))


def test_an_experiment_starts_from_the_file(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", log_softmax(LOGITS))
    policy = {"kind": "file", "path": str(tmp_path / "x.npy")}
    found = start_of(parse_experiment({"policy": policy | {"contexts": 3}})).old_log_probs[:, 0]
    assert np.allclose(entropy(found), entropy(log_softmax(LOGITS[:3])), rtol=1e-12)
    with pytest.raises(SpecError, match="holds 5: use at most that many"):
        start_of(parse_experiment({"policy": policy | {"contexts": 6}}))
