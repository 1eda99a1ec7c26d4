"""Nodes of the flow of unsampled actions: Chebyshev points on panels of the initial log-probability, and their weights.

An unsampled action moves by a smooth function of its initial log-probability u, so f(u) on a panel is the polynomial through its
nodes (barycentric form) and sums over the unsampled actions are sums over nodes:

    sum_a e^{u_a} h(u_a) = sum_j W_j h(u_j),    W_j = sum_a e^{u_a} L_j(u_a)

Weights may be negative. The singularities of the flow are pi away from the real axis, so m nodes on a panel of 2 nats leave an
error of about 6.4^-m. Laws with few distinct probabilities have a panel of one node for each: then nothing is interpolated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from entclip.engines.reduced.initial_laws import Laws

__all__ = ["Basis", "Places", "basis_of", "chebyshev", "flow", "leave", "weights_of"]

PANEL_WIDTH = 2.0  # nats
RESOLVED = 42.0  # nats below the largest; beyond, probabilities are under 1e-18 of it and the flow is a constant shift
MAX_LEVELS = 160  # panels of one node
HELD = 600.0


def chebyshev(low: np.ndarray, high: np.ndarray, nodes: int) -> np.ndarray:
    """Return Chebyshev points of the second kind on [low, high], descending, (..., nodes): both ends are nodes."""
    if nodes == 1:
        return high[..., None]
    x = np.cos(np.pi * np.arange(nodes) / (nodes - 1))
    out: np.ndarray = (low + high)[..., None] / 2 + (high - low)[..., None] / 2 * x
    out[..., 0], out[..., -1] = high, low
    return out


def _polynomials(nodes: np.ndarray, u: np.ndarray) -> np.ndarray:
    """L_j(u) for Chebyshev points `nodes` (Q or 1, m) and queries u (Q,), (Q, m)."""
    m = nodes.shape[1]
    if m == 1:
        return np.ones((len(u), 1))
    sign = np.where(np.arange(m) % 2, -1.0, 1.0)
    sign[[0, -1]] /= 2
    gap = u[:, None] - nodes
    hit = np.any(gap == 0, axis=1)
    if np.any(hit):
        gap[hit] = np.where(gap[hit] == 0, 0.0, np.inf)
    with np.errstate(divide="ignore"):
        q = sign / gap
    if np.any(hit):
        q[hit] = np.isinf(q[hit])
    q /= np.sum(q, axis=1, keepdims=True)
    return q


@dataclass(frozen=True)
class Places:
    """Where queries lie: indices of the nodes of their panels (Q, m), u of these nodes, and L_j(u), (Q, m) each."""

    index: np.ndarray
    nodes: np.ndarray
    share: np.ndarray

    def of(self, values: np.ndarray, unit: np.ndarray) -> np.ndarray:
        """Return values at the queries from those at the nodes, (U, n or more), of each query's unit."""
        out: np.ndarray = np.einsum("qm,qm->q", self.share, values[unit[:, None], self.index])
        return out


def places(
    nodes: np.ndarray, edges: np.ndarray, per_panel: int, row: np.ndarray, u: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return index, nodes and share of `Places`, (Q, m) each, of u (Q,) in the laws `row` (Q,); nodes, edges: of a Basis."""
    own = np.sum(u[:, None] < edges[row], axis=1)
    index = own[:, None] * per_panel + np.arange(per_panel)
    near = nodes[row[:, None], index]
    return index, near, _polynomials(near, u)


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
    """Return number and weight (U, n) of each unit's nodes after actions at u (Q,) of the units (Q,) have left them."""
    index, near, share = places(nodes, edges, per_panel, row, u)
    at = (unit[:, None] * number.shape[1] + index).reshape(-1)

    def less(x: np.ndarray, share: np.ndarray) -> np.ndarray:
        out: np.ndarray = x - np.bincount(at, share.reshape(-1), minlength=x.size).reshape(x.shape)
        return out

    return less(number, share), less(weight, share * _relative(u[:, None], near))


def flow(
    values: np.ndarray, unit: np.ndarray, nodes: np.ndarray, edges: np.ndarray, per_panel: int, row: np.ndarray, u: np.ndarray
) -> np.ndarray:
    """Return interpolated `values` (U, n) of each query's unit (Q,) at u (Q,), (Q,); the rest as for `places`."""
    return Places(*places(nodes, edges, per_panel, row, u)).of(values, unit)


@dataclass(frozen=True)
class Basis:
    """For each law (R rows): nodes u (R, n), n = panels x per_panel, and lower edges of all panels but the last (R, P - 1).

    number (R, n) = sum_a L_j(u_a) and weight (R, n) = sum_a e^{u_a - u_j} L_j(u_a) over the actions that nodes stand for:
    the number of actions that a node counts for in plain sums, and in sums weighted by probability.
    cuts (R, P + 1): ranks at which panels begin, and the end.
    """

    nodes: np.ndarray
    edges: np.ndarray
    per_panel: int
    number: np.ndarray
    weight: np.ndarray
    cuts: np.ndarray

    @property
    def panels(self) -> int:
        return int(self.nodes.shape[1]) // self.per_panel

    def places(self, row: np.ndarray, u: np.ndarray) -> Places:
        """Return where u (Q,) of the laws `row` (Q,) lie."""
        return Places(*places(self.nodes, self.edges, self.per_panel, row, u))


def weights_of(nodes: np.ndarray, u: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return number and weight (m,) of the nodes of one panel for atoms at u (A,) that count for so many actions each."""
    number, weight = np.zeros(len(nodes)), np.zeros(len(nodes))
    block, top = 2**16, nodes[0]
    for start in range(0, len(u), block):  # blocks of atoms bound the memory
        part = slice(start, start + block)
        share = _polynomials(nodes[None], u[part])
        number += count[part] @ share
        weight += (count[part] * np.exp(u[part] - top)) @ share
    return number, weight * _relative(top, nodes)


def _relative(u: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """e^{u - node}: how much more probable than its nodes an action is.

    Held at e^HELD: a panel that is wider than float64 lies below RESOLVED, and its nodes there have no probability at all.
    """
    out: np.ndarray = np.exp(np.minimum(u - nodes, HELD))
    return out


def _ranks_below(laws: Laws, row: np.ndarray, u: np.ndarray, first: int) -> np.ndarray:
    """The first ranks >= first whose log-probabilities are below u, same shape as u; V where there is none."""
    low, high = np.full(u.shape, first), np.full(u.shape, laws.vocab)
    for _ in range(laws.vocab.bit_length()):  # bisection
        middle = (low + high) // 2
        below = laws.log_prob(row, np.minimum(middle, laws.vocab - 1)) < u
        open_ = low < high
        high, low = np.where(open_ & below, middle, high), np.where(open_ & ~below, middle + 1, low)
    return low


def _edges(laws: Laws, row: int, first: int, count: int) -> np.ndarray:
    """Ends of the panels of one law, descending, (count + 1,)."""
    high, low = (float(laws.log_prob(np.array([row]), np.array([r]))[0]) for r in (first, laws.vocab - 1))
    edges = np.linspace(high, max(low, high - RESOLVED), count + 1)
    edges[-1] = low
    return edges


def basis_of(laws: Laws, first: int, per_panel: int, *, moving: bool = True) -> Basis:
    """Return nodes for the actions of rank `first` and beyond of every law; none if there are no such actions.

    moving: whether unsampled logits move. Where they do not, every sum is that of a cubic in u and one panel is enough.
    """
    rows = laws.rows
    empty = np.zeros((rows, 0))
    if first >= laws.vocab:
        return Basis(empty, empty, 1, empty, empty, empty)
    levels = laws.distinct(first, MAX_LEVELS)
    if levels is not None:
        nodes, count = levels
        cuts = first + np.concatenate([np.zeros((rows, 1)), np.cumsum(count, axis=1)], axis=1).astype(np.int64)
        return Basis(nodes, (nodes[:, :-1] + nodes[:, 1:]) / 2, 1, count, count, cuts)
    ends = np.array([first, laws.vocab - 1])
    span = max(float(np.ptp(laws.log_prob(np.full(2, r), ends))) for r in range(rows))
    panels = max(1, math.ceil(min(span, RESOLVED) / PANEL_WIDTH)) if moving else 1
    all_edges = np.stack([_edges(laws, r, first, panels) for r in range(rows)])
    nodes = chebyshev(all_edges[:, 1:], all_edges[:, :-1], per_panel)
    number, weight = np.zeros(nodes.shape), np.zeros(nodes.shape)
    cuts = np.full((rows, panels + 1), laws.vocab)
    cuts[:, 0] = first
    inner = all_edges[:, 1:-1]
    cuts[:, 1:-1] = _ranks_below(laws, np.broadcast_to(np.arange(rows)[:, None], inner.shape), inner, first)
    for row in range(rows):  # each law once
        for k, (a, b) in enumerate(pairwise(cuts[row].tolist())):
            if a < b:
                number[row, k], weight[row, k] = weights_of(nodes[row, k], *laws.atoms(row, a, b))
    shape = (rows, -1)
    return Basis(nodes.reshape(shape), inner, per_panel, number.reshape(shape), weight.reshape(shape), cuts)
