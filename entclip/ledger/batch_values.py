"""What the numbers of a user's batch may be: finite, logarithms where logarithms are meant, and of legal actions.

Each check is a function of numpy arrays and of torch's tensors alike, so that a batch is refused in the same words wherever it is
read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["binary", "checked_old", "finite", "legal", "no_probabilities", "not_positive", "numbers", "same_legal", "spacing"]

_SUM = 1e-2  # how far from 1 the sum of a row may be that looks like probabilities


def numbers(name: str, value: Any) -> np.ndarray:
    """Return an array or tensor of any real dtype as float64."""
    if hasattr(value, "detach"):
        value = value.detach()
        value = (value.float() if value.is_floating_point() and value.element_size() < 4 else value).cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise ValueError(f"{name} has dtype {array.dtype}: expected numbers.")
    return array.astype(np.float64)


def spacing(value: Any) -> float:
    """Return how far rounding can push a log-probability: a difference of two numbers up to 16 in its dtype."""
    words = str(getattr(value, "dtype", "float64"))
    return 16 * (2.0**-7 if "bfloat16" in words else 2.0**-10 if "float16" in words else 2.0**-23)


def binary(name: str, value: Any) -> Any:
    """Return a mask whose entries are all 0 or 1; ValueError for one with others."""
    odd = value[(value != 0) & (value != 1)]
    if len(odd):
        raise ValueError(f"{name} holds {float(odd[0])}: it says what counts, 0 or 1. For how much each counts use weights=.")
    return value


def finite(name: str, values: np.ndarray) -> np.ndarray:
    """Return values that are finite; ValueError for others."""
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{name} holds NaN or infinite values where the mask is 1: mask them out or mend them.")
    return values


def not_positive(name: str, values: Any, rounding: float) -> None:
    """Raise ValueError for log-probabilities above 0 by more than rounding."""
    if (top := float(values.max())) > rounding:
        raise ValueError(
            f"{name} hold {top:.6g}: a log-probability is at most 0. Mask padding out, and give logarithms, not probabilities."
        )


def no_probabilities(name: str, rows: Any) -> None:
    """Raise ValueError for logits (n, V) that look like probabilities: all within 0 and 1, and each row adds up to 1."""
    if float(rows.min()) >= 0 and float(rows.max()) <= 1 and float(abs(rows.sum(-1) - 1).max()) < _SUM:
        raise ValueError(
            f"{name} look like probabilities (between 0 and 1, each row adds up to 1): give logits, or log-probabilities."
        )


def same_legal(before: Any, after: Any) -> None:
    """Raise ValueError where the illegal actions (boolean, logit -inf) of two looks at the same contexts differ."""
    if bool((before != after).any()):
        raise ValueError(
            "an action is illegal (logit -inf) before the update and legal after it, or the other way round: entropy then jumps, "
            "and no step explains it. Use the same set of legal actions for both."
        )


def checked_old(given: Any, illegal: np.ndarray) -> np.ndarray:
    """Return old log-probabilities of all actions (n, V), or of the one taken (n, 1). illegal: where nothing is looked at."""
    value, rounding = numbers("old_log_probs", given), spacing(given)
    whole = value.shape[1] > 1
    if whole:
        value = np.where(illegal, -np.inf, value)
    if np.any(np.isnan(value)) or (not whole and np.any(np.isinf(value))):
        finite("old_log_probs", value)
    not_positive("old_log_probs", value, rounding)
    if whole:
        total = np.exp(value).sum(axis=-1)
        worst = total[np.argmax(np.abs(total - 1))]
        if abs(worst - 1) > max(rounding, 1e-4):
            raise ValueError(
                f"old_log_probs of a context add up to probability {worst:.4g}: give log pi_old of all V actions, not of the "
                "most likely ones, or of the taken action alone."
            )
    return value


def legal(
    before: np.ndarray, after: np.ndarray, illegal: np.ndarray, taken: np.ndarray, *, guess: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return finite logits: an illegal action's is so low that its probability is exactly 0.

    guess: whether to refuse rows that look like probabilities.
    """
    for name, value in (("logits_before", before), ("logits_after", after)):
        if np.any(np.isnan(value)) or np.any(np.isposinf(value)):
            raise ValueError(f"{name} holds NaN or infinite values where the mask is 1: mask them out or mend them.")
    same_legal(illegal, np.isneginf(after))
    if np.any(illegal[np.arange(len(taken)), taken]):
        raise ValueError("an action that was taken is illegal (logit -inf): mask that context out, or mend its logits.")
    if guess:
        for name, value in (("logits_before", before), ("logits_after", after)):
            no_probabilities(name, value)
    if not illegal.any():
        return before, after
    low = (np.where(illegal, np.inf, value).min(axis=-1, keepdims=True) - 1e4 for value in (before, after))
    return np.where(illegal, next(low), before), np.where(illegal, next(low), after)
