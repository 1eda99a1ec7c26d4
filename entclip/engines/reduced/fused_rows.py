"""The searches of rows.py and the interpolation of basis.py compiled by numba: one query after the other, no temporaries."""

from __future__ import annotations

import math

import numpy as np

from entclip.engines.reduced.basis import HELD
from entclip.engines.reduced.compiled import compiled
from entclip.engines.reduced.searches import EMPTY, FACTOR

__all__ = ["added_up", "find", "flow", "insert", "last_at_most", "leave"]


@compiled
def _home(key, bits):
    return np.int64((np.uint64(key) * FACTOR) >> np.uint64(64 - bits))


@compiled
def _bits(size):
    bits = 0
    while 1 << bits < size:
        bits += 1
    return bits


@compiled
def find(keys: np.ndarray, slots: np.ndarray, row: np.ndarray, ids: np.ndarray) -> np.ndarray:
    bits, mask = _bits(keys.shape[1]), keys.shape[1] - 1
    out = np.empty(len(ids), dtype=np.int64)
    for q in range(len(ids)):
        place = _home(ids[q], bits)
        while keys[row[q], place] != ids[q] and keys[row[q], place] != EMPTY:
            place = (place + 1) & mask
        out[q] = slots[row[q], place] if keys[row[q], place] == ids[q] else -1
    return out


@compiled
def insert(keys: np.ndarray, slots: np.ndarray, row: np.ndarray, ids: np.ndarray, slot: np.ndarray) -> None:
    bits, mask = _bits(keys.shape[1]), keys.shape[1] - 1
    for q in range(len(ids)):
        place = _home(ids[q], bits)
        while keys[row[q], place] != EMPTY:
            place = (place + 1) & mask
        keys[row[q], place], slots[row[q], place] = ids[q], slot[q]


@compiled
def last_at_most(table: np.ndarray, row: np.ndarray, value: np.ndarray) -> np.ndarray:
    out = np.empty(len(value), dtype=np.int64)
    for q in range(len(value)):
        low, high = -1, table.shape[1] - 1
        while low < high:
            middle = (low + high + 1) >> 1
            if table[row[q], middle] <= value[q]:
                low = middle
            else:
                high = middle - 1
        out[q] = low
    return out


@compiled
def _added_up(points, order, advantages, unit, point, sums):
    found = -1
    for i in range(points.shape[0]):
        last = -1
        for j in range(points.shape[1]):
            k = order[i, j]
            if points[i, k] != last:
                last, found = points[i, k], found + 1
                unit[found], point[found] = i, last
            a = advantages[i, k]
            if a < 0:
                sums[1, found] -= a
                sums[3, found] += 1
            else:  # NaN too: it shows in every sum
                sums[0, found] += a
                sums[2, found] += a > 0
    return found + 1


def added_up(points: np.ndarray, advantages: np.ndarray) -> tuple[np.ndarray, ...]:
    (unit, point), sums = np.empty((2, points.size), dtype=np.int64), np.zeros((4, points.size))
    count = _added_up(points, np.argsort(points, axis=1, kind="stable"), advantages, unit, point, sums)
    sums[:2] /= points.shape[1]
    return unit[:count], point[:count], *sums[:, :count]


@compiled
def _panel(edges, row, u):
    panel = 0
    for k in range(edges.shape[1]):
        panel += u < edges[row, k]
    return panel


@compiled
def _shares(near, u, share):
    """L_j(u) of Chebyshev points `near` (m,) into share (m,)."""
    m, hit, scale = len(near), -1, 0.0
    for j in range(m):
        gap = u - near[j]
        if gap == 0 or m == 1:
            hit = j
        else:
            share[j] = (-1.0 if j % 2 else 1.0) * (0.5 if j in (0, m - 1) else 1.0) / gap
            scale += share[j]
    for j in range(m):
        share[j] = share[j] / scale if hit < 0 else (1.0 if hit == j else 0.0)


@compiled
def leave(
    number: np.ndarray,
    weight: np.ndarray,
    unit: np.ndarray,
    nodes: np.ndarray,
    edges: np.ndarray,
    per_panel: int,
    row: np.ndarray,
    u: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    number, weight, share = number.copy(), weight.copy(), np.empty(per_panel)
    for q in range(len(u)):
        first = _panel(edges, row[q], u[q]) * per_panel
        _shares(nodes[row[q], first : first + per_panel], u[q], share)
        for j in range(per_panel):
            number[unit[q], first + j] -= share[j]
            weight[unit[q], first + j] -= share[j] * math.exp(min(u[q] - nodes[row[q], first + j], HELD))
    return number, weight


@compiled
def flow(
    values: np.ndarray, unit: np.ndarray, nodes: np.ndarray, edges: np.ndarray, per_panel: int, row: np.ndarray, u: np.ndarray
) -> np.ndarray:
    out, share = np.empty(len(u)), np.empty(per_panel)
    for q in range(len(u)):
        first = _panel(edges, row[q], u[q]) * per_panel
        _shares(nodes[row[q], first : first + per_panel], u[q], share)
        total = 0.0
        for j in range(per_panel):
            total += share[j] * values[unit[q], first + j]
        out[q] = total
    return out
