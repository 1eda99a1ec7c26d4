"""Units of the reduced engine: a chunk holds some of them, each with its points: quadrature nodes and tracked actions.

Arrays hold a unit in a row: nodes first, then tracked actions, then room for more. `weight` makes a sum over points a sum over
all actions:

    sum_a pi_a h_a = sum_c weight_c pi_c h_c        (1 for a tracked action, 0 for room, any sign for a node)

`number` does the same for sums without a factor of probability: it differs from `weight` at nodes only.

Successive chunks share arrays that only grow, so that tracking one more action copies nothing: a chunk never looks beyond its own
counts, and only the newest one writes there. A second step from an older chunk begins with copies.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from entclip.engines.reduced.basis import Basis
from entclip.engines.reduced.initial_laws import Laws
from entclip.engines.reduced.kernels import NUMPY, Kernels
from entclip.engines.reduced.point_policy import PADDING
from entclip.engines.reduced.searches import EMPTY, IdTable

__all__ = ["Chunk", "Population", "begin_chunk", "track"]

ROOM = 32  # points are added this many at a time, and an eighth of those there are: they are seldom copied


@dataclass(frozen=True)
class Population:
    """What all chunks of a run share: laws, nodes, how many of the most probable actions are tracked from the start, kernels.

    bases: those of more nodes that were needed so far, by the nodes of a panel; arms share them.
    """

    laws: Laws
    basis: Basis
    first: int
    kernels: Kernels = NUMPY
    bases: dict[int, Basis] = field(default_factory=dict)

    @property
    def nodes(self) -> int:
        return int(self.basis.nodes.shape[1])

    def flow(self, values: np.ndarray, unit: np.ndarray, law: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return values (U, n) at the nodes interpolated in the units (Q,) at u (Q,), (Q,)."""
        basis = self.basis
        return self.kernels.flow(values, unit, basis.nodes, basis.edges, basis.per_panel, law, u)

    def left(
        self, number: np.ndarray, weight: np.ndarray, unit: np.ndarray, law: np.ndarray, u: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return number and weight (U, n) after actions at u (Q,) of the units (Q,) have left the nodes."""
        basis = self.basis
        number, weight = self.kernels.leave(number, weight, unit, basis.nodes, basis.edges, basis.per_panel, law, u)
        return number, weight


@dataclass(frozen=True)
class Chunk:
    """Some units (u of them) with their points, c = nodes + room for tracked actions.

    Attributes:
        law: which law each unit started from, (u,).
        ids, count: tracked actions (u, c - n), of which the first count (u,) are there; table: where each of them is.
        log_probs, probs, old_log_probs, old_probs: (u, c).   weight, number: (u, n), of nodes.
        averages: Adam's m and v, (u, c) each; shift: what was taken off the logits to normalise them, (u,).
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
    averages: tuple[np.ndarray, np.ndarray] | None
    shift: np.ndarray

    @property
    def nodes(self) -> int:
        return int(self.number.shape[1])

    @property
    def tracked(self) -> np.ndarray:
        """Return which of the tracked points hold an action, boolean (u, c - n)."""
        out: np.ndarray = np.arange(self.ids.shape[1]) < self.count[:, None]
        return out

    def at(self, log_probs: np.ndarray, old_log_probs: np.ndarray) -> Chunk:
        """Return the same points at other log-probabilities."""
        probs = np.exp(log_probs)
        old_probs = probs if old_log_probs is log_probs else np.exp(old_log_probs)
        return replace(self, log_probs=log_probs, probs=probs, old_log_probs=old_log_probs, old_probs=old_probs)

    def start(self, population: Population) -> np.ndarray:
        """Return the log-probabilities that the points started from, (u, c)."""
        laws, n, tracked = population.laws, self.nodes, self.tracked
        out = np.full(self.log_probs.shape, PADDING)
        out[:, :n] = population.basis.nodes[self.law]
        row, slot = np.nonzero(tracked)
        law = self.law[row]
        out[row, n + slot] = laws.log_prob(law, laws.rank(law, self.ids[row, slot].astype(np.int64)))
        return out

    def slots(self, population: Population, row: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Return which tracked action of its unit (Q,) each id (Q,) is, -1 where it is not tracked."""
        slot = population.kernels.find(self.table.keys, self.table.slots, row, ids)
        out: np.ndarray = np.where(slot < self.count[row], slot, -1)
        return out

    def flow(self, log_probs: np.ndarray, population: Population, row: np.ndarray, u: np.ndarray) -> np.ndarray:
        """Return f(u) - u of unsampled actions with initial log-probabilities u in units `row`, (Q,); log_probs: (u, c), now or
        old."""
        moved = log_probs[:, : self.nodes] - population.basis.nodes[self.law]
        return population.flow(moved, row, self.law[row], u)


def begin_chunk(population: Population, law: np.ndarray, *, adam: bool) -> Chunk:
    """Return units at their initial laws (u,), with the most probable actions tracked."""
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
    averages = (np.zeros_like(log_probs), np.zeros_like(log_probs)) if adam else None
    count = np.full(units, first)
    return Chunk(
        law=law,
        ids=ids,
        count=count,
        table=IdTable.of(ids, count),
        log_probs=log_probs,
        probs=np.exp(log_probs),
        old_log_probs=log_probs,
        old_probs=np.exp(log_probs),
        weight=basis.weight[law],
        number=basis.number[law],
        averages=averages,
        shift=np.zeros(units),
    )


def _roomy(chunk: Chunk, kernels: Kernels, width: int) -> Chunk:
    """A copy of a chunk's growing arrays with room for `width` tracked actions."""
    n, held = chunk.nodes, chunk.tracked

    def widened(x: np.ndarray, value: float, fixed: int = n) -> np.ndarray:
        out = np.full((len(x), fixed + width), value, dtype=x.dtype)
        out[:, : x.shape[1]] = x
        out[:, fixed : x.shape[1]][~held] = value
        return out

    ids = widened(chunk.ids, EMPTY, 0)
    log_probs, old = widened(chunk.log_probs, PADDING), widened(chunk.old_log_probs, PADDING)
    return replace(
        chunk,
        ids=ids,
        table=IdTable.of(ids, chunk.count, kernels.insert),
        log_probs=log_probs,
        probs=widened(chunk.probs, 0.0),
        old_log_probs=old,
        old_probs=widened(chunk.old_probs, 0.0),
        averages=None if chunk.averages is None else (widened(chunk.averages[0], 0.0), widened(chunk.averages[1], 0.0)),
    )


def track(chunk: Chunk, population: Population, actions: np.ndarray, *, scaled: bool = True) -> tuple[Chunk, np.ndarray]:
    """Return the same units with all of `actions` (u, B) tracked, and the points of these actions, (u, B).

    A newly tracked action leaves the sums over nodes and starts where the flow has brought it. scaled: Adam's m and v are
    interpolated relative to pi and pi^2, which they are proportional to along the flow where nothing decays.
    """
    laws, basis, n = population.laws, population.basis, chunk.nodes
    row = np.repeat(np.arange(len(actions)), actions.shape[1])
    flat = actions.reshape(-1).astype(np.int64)
    slot = chunk.slots(population, row, flat)
    missing = np.flatnonzero(slot < 0)
    if len(missing) == 0:
        return chunk, n + slot.reshape(actions.shape)
    pairs, which = np.unique(row[missing] * laws.vocab + flat[missing], return_inverse=True)
    new_row, new_id = np.divmod(pairs, laws.vocab)
    extra = np.bincount(new_row, minlength=len(actions))
    first_of_row = np.cumsum(extra) - extra
    new_slot = chunk.count[new_row] + np.arange(len(pairs)) - first_of_row[new_row]
    count = chunk.count + extra
    most, room = int(count.max()), chunk.ids.shape[1]
    if most > room or chunk.table.newest is not chunk.count:
        chunk = _roomy(chunk, population.kernels, room if most <= room else most + max(ROOM, most // 8))
    ids, table = chunk.ids, chunk.table
    ids[new_row, new_slot] = new_id
    population.kernels.insert(table.keys, table.slots, new_row, ids[new_row, new_slot], new_slot)
    table.newest = count

    law = chunk.law[new_row]
    u = laws.log_prob(law, laws.rank(law, new_id))
    at, nodes = (new_row, n + new_slot), basis.nodes[chunk.law]
    for log_probs, probs in ((chunk.log_probs, chunk.probs), (chunk.old_log_probs, chunk.old_probs)):
        start = u + population.flow(log_probs[:, :n] - nodes, new_row, law, u)
        log_probs[at], probs[at] = start, np.exp(start)
    number, weight = population.left(chunk.number, chunk.weight, new_row, law, u)
    for power, x in enumerate(chunk.averages or (), 1):
        unit = np.exp(power * nodes) if scaled else np.ones_like(nodes)
        back = np.exp(power * u) if scaled else 1.0
        start = population.flow(x[:, :n] / unit, new_row, law, u) * back
        x[at] = start if power == 1 else np.maximum(start, 0.0)
    slot[missing] = new_slot[which]
    return replace(chunk, count=count, weight=weight, number=number), n + slot.reshape(actions.shape)
