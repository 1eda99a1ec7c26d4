"""Vectorised searches, one table row per query: what numpy offers for one table at a time."""

from __future__ import annotations

import numpy as np

__all__ = ["IdTable", "last_at_most"]


def last_at_most(table: np.ndarray, row: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Largest index i with table[row, i] <= value, or -1, same shape as row; rows of table (R, L) ascend."""
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


_EMPTY = -1
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: neighbouring ids land far apart


class IdTable:
    """Hash tables from action ids to slots, one per row: keys and slots (R, M), M a power of two at least twice the entries."""

    def __init__(self, keys: np.ndarray, slots: np.ndarray) -> None:
        self.keys, self.slots = keys, slots

    @classmethod
    def of(cls, ids: np.ndarray) -> IdTable:
        """The table of ids (R, K), slot = position; negative ids are padding."""
        size = 1 << max(4, int(2 * ids.shape[1]).bit_length())
        table = cls(np.full((len(ids), size), _EMPTY, dtype=ids.dtype), np.zeros((len(ids), size), dtype=np.int32))
        row, slot = np.nonzero(ids >= 0)
        table._insert(row, ids[row, slot], slot)
        return table

    def _home(self, ids: np.ndarray) -> np.ndarray:
        shift = np.uint64(64 - (self.keys.shape[1].bit_length() - 1))
        return ((ids.astype(np.uint64) * _FACTOR) >> shift).astype(np.int64)

    def find(self, row: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Slots of ids in their rows, -1 where absent, (Q,)."""
        mask, place = self.keys.shape[1] - 1, self._home(ids)
        key = self.keys[row, place]
        out = np.where(key == ids, self.slots[row, place], -1)
        left = np.flatnonzero((key != ids) & (key != _EMPTY))
        while len(left):
            place[left] = (place[left] + 1) & mask
            key = self.keys[row[left], place[left]]
            hit = key == ids[left]
            out[left[hit]] = self.slots[row[left[hit]], place[left[hit]]]
            left = left[~hit & (key != _EMPTY)]
        return out

    def _insert(self, row: np.ndarray, ids: np.ndarray, slot: np.ndarray) -> None:
        mask, place = self.keys.shape[1] - 1, self._home(ids)
        left = np.arange(len(ids))
        while len(left):
            free = left[self.keys[row[left], place[left]] == _EMPTY]
            self.keys[row[free], place[free]] = ids[free]
            # Of several ids that took one free place, the last writer holds it; the others move on.
            held = self.keys[row[left], place[left]] == ids[left]
            done = left[held]
            self.slots[row[done], place[done]] = slot[done]
            left = left[~held]
            place[left] = (place[left] + 1) & mask

    def with_ids(self, all_ids: np.ndarray, row: np.ndarray, ids: np.ndarray, slot: np.ndarray) -> IdTable:
        """A table that also holds the distinct new (row, id) pairs; all_ids (R, K) already lists them."""
        if 2 * all_ids.shape[1] > self.keys.shape[1]:
            return IdTable.of(all_ids)
        table = IdTable(self.keys.copy(), self.slots.copy())
        table._insert(row, ids, slot)
        return table
