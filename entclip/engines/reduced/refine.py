"""Whether the nodes resolve the flow, and more of them before they no longer do."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from entclip.engines.reduced.basis import Basis, basis_of
from entclip.engines.reduced.cell import Cell, Population

__all__ = ["finer", "refined", "unresolved"]


def unresolved(cell: Cell, basis: Basis) -> float:
    """Return the estimated error of a unit's entropy from too few nodes, the worst of the cell, nats.

    On each panel the largest of the last eighth of the Chebyshev coefficients of f(u) - u bounds the error of f; times the
    probability that the panel holds and 1 + |log pi| it is one of entropy.
    """
    n, m = cell.nodes, basis.per_panel
    if m == 1:
        return 0.0
    flow = (cell.log_probs[:, :n] - basis.nodes[cell.law]).reshape(len(cell.count), -1, m)
    last = np.abs(flow @ _last_coefficients(m)).max(axis=2)
    mass = np.abs((cell.weight * cell.probs[:, :n]).reshape(flow.shape).sum(axis=2))
    surprisal = 1 + np.abs(cell.log_probs[:, :n].reshape(flow.shape)).max(axis=2)
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


def refined(cell: Cell, population: Population, more: Population, *, scaled: bool) -> Cell:
    """Return a cell on the nodes of a finer population; tracked actions stay tracked, outside the sums over nodes."""
    laws, n = population.laws, cell.nodes
    old, new = population.basis, more.basis
    unit = np.repeat(np.arange(len(cell.count)), new.nodes.shape[1])
    u, nodes = new.nodes[cell.law], old.nodes[cell.law]

    def carried(x: np.ndarray, off: np.ndarray, on: np.ndarray, by: np.ndarray, back: np.ndarray) -> np.ndarray:
        """(x - off)/by is what is smooth: its values at the new nodes times `back` plus `on`, then the tracked columns of x."""
        value = population.flow((x[:, :n] - off) / by, unit, cell.law[unit], u.reshape(-1)).reshape(u.shape)
        return np.concatenate([value * back + on, x[:, n:]], axis=1)

    one, none = np.ones(1), np.zeros(1)
    moments = cell.moments
    if moments is not None:
        m, v = (
            carried(x, none, none, np.exp(k * nodes), np.exp(k * u)) if scaled else carried(x, none, none, one, one)
            for k, x in enumerate(moments, 1)
        )
        moments = (m, np.maximum(v, 0.0))
    weight, number = new.weight[cell.law], new.number[cell.law]
    row, slot = np.nonzero(cell.tracked)
    law = cell.law[row]
    rank = laws.rank(law, cell.ids[row, slot])
    late = rank >= population.first
    row, start = row[late], laws.log_prob(law[late], rank[late])
    number, weight = more.left(number, weight, row, law[late], start)
    grown = replace(cell, weight=weight, number=number, moments=moments)
    return grown.at(carried(cell.log_probs, nodes, u, one, one), carried(cell.old_log_probs, nodes, u, one, one))
