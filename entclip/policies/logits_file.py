"""Policies given as a .npy file of logits: what is no list of logits is refused, with what to do about it."""

from __future__ import annotations

import numpy as np

from entclip.support.arrays import npy_shape, read_npy
from entclip.support.errors import SpecError

__all__ = ["logits_shape", "read_logits"]

_LARGEST = 1e30  # differences of two logits, and their squares, stay finite
_WHOLE = 1e-6  # of a sum of probabilities; float32 rounds a sum of 152,000 to 1e-6
_MISSING = 0.01  # of probability: bfloat16 rounds a sum of probabilities by less


def read_logits(path: str) -> np.ndarray:
    """Read logits, (V,) or (contexts, V), in float64.

    Any finite numbers are logits of some policy. Two kinds are taken for a mistake, since a constant added to a row changes no
    policy and says otherwise: rows of probabilities, and rows of log-probabilities that lack some actions (a top-k list).

    Raises: SpecError, too, for a file that is no array of real numbers, for another shape, for NaN and values beyond 1e30.
    """
    where = f"policy.path = {path!r}"
    value = read_npy(path, where)
    _check_shape(value.shape, where)
    if value.dtype.kind not in "fiu":
        raise SpecError(f"{where} holds {value.dtype}: expected real logits.")
    logits = value.astype(np.float64)
    bad = ~(np.abs(logits) <= _LARGEST)
    if np.any(bad):
        raise SpecError(
            f"{where} holds {int(np.sum(bad))} NaN or infinite values, or logits beyond {_LARGEST:g}: they must be finite. "
            "For an action that must not be taken use a large negative number such as -1e4."
        )
    _refuse_probabilities(logits, where)
    _refuse_partial(logits, where)
    return logits


def logits_shape(path: str) -> tuple[int, int]:
    """Read contexts and actions from the header of a file of logits. Raises: SpecError, as `read_logits` for the shape."""
    where = f"policy.path = {path!r}"
    shape = npy_shape(path, where)
    _check_shape(shape, where)
    return (1 if len(shape) == 1 else shape[0]), shape[-1]


def _check_shape(shape: tuple[int, ...], where: str) -> None:
    if len(shape) not in (1, 2):
        raise SpecError(f"{where} holds shape {shape}: expected real logits (V,) or (contexts, V).")
    if 0 in shape or shape[-1] < 2:
        raise SpecError(f"{where} holds shape {shape}: expected at least one context and two actions.")


def _refuse_probabilities(logits: np.ndarray, where: str) -> None:
    total = logits.sum(axis=-1)
    if np.all(logits >= 0) and np.all(np.abs(total - 1) <= _WHOLE * np.maximum(1, logits.shape[-1] / 1e4)):
        raise SpecError(
            f"{where} holds probabilities: all values are from 0 to 1 and every row sums to 1. Logits are expected: store their "
            "numpy.log. If they are logits, add 1 to all: a constant changes no policy."
        )


def _refuse_partial(logits: np.ndarray, where: str) -> None:
    rows = np.atleast_2d(logits)
    mass = np.exp(np.minimum(rows, 0.0)).sum(axis=-1)
    short = np.flatnonzero(np.all(rows <= 0, axis=-1) & (mass < 1 - _MISSING))
    if len(short):
        raise SpecError(
            f"{where}: the values of row {short[0]} are all at most 0 and their exponentials sum to {mass[short[0]]:.4g}: "
            f"log-probabilities that lack some actions ({len(short)} of {len(rows)} rows), such as a top-k list? A policy needs "
            "them all. To share the missing probability among those that are there, or if these are logits, subtract each row's "
            "maximum: a constant changes no policy."
        )
