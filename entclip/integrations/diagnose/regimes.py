"""Where in a run its clip acts: stretches in which the share is 0, or nearly, beside others in which it is not."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

__all__ = ["Stretch", "stretches"]

_BLOCKS, _FEWEST_ROWS = 24, 4  # into which the rows are divided, and rows of one at least
_OFF = 0.02  # of the largest shares: what is below does not act
_ON = 0.2  # of the mean share where it acts: what grows slowly is no other regime
_MOST = 3  # stretches: what goes on and off oftener is how the share scatters
_RESOLVED = 3.0  # times the last decimal that is logged: a smaller share may be one that grew out of rounding
_DECIMALS = 8
_CHANCE = 1e-4  # that rows without events come together by chance


@dataclass(frozen=True)
class Stretch:
    """Rows from `first` to `last`, counted from 0, in which the clip acts or does not."""

    first: int
    last: int
    acts: bool


def stretches(shares: np.ndarray, whole: int = 1) -> tuple[Stretch, ...]:
    """Return the stretches of a run between which its clip goes on or off; empty where it does neither.

    A regime lasts at least two blocks of rows and begins at once: the first block next to it has a fifth of its mean share. A
    stretch without events is one only if as many rows without any are improbable where the clip acts, and if shares are not so
    small that rounding makes a 0 of them.

    Args:
        shares: of all events by row, NaN where there is none.
        whole: rows of a rollout, whose first update has no events: blocks are of whole rollouts.
    """
    rows = np.flatnonzero(np.isfinite(shares))
    x = shares[rows]
    size = max(len(x) // _BLOCKS, _FEWEST_ROWS)
    size = -(-size // whole) * whole
    count = len(x) // size
    if count < 4:
        return ()
    edges = [*(i * size for i in range(count)), len(x)]
    means = np.array([x[a:b].mean() for a, b in pairwise(edges)])
    top = float(np.sort(means)[-max(count // 10, 2) :].mean())
    on = means > _OFF * top
    changes = [int(i) + 1 for i in np.flatnonzero(on[1:] != on[:-1])]
    if (
        not 0 < len(changes) < _MOST
        or float(means[on].mean()) < _RESOLVED * _last_decimal(x)
        or any(_is_no_regime(means, a, b, bool(on[a]), float(means[on].mean())) for a, b in pairwise([0, *changes, count]))
    ):
        return ()
    acting = x > _OFF * top
    borders = [0, *(_border(acting, edges[c - 1], edges[min(c + 1, count)], bool(on[c])) for c in changes), len(x)]
    begins = bool(on[0])
    parts = [(a, b, begins is (i % 2 == 0)) for i, (a, b) in enumerate(pairwise(borders))]
    quiet = max(b - a for a, b, acts in parts if not acts)
    without = float(np.mean(np.concatenate([~acting[a:b] for a, b, acts in parts if acts])))
    if without**quiet >= _CHANCE:
        return ()
    return tuple(Stretch(int(rows[a]), int(rows[b - 1]), acts) for a, b, acts in parts)


def _is_no_regime(means: np.ndarray, first: int, last: int, acts: bool, typical: float) -> bool:
    """Whether a run of blocks is too short, or grows into acting or fades out of it. Those at its borders are of two regimes."""
    inner = means[first + (first > 0) : last - (last < len(means))] if last - first > 2 else means[first:last]
    return last - first < 2 or (acts and min(inner[0], inner[-1]) < _ON * typical)


def _last_decimal(x: np.ndarray) -> float:
    """The step between numbers that all have so many decimals; 0 where they have more than eight."""
    for decimals in range(1, _DECIMALS + 1):
        scaled = x * 10.0**decimals
        if np.all(np.abs(scaled - np.round(scaled)) < 1e-6):
            return float(10.0**-decimals)
    return 0.0


def _border(acting: np.ndarray, first: int, last: int, begins: bool) -> int:
    """The row between two blocks at which the clip begins to act, or the one from which on it does not."""
    with_events = first + np.flatnonzero(acting[first:last])
    return int(with_events[0]) if begins else int(with_events[-1]) + 1
