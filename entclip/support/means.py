"""Weighted means whose bits do not depend on how many threads the linear algebra library has."""

from __future__ import annotations

import numpy as np

__all__ = ["weighted_mean"]


def weighted_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return sum_u w_u x_u / sum_u w_u over the last axis: values (..., U), weight (U,), result (...).

    Not a dot product: beyond some ten thousand units OpenBLAS splits one between its threads, and sums of parts round
    differently. numpy's own sums are pairwise, so that rounding grows with log U only.
    """
    mean: np.ndarray = np.sum(values * weight, axis=-1) / np.sum(weight)
    return mean
