"""Units of the reduced engine: a cell holds some of them, each with its nodes and its tracked actions as columns of one array.

Columns are nodes first, then tracked actions, then padding. `weight` makes a sum over columns a sum over all actions:

    sum_a pi_a h_a = sum_c weight_c pi_c h_c        (1 for a tracked action, 0 for padding, any sign for a node)

`number` does the same for sums without a factor of probability: it differs from `weight` at nodes only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from entclip.reduced.basis import Basis, relative
from entclip.reduced.law import Laws
from entclip.reduced.rows import IdTable

__all__ = ["Cell", "Population", "begin_cell", "track"]

WIDTH = 32  # tracked actions are padded to a multiple of this
_EMPTY = -800.0  # log-probability of padding: its probability is 0 in float64


@dataclass(frozen=True)
class Population:
    """What all cells of a run share: laws, nodes, and how many of the most probable actions are tracked from the start."""

    laws: Laws
    basis: Basis
    first: int

    @property
    def nodes(self) -> int:
        return int(self.basis.nodes.shape[1])


@dataclass(frozen=True)
class Cell:
    """Some units (u of them) with their columns, c = nodes + tracked.

    Attributes:
        law: which law each unit started from, (u,).
        ids, count: tracked actions (u, c - n), -1 where padded, and their numbers (u,); table: where each of them is.
        log_probs, probs, old_log_probs, old_probs, weight: (u, c).   number: (u, n), of nodes.
        moments: Adam's m and v, (u, c) each; shift: what was taken off the logits to normalise them, (u,).
    """

    law: np.ndarray
    ids: np.ndarray
    count: np.ndarray
    table: IdTable
    log_probs: np.ndarray
    probs: np.ndarray
    old_log_probs: np.ndarray
    old_probs: np.ndarray
    weight: np.ndarray
    number: np.ndarray
    moments: tuple[np.ndarray, np.ndarray] | None
    shift: np.ndarray

    @property
    def nodes(self) -> int:
        return int(self.number.shape[1])

    def at(self, log_probs: np.ndarray, old_log_probs: np.ndarray) -> Cell:
        """The same columns at other log-probabilities."""
        return replace(
            self, log_probs=log_probs, probs=np.exp(log_probs), old_log_probs=old_log_probs, old_probs=np.exp(old_log_probs)
        )

    def flow(self, log_probs: np.ndarray, basis: Basis, row: np.ndarray, u: np.ndarray) -> np.ndarray:
        """f(u) - u of unsampled actions with initial log-probabilities u in units `row`, (Q,); log_probs: (u, c), now or old."""
        moved = log_probs[:, : self.nodes] - basis.nodes[self.law]
        return basis.places(self.law[row], u).of(moved, row)


def begin_cell(population: Population, law: np.ndarray, *, adam: bool) -> Cell:
    """Units at their initial laws (u,), with the most probable actions tracked."""
    laws, basis, first = population.laws, population.basis, population.first
    units, ranks = len(law), np.arange(first)
    row, rank = np.repeat(law, first), np.tile(ranks, units)
    small = np.int32 if laws.vocab < 2**31 else np.int64
    ids = laws.action(row, rank).reshape(units, first).astype(small)
    if first == laws.vocab:
        ids = np.broadcast_to(np.arange(first, dtype=small), (units, first)).copy()  # all of them: a slot is an id
        rank = laws.rank(row, ids.reshape(-1))
    tracked = laws.log_prob(row, rank).reshape(units, first)
    log_probs = np.concatenate([basis.nodes[law], tracked], axis=1)
    weight = np.concatenate([basis.weight[law], np.ones((units, first))], axis=1)
    moments = (np.zeros_like(log_probs), np.zeros_like(log_probs)) if adam else None
    return Cell(
        law=law,
        ids=ids,
        count=np.full(units, first),
        table=IdTable.of(ids),
        log_probs=log_probs,
        probs=np.exp(log_probs),
        old_log_probs=log_probs,
        old_probs=np.exp(log_probs),
        weight=weight,
        number=basis.number[law],
        moments=moments,
        shift=np.zeros(units),
    )


def _widened(x: np.ndarray, width: int, value: float) -> np.ndarray:
    out = np.full((len(x), width), value, dtype=x.dtype)
    out[:, : x.shape[1]] = x
    return out


def track(cell: Cell, population: Population, actions: np.ndarray, *, scaled: bool = True) -> tuple[Cell, np.ndarray]:
    """The same units with all of `actions` (u, B) tracked, and the columns of these actions, (u, B).

    A newly tracked action leaves the sums over nodes and starts where the flow has brought it. scaled: Adam's m and v are
    interpolated relative to pi and pi^2, which they are proportional to along the flow where nothing decays.
    """
    laws, basis, n = population.laws, population.basis, cell.nodes
    row = np.repeat(np.arange(len(actions)), actions.shape[1])
    flat = actions.reshape(-1).astype(np.int64)
    slot = cell.table.find(row, flat)
    missing = slot < 0
    if not np.any(missing):
        return cell, n + slot.reshape(actions.shape)
    pairs = np.unique(row[missing] * laws.vocab + flat[missing])
    new_row, new_id = np.divmod(pairs, laws.vocab)
    extra = np.bincount(new_row, minlength=len(actions))
    first_of_row = np.cumsum(extra) - extra
    new_slot = cell.count[new_row] + np.arange(len(pairs)) - first_of_row[new_row]
    count = cell.count + extra
    width = max(int(cell.ids.shape[1]), -(-int(count.max()) // WIDTH) * WIDTH)
    ids = _widened(cell.ids, width, -1)
    ids[new_row, new_slot] = new_id
    table = cell.table.with_ids(ids, new_row, new_id, new_slot)

    law = cell.law[new_row]
    u = laws.log_prob(law, laws.rank(law, new_id))
    places = basis.places(law, u)
    at = (new_row, n + new_slot)
    log_probs, old = (_widened(x, n + width, _EMPTY) for x in (cell.log_probs, cell.old_log_probs))
    probs, old_probs = (_widened(x, n + width, 0.0) for x in (cell.probs, cell.old_probs))
    nodes = basis.nodes[cell.law]
    log_probs[at] = u + places.of(cell.log_probs[:, :n] - nodes, new_row)
    old[at] = u + places.of(cell.old_log_probs[:, :n] - nodes, new_row)
    probs[at], old_probs[at] = np.exp(log_probs[at]), np.exp(old[at])
    weight, number = _widened(cell.weight, n + width, 0.0), cell.number.copy()
    left = (new_row[:, None], places.index)
    np.subtract.at(number, left, places.share)
    np.subtract.at(weight, left, places.share * relative(u[:, None], places.nodes))
    weight[at] = 1.0
    moments = cell.moments
    if moments is not None:
        grown = []
        for power, x in enumerate(moments, 1):
            unit = np.exp(power * nodes) if scaled else np.ones_like(nodes)
            back = np.exp(power * u) if scaled else 1.0
            wide = _widened(x, n + width, 0.0)
            wide[at] = places.of(x[:, :n] / unit, new_row) * back
            grown.append(wide)
        moments = (grown[0], np.maximum(grown[1], 0.0))
    new = replace(
        cell, ids=ids, count=count, table=table, log_probs=log_probs, probs=probs, old_log_probs=old, old_probs=old_probs,
        weight=weight, number=number, moments=moments,
    )  # fmt: skip
    slot[missing] = new_slot[np.searchsorted(pairs, row[missing] * laws.vocab + flat[missing])]
    return new, n + slot.reshape(actions.shape)
