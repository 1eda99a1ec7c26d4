"""Contexts that differ in every respect, and what a batch of them must give: shared by the tests of formula details."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from entclip.policies.softmax import log_softmax
from tests.tolerances import assert_identity

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
