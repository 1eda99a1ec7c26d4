"""Whether the nodes resolve the flow, and more of them before they no longer do."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from entclip.engines.reduced.basis import Basis, basis_of
from entclip.engines.reduced.chunk import Chunk, Population

__all__ = ["finer", "refined", "unresolved"]


def unresolved(chunk: Chunk, basis: Basis) -> float:
    """Return the estimated error of a unit's entropy from too few nodes, the worst of the chunk, nats.

    On each panel the largest of the last eighth of the Chebyshev coefficients of f(u) - u bounds the error of f; times the
    probability that the panel holds and 1 + |log pi| it is one of entropy.
    """
    n, m = chunk.nodes, basis.per_panel
    if m == 1:
        return 0.0
    flow = (chunk.log_probs[:, :n] - basis.nodes[chunk.law]).reshape(len(chunk.count), -1, m)
    last = np.abs(flow @ _last_coefficients(m)).max(axis=2)
    mass = np.abs((chunk.weight * chunk.probs[:, :n]).reshape(flow.shape).sum(axis=2))
    surprisal = 1 + np.abs(chunk.log_probs[:, :n].reshape(flow.shape)).max(axis=2)
    return float(np.max(np.sum(last * mass * surprisal, axis=1)))


@cache
def _last_coefficients(m: int) -> np.ndarray:
    """The last eighth of the rows of the discrete cosine transform of the first kind, transposed, (m, m/8)."""
    k = np.arange(m)
    table = np.cos(np.pi * np.outer(k, k) / (m - 1)) * 2 / (m - 1)
    table[:, [0, -1]] /= 2
    return table[-max(1, m // 8) :].T


def finer(population: Population) -> Population:
    """Return the same laws with twice as many nodes on each panel."""
    basis, known = population.basis, population.bases
    nodes = 2 * basis.per_panel
    if nodes not in known:
        known[nodes] = basis_of(population.laws, population.first, nodes, moving=basis.panels > 1)
    basis = known[nodes]
    return replace(population, basis=basis)


def refined(chunk: Chunk, population: Population, more: Population, *, scaled: bool) -> Chunk:
    """Return a chunk on the nodes of a finer population; tracked actions stay tracked, outside the sums over nodes."""
    laws, n = population.laws, chunk.nodes
    old, new = population.basis, more.basis
    unit = np.repeat(np.arange(len(chunk.count)), new.nodes.shape[1])
    u, nodes = new.nodes[chunk.law], old.nodes[chunk.law]

    def carried(x: np.ndarray, off: np.ndarray, on: np.ndarray, by: np.ndarray, back: np.ndarray) -> np.ndarray:
        """(x - off)/by is what is smooth: its values at the new nodes times `back` plus `on`, then the tracked points of x."""
        value = population.flow((x[:, :n] - off) / by, unit, chunk.law[unit], u.reshape(-1)).reshape(u.shape)
        return np.concatenate([value * back + on, x[:, n:]], axis=1)

    one, none = np.ones(1), np.zeros(1)
    averages = chunk.averages
    if averages is not None:
        m, v = (
            carried(x, none, none, np.exp(k * nodes), np.exp(k * u)) if scaled else carried(x, none, none, one, one)
            for k, x in enumerate(averages, 1)
        )
        averages = (m, np.maximum(v, 0.0))
    weight, number = new.weight[chunk.law], new.number[chunk.law]
    row, slot = np.nonzero(chunk.tracked)
    law = chunk.law[row]
    rank = laws.rank(law, chunk.ids[row, slot])
    late = rank >= population.first
    row, start = row[late], laws.log_prob(law[late], rank[late])
    number, weight = more.left(number, weight, row, law[late], start)
    grown = replace(chunk, weight=weight, number=number, averages=averages)
    return grown.at(carried(chunk.log_probs, nodes, u, one, one), carried(chunk.old_log_probs, nodes, u, one, one))
