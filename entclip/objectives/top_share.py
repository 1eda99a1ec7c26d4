"""The threshold of a share: the largest values that carry a part of the weight, as masks and penalties choose samples."""

from __future__ import annotations

import numpy as np

__all__ = ["least_of_top"]


def least_of_top(value: np.ndarray, weight: np.ndarray, share: float) -> np.ndarray:
    """Return the least of the largest values that together carry a share of the weight, (R,); the largest where none do.

    Args:
        value, weight: of each candidate of each replica, (R, N).   share: of a weight that adds up to 1.
    """
    rows, order = np.arange(len(value)), np.argsort(-value)
    reached = np.cumsum(weight[rows[:, None], order], 1)
    last = np.argmax(reached >= share * (1 - 1e-12), 1)
    out: np.ndarray = value[rows, order[rows, last]]
    return out
