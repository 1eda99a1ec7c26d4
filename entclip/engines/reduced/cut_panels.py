"""Clip bounds that pass through the unsampled actions: the panel is cut at the bound, and each piece has nodes of its own.

A polynomial cannot follow an indicator. Unsampled actions move nearly together, so mostly all of a panel is on one side of every
bound; where two of its nodes are on different pieces of the objective, the rank at which the piece changes is found by bisection.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from entclip.engines.reduced.basis import chebyshev, weights_of
from entclip.engines.reduced.chunk import Chunk, Population
from entclip.engines.reduced.point_policy import ratio_of
from entclip.engines.reduced.point_sums import Policies
from entclip.engines.reduced.sight import Sight
from entclip.objectives.base import Objective, View

__all__ = ["cut", "straddling"]

_FEW = 32  # actions of a piece that are listed instead
_WAYS = 32  # ranks looked at in one step of the search


def _mixed(objective: Objective, view: View, per_panel: int) -> np.ndarray:
    """Panels with nodes on different pieces of the objective, (..., P), from the view of all nodes (..., n)."""
    piece = objective.change(view).piece
    piece = piece.reshape(*piece.shape[:-1], -1, per_panel)
    out: np.ndarray = np.any(piece != piece[..., :1], axis=-1)
    return out


def _view_of(chunk: Chunk, units: slice, sight: Sight) -> View:
    """The nodes of some units."""
    nodes = (units, slice(chunk.nodes))
    old_probs = chunk.old_probs[nodes]
    return sight.of(units).view(ratio_of(chunk.probs[nodes], old_probs), old_probs, chunk.log_probs[nodes])


def straddling(chunk: Chunk, population: Population, objective: Objective, sight: Sight) -> np.ndarray:
    """Return units in which two nodes of one panel are on different pieces of the objective."""
    m = population.basis.per_panel
    if m == 1:
        return np.zeros(0, dtype=np.int64)  # a node alone is the actions it stands for
    return np.flatnonzero(np.any(_mixed(objective, _view_of(chunk, slice(None), sight), m), axis=1))


class _Unit:
    """One unit: both policies as functions of the rank of an unsampled action."""

    def __init__(self, chunk: Chunk, population: Population, objective: Objective, unit: int, sight: Sight) -> None:
        self.chunk, self.laws, self.basis, self.objective = chunk, population.laws, population.basis, objective
        self.sight = sight.of(slice(unit, unit + 1))  # at its own points
        self.unit, self.row = unit, int(chunk.law[unit])

    def u(self, rank: np.ndarray) -> np.ndarray:
        return self.laws.log_prob(np.full(rank.shape, self.row), rank)

    def log_probs(self, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-probabilities now and under pi_old of unsampled actions at u."""
        n, unit = self.chunk.nodes, np.zeros(len(u), dtype=np.int64)
        places = self.basis.places(np.full(len(u), self.row), u)
        start, own = self.basis.nodes[self.row], slice(self.unit, self.unit + 1)
        now, old = (u + places.of(x[own, :n] - start, unit) for x in (self.chunk.log_probs, self.chunk.old_log_probs))
        return now, old

    def pieces(self, ranks: np.ndarray) -> np.ndarray:
        """The objective's piece at each rank."""
        u = self.u(ranks)
        seen, sight = View.of(*self.log_probs(u)), self.sight.referring_to(u[None])
        at = (np.zeros(len(ranks), dtype=np.int64), np.arange(len(ranks)))
        out: np.ndarray = self.objective.change(sight.view(seen.ratio, seen.old_probs, seen.log_probs, at)).piece
        return out

    def cuts(self, first: int, last: int) -> list[int]:
        """Ranks in (first, last) at which the piece changes, as far as an ever finer look at the changes seen shows them."""
        seen = np.unique(np.linspace(first, last - 1, _WAYS).astype(np.int64))
        changes = np.flatnonzero(np.diff(self.pieces(seen)))
        if last - first <= _WAYS:
            return [int(seen[k + 1]) for k in changes]
        return [cut for k in changes for cut in self.cuts(int(seen[k]), int(seen[k + 1]) + 1)]

    def piece(self, first: int, last: int, gone: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """u, weight and number (k,) of nodes for the untracked actions of a range of ranks; gone: tracked ranks in it."""
        if last - first <= _FEW:
            ranks = np.setdiff1d(np.arange(first, last), gone)
            return self.u(ranks), np.ones(len(ranks)), np.ones(len(ranks))
        high, low = self.u(np.array([first, last - 1]))
        u, count = self.laws.atoms(self.row, first, last)
        u, count = np.concatenate([u, self.u(gone)]), np.concatenate([count, -np.ones(len(gone))])
        nodes = chebyshev(low, high, self.basis.per_panel if high - low > 1e-9 else 1)
        number, weight = weights_of(nodes, u, count)
        return nodes, weight, number


def cut(chunk: Chunk, population: Population, objective: Objective, unit: int, sight: Sight) -> tuple[Policies, Sight]:
    """Return the policies of one unit with its panels of unsampled actions cut where a bound passes, and what is seen of them."""
    one, n, m = _Unit(chunk, population, objective, unit, sight), chunk.nodes, population.basis.per_panel
    count = int(chunk.count[unit])
    ids = chunk.ids[unit, :count]
    ranks = np.sort(population.laws.rank(np.full(count, one.row), ids))
    nodes = (unit, slice(n))
    parted = _mixed(objective, _view_of(chunk, slice(unit, unit + 1), sight), m)[0]
    keep = np.repeat(~parted, m)
    start = population.basis.nodes[one.row]
    whole = (chunk.log_probs[nodes], chunk.old_log_probs[nodes], chunk.weight[unit], chunk.number[unit], start)
    parts = [tuple(x[keep] for x in whole)]
    for panel in np.flatnonzero(parted):
        a, b = population.basis.cuts[one.row, panel : panel + 2].tolist()
        for c, d in pairwise([a, *one.cuts(a, b), b]):
            u, weight, number = one.piece(c, d, ranks[np.searchsorted(ranks, c) : np.searchsorted(ranks, d)])
            parts.append((*one.log_probs(u), weight, number, u))
    now, old, weight, number, start = (np.concatenate(x)[None] for x in zip(*parts, strict=True))
    own = (slice(unit, unit + 1), slice(n, n + count))
    now, old = np.concatenate([now, chunk.log_probs[own]], axis=1), np.concatenate([old, chunk.old_log_probs[own]], axis=1)
    seen = one.sight
    if seen.reference is not None:
        seen = seen.referring_to(np.concatenate([start, seen.reference[:, n : n + count]], axis=1))
    return Policies(now, np.exp(now), old, np.exp(old), weight, number, chunk.count[unit : unit + 1]), seen
