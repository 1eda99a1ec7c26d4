"""Vectorised searches, one table row per query: what numpy offers for one table at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["EMPTY", "FACTOR", "IdTable", "added_up", "find", "insert", "last_at_most"]

EMPTY = -1  # no id


def last_at_most(table: np.ndarray, row: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the largest index i with table[row, i] <= value, or -1, same shape as row; rows of table (R, L) ascend."""
    if len(table) == 1:
        return np.searchsorted(table[0], value, side="right") - 1
    low, high = np.full(row.shape, -1), np.full(row.shape, table.shape[1])
    for _ in range(int(table.shape[1]).bit_length()):
        middle = (low + high) >> 1
        open_ = middle > low
        below = table[row, np.maximum(middle, 0)] <= value
        low = np.where(open_ & below, middle, low)
        high = np.where(open_ & ~below, middle, high)
    return low


def added_up(points: np.ndarray, advantages: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return distinct (unit, point) pairs of samples (u, B), in order, and for each (D,) the sums of A+ and A- over B and the
    numbers of samples with A > 0 and A < 0."""
    units, batch = points.shape
    width, a = int(points.max()) + 1, advantages.reshape(-1)
    keys, which = np.unique((np.arange(units)[:, None] * width + points).reshape(-1), return_inverse=True)
    sums = (np.bincount(which, x, minlength=len(keys)) for x in (np.maximum(a, 0), np.maximum(-a, 0), a > 0, a < 0))
    plus, minus, n_plus, n_minus = sums
    return *np.divmod(keys, width), plus / batch, minus / batch, n_plus, n_minus


FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: neighbouring ids land far apart


def _home(ids: np.ndarray, size: int) -> np.ndarray:
    """Where each id is looked for first, in a table of `size` = 2^k places."""
    shift = np.uint64(65 - size.bit_length())
    return ((ids.astype(np.uint64) * FACTOR) >> shift).astype(np.int64)


def find(keys: np.ndarray, slots: np.ndarray, row: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return slots of ids (Q,) in the hash tables of their rows, keys and slots (R, M); -1 where absent."""
    mask, place = keys.shape[1] - 1, _home(ids, keys.shape[1])
    key = keys[row, place]
    out: np.ndarray = np.where(key == ids, slots[row, place], -1)
    left = np.flatnonzero((key != ids) & (key != EMPTY))
    while len(left):
        place[left] = (place[left] + 1) & mask
        key = keys[row[left], place[left]]
        hit = key == ids[left]
        out[left[hit]] = slots[row[left[hit]], place[left[hit]]]
        left = left[~hit & (key != EMPTY)]
    return out


def insert(keys: np.ndarray, slots: np.ndarray, row: np.ndarray, ids: np.ndarray, slot: np.ndarray) -> None:
    """Write distinct (row, id) pairs (Q,) and their slots into tables that do not hold them."""
    mask, place = keys.shape[1] - 1, _home(ids, keys.shape[1])
    left = np.arange(len(ids))
    while len(left):
        free = left[keys[row[left], place[left]] == EMPTY]
        keys[row[free], place[free]] = ids[free]
        # Of several ids that took one free place, the last writer holds it; the others move on.
        held = keys[row[left], place[left]] == ids[left]
        done = left[held]
        slots[row[done], place[done]] = slot[done]
        left = left[~held]
        place[left] = (place[left] + 1) & mask


class IdTable:
    """Hash tables from action ids to slots, one per row: keys and slots (R, M), M a power of two at least twice the entries.

    A table only grows. Successive chunks share it: each looks below its own counts, and only the `newest` may add to it.
    """

    def __init__(self, keys: np.ndarray, slots: np.ndarray, newest: np.ndarray) -> None:
        self.keys, self.slots, self.newest = keys, slots, newest

    @classmethod
    def of(cls, ids: np.ndarray, count: np.ndarray, insert: Callable[..., None] = insert) -> IdTable:
        """Return the table of the first count (R,) of ids (R, K), slot = position, with room for K."""
        size = 1 << max(4, int(2 * ids.shape[1]).bit_length())
        keys, slots = np.full((len(ids), size), EMPTY, dtype=ids.dtype), np.zeros((len(ids), size), dtype=np.int32)
        row, slot = np.nonzero(np.arange(ids.shape[1]) < count[:, None])
        insert(keys, slots, row, ids[row, slot], slot)
        return cls(keys, slots, count)
