"""Exact draws from the current policy of many units without listing the vocabulary.

With the probability of the tracked actions one of them is taken by inverse transform. Otherwise a rank is proposed from buckets
of the initial law and accepted with probability e^{f(u) - ceiling} / max e^{f(u) - u}, 0 if its action is tracked: what is
accepted has the law of the unsampled actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.engines.reduced.chunk import Chunk, Population
from entclip.engines.reduced.initial_laws import Buckets

__all__ = ["Sampler", "sampler_of"]

_PROPOSALS = 64  # at most, per open sample and round


@dataclass(frozen=True)
class Sampler:
    """pi_old of a chunk, ready to draw from.

    The chunk as it was when the rollout began; probabilities of tracked actions summed up to each (u, k) and of all of them (u,);
    of the untracked ones (u,); the largest f(u) - u with a margin (u,).
    """

    chunk: Chunk
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
        actions[known] = self.chunk.ids[row[known], slot]
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
        chunk, laws, buckets = self.chunk, self.population.laws, self.buckets
        last_at_most = self.population.kernels.last_at_most
        law = chunk.law[unit]
        pick, place, coin = rng.random((3, len(unit)))
        bucket = last_at_most(buckets.before, law, pick * buckets.total[law])
        rank = buckets.start[law, bucket] + np.floor(place * buckets.size[law, bucket]).astype(np.int64)
        action = laws.action(law, rank)
        fresh = np.flatnonzero(chunk.slots(self.population, unit, action) < 0)
        unit, law = unit[fresh], law[fresh]
        u = laws.log_prob(law, rank[fresh])
        flow = chunk.flow(chunk.old_log_probs, self.population, unit, u)
        if np.any(flow > self.lift[unit]):
            raise ArithmeticError(
                "the flow of unsampled actions rises above its nodes: nodes are too few. Use ReducedEngine(nodes=...) with more."
            )
        accepted = np.zeros(len(action), dtype=bool)
        accepted[fresh] = coin[fresh] < np.exp(u - buckets.ceiling[law, bucket[fresh]] + flow - self.lift[unit])
        return accepted, action


def sampler_of(chunk: Chunk, population: Population, buckets: Buckets) -> Sampler:
    """Return a sampler of the chunk's pi_old."""
    n = chunk.nodes
    up_to = np.cumsum(np.where(chunk.tracked, chunk.old_probs[:, n:], 0.0), axis=1)
    before = np.concatenate([np.zeros((len(up_to), 1)), up_to[:, :-1]], axis=1)
    # Where all actions are tracked, what rounding left at the nodes is nobody's.
    rest = np.maximum(np.sum(chunk.weight * chunk.old_probs[:, :n], axis=1), 0.0)
    untracked = np.where(chunk.count < population.laws.vocab, rest, 0.0)
    flow = chunk.old_log_probs[:, :n] - population.basis.nodes[chunk.law]
    top, bottom = (f(flow, axis=1, initial=x) for f, x in ((np.max, -np.inf), (np.min, np.inf)))
    lift = top + 0.1 * (top - bottom) + 1e-9 if n else top
    return Sampler(chunk, population, buckets, before, up_to[:, -1], untracked, lift)
