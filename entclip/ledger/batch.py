"""A user's batch as `ledger_from_arrays` takes it: padded or ragged, of any dtype; only what the mask keeps is ever looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from entclip.ledger.batch_values import binary, checked_old, finite, legal, numbers

__all__ = ["Batch", "Rows", "read_batch"]

_ENTRIES = 2**20  # of the logits looked at together: a dozen arrays of that size are alive at a time


@dataclass(frozen=True)
class Rows:
    """Some contexts of a batch, float64: logits and old log-probabilities (n, V), the latter of the taken action alone (n, 1).

    An illegal action, of logit -inf, has a logit so low that its probability is exactly 0.
    """

    before: np.ndarray
    after: np.ndarray
    old: np.ndarray
    illegal: np.ndarray
    place: np.ndarray


@dataclass(frozen=True)
class Batch:
    """The contexts that count: their places in the flattened batch, and of each the action, the advantage and the weight."""

    context: np.ndarray
    actions: np.ndarray
    advantages: np.ndarray
    weights: np.ndarray
    blocks: tuple[tuple[Any, Any, Any, np.ndarray, slice], ...]

    def rows(self) -> Iterator[Rows]:
        """Give the contexts in order, as many at a time as bound the memory."""
        first = True
        for before, after, old, kept, place in self.blocks:
            size = max(1, _ENTRIES // before.shape[-1])
            for start in range(0, len(kept), size):
                some = kept[start : start + size]
                mine = np.arange(place.start + start, place.start + start + len(some))
                x, y = (numbers(name, _rows(a, some)) for name, a in (("logits_before", before), ("logits_after", after)))
                illegal = np.isneginf(x)
                x, y = legal(x, y, illegal, self.actions[mine], guess=first)
                yield Rows(x, y, checked_old(_rows(old, some), illegal), illegal, mine)
                first = False


def read_batch(
    logits_before: Any, logits_after: Any, old_log_probs: Any, actions: Any, advantages: Any, mask: Any, weights: Any
) -> Batch:
    """Read a batch of arrays (..., V) and (...), or of lists with one array (T, V) and (T,) per sequence.

    Raises: ValueError that names the array, what is wrong with it, and the fix.
    """
    befores, afters = _sequences(logits_before), _sequences(logits_after)
    if befores is None or afters is None:
        befores, afters = [_array("logits_before", logits_before)], [_array("logits_after", logits_after)]
        others: list[list[Any]] = [[x] for x in (old_log_probs, actions, advantages, mask, weights)]
    else:
        named = {"logits_after": afters, "old_log_probs": old_log_probs, "actions": actions, "advantages": advantages}
        named |= {"mask": mask, "weights": weights}
        for name, value in named.items():
            if value is not None and len(value) != len(befores):
                raise ValueError(f"{name} has {len(value)} sequences, logits_before has {len(befores)}: give one for each.")
        lists = (old_log_probs, actions, advantages, mask, weights)
        others = [[None] * len(befores) if x is None else list(x) for x in lists]
    blocks, offset, count, flat = [], 0, 0, []
    for before, after, old, *rest in zip(befores, afters, *others, strict=True):
        if before.ndim < 1:
            raise ValueError("logits_before is a single number: give one row of V logits for each context.")
        lead = tuple(before.shape[:-1])
        if after.shape != before.shape:
            raise ValueError(
                f"logits_after has shape {tuple(after.shape)}, logits_before {tuple(before.shape)}: they must be equal."
            )
        kept = _kept(rest[2], lead)
        flat.append((offset + kept, *_small(rest[0], rest[1], rest[3], lead, kept)))
        blocks.append((_flat(before), _flat(after), _old_rows(old, before.shape), kept, slice(count, count + len(kept))))
        offset, count = offset + int(np.prod(lead, dtype=int)), count + len(kept)
    if not count:
        raise ValueError("mask leaves no context: at least one must be True.")
    vocabularies = sorted({block[0].shape[-1] for block in blocks})
    if len(vocabularies) > 1 or vocabularies[0] < 2:
        raise ValueError(f"logits_before has V = {vocabularies} actions: all contexts need the same number, at least 2.")
    context, taken, advantage, weight = (np.concatenate(parts) for parts in zip(*flat, strict=True))
    if taken.min() < 0 or taken.max() >= vocabularies[0]:
        raise ValueError(f"actions range from {taken.min()} to {taken.max()} but V = {vocabularies[0]}: they must be in 0..V-1.")
    if not weight.any():
        raise ValueError("weights are 0 at every context that counts: they say how much each counts in the loss.")
    return Batch(context, taken, advantage, weight, tuple(blocks))


def _sequences(value: Any) -> list[Any] | None:
    """The sequences of a ragged batch, each (T, V); None for one array."""
    if not isinstance(value, list | tuple) or not value:
        return None
    parts = [_array("a sequence of logits", part) for part in value]
    widths = {part.shape[-1] for part in parts if part.ndim == 2}
    if len(widths) == 1:  # a response without a token is [], which does not say V
        parts = [part.reshape(0, *widths) if part.shape == (0,) else part for part in parts]
    return parts if all(part.ndim == 2 for part in parts) else None


def _array(name: str, value: Any) -> Any:
    """A numpy array, or a tensor without its graph."""
    if hasattr(value, "detach"):
        return value.detach()
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name} is a list of arrays of different shapes: give logits_before and logits_after alike, both as one padded "
            "array with a mask, or both as lists with one array (T, V) per sequence."
        ) from None


def _flat(array: Any) -> Any:
    return array.reshape(-1, array.shape[-1])


def _rows(array: Any, some: np.ndarray) -> Any:
    # The usual batch is kept whole, and neighbours need no copy.
    return array[int(some[0]) : int(some[-1]) + 1] if some[-1] - some[0] == len(some) - 1 else array[some]


def _broadcast(name: str, value: Any, lead: tuple[int, ...]) -> np.ndarray:
    """One number for each context; of fewer axes, one for all contexts of a sequence."""
    array = numbers(name, value)
    if array.ndim <= len(lead) and all(a in (1, b) for a, b in zip(array.shape, lead, strict=False)):
        return np.broadcast_to(array.reshape((*array.shape, *(1,) * (len(lead) - array.ndim))), lead)
    raise ValueError(
        f"{name} has leading shape {array.shape}, logits_before has {lead}: give one entry per context"
        + (", or one per sequence." if name in ("advantages", "weights") else ".")
    )


def _kept(mask: Any, lead: tuple[int, ...]) -> np.ndarray:
    if mask is None:
        return np.arange(int(np.prod(lead, dtype=int)))
    value = numbers("mask", mask)
    if value.shape != lead:
        raise ValueError(f"mask has leading shape {value.shape}, logits_before has {lead}: give one entry per context.")
    return np.flatnonzero(binary("mask", value))


def _small(
    actions: Any, advantages: Any, weights: Any, lead: tuple[int, ...], kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Actions, advantages and weights of the contexts that count."""
    given = numbers("actions", actions)
    if given.shape != lead:
        raise ValueError(f"actions has leading shape {given.shape}, logits_before has {lead}: give one entry per context.")
    taken = finite("actions", given.ravel()[kept])
    if np.any(odd := taken != np.round(taken)):
        raise ValueError(f"actions hold {taken[odd][0]}: they are the indices of the tokens taken, whole numbers.")
    advantage = finite("advantages", _broadcast("advantages", advantages, lead).ravel()[kept])
    weight = np.ones(len(kept)) if weights is None else finite("weights", _broadcast("weights", weights, lead).ravel()[kept])
    if np.any(weight < 0):
        raise ValueError(f"weights hold {weight.min()}: they say how much a context counts in the loss, 0 or more.")
    return taken.astype(np.int64), advantage, weight


def _old_rows(old: Any, shape: Sequence[int]) -> Any:
    """Old log-probabilities as rows: (n, V) of all actions, or (n, 1) of the one that was taken."""
    array = _array("old_log_probs", old)
    if tuple(array.shape) == tuple(shape):
        return _flat(array)
    if tuple(array.shape) == tuple(shape[:-1]):
        return array.reshape(-1, 1)
    raise ValueError(
        f"old_log_probs has leading shape {tuple(array.shape)}, logits_before has {tuple(shape[:-1])}: give one entry per "
        "context, of the action that was taken, or V of them."
    )
