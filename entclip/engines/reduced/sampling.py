"""Exact draws from the current policy of many units without listing the vocabulary.

With the probability of the tracked actions one of them is taken by inverse transform. Otherwise a rank is proposed from buckets
of the initial law and accepted with probability e^{f(u) - ceiling} / max e^{f(u) - u}, 0 if its action is tracked: what is
accepted has the law of the unsampled actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.engines.reduced.cell import Cell, Population
from entclip.engines.reduced.initial_laws import Buckets

__all__ = ["Sampler", "sampler_of"]

_PROPOSALS = 64  # at most, per open sample and round


@dataclass(frozen=True)
class Sampler:
    """pi_old of a cell, ready to draw from: cell as it was when the rollout began; probabilities of tracked actions summed up to
    each (u, k) and of all of them (u,); of the untracked ones (u,); the largest f(u) - u with a margin (u,)."""

    cell: Cell
    population: Population
    buckets: Buckets
    before: np.ndarray
    tracked: np.ndarray
    untracked: np.ndarray
    lift: np.ndarray

    def draw(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Return ids of actions, (u, samples), independent draws of pi_old."""
        units = len(self.tracked)
        x = rng.random((units, samples)) * (self.tracked + self.untracked)[:, None]
        row = np.broadcast_to(np.arange(units)[:, None], x.shape)
        actions = np.empty(x.shape, dtype=np.int64)
        known = x < self.tracked[:, None]
        slot = self.population.kernels.last_at_most(self.before, row[known], x[known])
        actions[known] = self.cell.ids[row[known], slot]
        actions[~known] = self._unsampled(row[~known], rng)
        return actions

    def _unsampled(self, row: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One untracked action for each of the units in `row`, (Q,)."""
        out, left, tries = np.empty(len(row), dtype=np.int64), np.arange(len(row)), 2
        while len(left):
            unit = np.repeat(row[left], tries)
            accepted, action = self._propose(unit, rng)
            accepted, action = accepted.reshape(-1, tries), action.reshape(-1, tries)
            done, first = accepted.any(axis=1), accepted.argmax(axis=1)
            out[left[done]] = action[done, first[done]]
            left, tries = left[~done], min(2 * tries, _PROPOSALS)
        return out

    def _propose(self, unit: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        cell, laws, buckets = self.cell, self.population.laws, self.buckets
        last_at_most = self.population.kernels.last_at_most
        law = cell.law[unit]
        pick, place, coin = rng.random((3, len(unit)))
        bucket = last_at_most(buckets.before, law, pick * buckets.total[law])
        rank = buckets.start[law, bucket] + np.floor(place * buckets.size[law, bucket]).astype(np.int64)
        action = laws.action(law, rank)
        fresh = np.flatnonzero(cell.slots(self.population, unit, action) < 0)
        unit, law = unit[fresh], law[fresh]
        u = laws.log_prob(law, rank[fresh])
        flow = cell.flow(cell.old_log_probs, self.population, unit, u)
        if np.any(flow > self.lift[unit]):
            raise ArithmeticError(
                "the flow of unsampled actions rises above its nodes: nodes are too few. Use ReducedEngine(nodes=...) with more."
            )
        accepted = np.zeros(len(action), dtype=bool)
        accepted[fresh] = coin[fresh] < np.exp(u - buckets.ceiling[law, bucket[fresh]] + flow - self.lift[unit])
        return accepted, action


def sampler_of(cell: Cell, population: Population, buckets: Buckets) -> Sampler:
    """Return a sampler of the cell's pi_old."""
    n = cell.nodes
    up_to = np.cumsum(np.where(cell.tracked, cell.old_probs[:, n:], 0.0), axis=1)
    before = np.concatenate([np.zeros((len(up_to), 1)), up_to[:, :-1]], axis=1)
    # Where all actions are tracked, what rounding left at the nodes is nobody's.
    rest = np.maximum(np.sum(cell.weight * cell.old_probs[:, :n], axis=1), 0.0)
    untracked = np.where(cell.count < population.laws.vocab, rest, 0.0)
    flow = cell.old_log_probs[:, :n] - population.basis.nodes[cell.law]
    top, bottom = (f(flow, axis=1, initial=x) for f, x in ((np.max, -np.inf), (np.min, np.inf)))
    lift = top + 0.1 * (top - bottom) + 1e-9 if n else top
    return Sampler(cell, population, buckets, before, up_to[:, -1], untracked, lift)
