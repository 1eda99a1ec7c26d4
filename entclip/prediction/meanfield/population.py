"""The state of a prediction within a rollout: a density of log r on a lattice for every node, and the sums it implies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from operator import mul
from typing import Any, NamedTuple

import numpy as np

from entclip.objectives.base import Change, Objective, View, split_by_cause
from entclip.prediction.meanfield.nodes import Nodes

__all__ = ["BinnedChange", "Population", "binned_change"]

# Midpoints of equal parts of a bin, in units of its width.
_FINE = (np.arange(32) + 0.5) / 32
# First moment about the middle of a bin, and half the excess of the second over a constant's 1/12.
_TILT = (_FINE - 0.5) / 32
_BEND = ((_FINE - 0.5) ** 2 - 1 / 12) / 64


class BinnedChange(NamedTuple):
    """What the objective does, (K, N), as weights: sums over lattice bins with them are integrals over the true sets.

    Where a bound cuts a bin, the bin and its neighbours have that bin's moments, so a weight may lie a little outside [0, 1].

    plus, minus, plus_sq, minus_sq: the objective's gains and their squares; both: plus times minus; low, high: shares in the
    sets; clip_low, clip_high, other: weights by cause where E[A+] = E[A-] = 1.
    """

    plus: np.ndarray
    minus: np.ndarray
    plus_sq: np.ndarray
    minus_sq: np.ndarray
    both: np.ndarray
    low: np.ndarray
    high: np.ndarray
    clip_low: np.ndarray
    clip_high: np.ndarray
    other: np.ndarray


def binned_change(change: Change) -> BinnedChange:
    """Return what the objective does at each action of a view."""
    gains = change.gains
    one = np.ones_like(gains.plus)
    parts = split_by_cause(change, one, one)
    causes = (parts["clip_low"], parts["clip_high"], parts["other"])
    return BinnedChange(*gains, gains.plus * gains.minus, change.low.astype(float), change.high.astype(float), *causes)


@dataclass(frozen=True)
class Population:
    """Mass (K, N) of log r on the lattice step_k (j - N/2) + shift, rows summing to 1; `still` (K,) marks nodes that do not move.

    The shift is common to all actions and keeps sum_a pi0_a E r_a = 1: it is what normalisation does to log-probabilities.
    Where a law is given that has means of its own, it is that of each node, (K, 1).
    """

    nodes: Nodes
    step: np.ndarray
    mass: np.ndarray
    shift: float | np.ndarray
    objective: Objective
    still: np.ndarray

    @cached_property
    def lattice(self) -> np.ndarray:
        n = self.mass.shape[1]
        out: np.ndarray = self.step[:, None] * (np.arange(n) - n // 2)
        return out

    @cached_property
    def log_ratio(self) -> np.ndarray:
        return self.lattice + self.shift

    @cached_property
    def ratio(self) -> np.ndarray:
        out: np.ndarray = np.exp(self.log_ratio)
        return out

    @cached_property
    def old_probs(self) -> np.ndarray:
        return self.nodes.prob[:, None]

    @cached_property
    def log_probs(self) -> np.ndarray:
        return self.log_ratio + self.nodes.log_prob[:, None]

    @cached_property
    def probs(self) -> np.ndarray:
        return self.ratio * self.old_probs

    @cached_property
    def number(self) -> np.ndarray:
        """Return actions per context at each point, (K, N): sums over actions are sums with this weight."""
        return self.nodes.count[:, None] * self.mass

    @cached_property
    def weight(self) -> np.ndarray:
        """Return probability at each point, (K, N): means under pi are sums with this weight."""
        return self.number * self.probs

    def total(self, *factors: Any) -> float:
        """Return sum_a of the product of the factors."""
        return float(np.einsum("kn,kn->", self.number, reduce(mul, factors)))

    def mean(self, *factors: Any) -> float:
        """Return E_pi of the product of the factors."""
        return float(np.einsum("kn,kn->", self.weight, reduce(mul, factors)))

    @cached_property
    def entropy(self) -> float:
        return -self.mean(self.log_probs)

    @property
    def level(self) -> float:
        """Return expected entropy."""
        return self.entropy

    def _change(self, ratio: np.ndarray, log_ratio: np.ndarray, row: slice | np.ndarray) -> Change:
        """What the objective does at ratios (R, N) of the nodes `row` (R,)."""
        old_probs = np.broadcast_to(self.old_probs[row], ratio.shape)
        return self.objective.change(View(ratio, old_probs, log_ratio + self.nodes.log_prob[row, None]))

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray, Change]:
        """The ratios at the edges of the lattice's bins (K, N + 1), their logarithms, and what the objective does there."""
        n = self.mass.shape[1]
        log_edges = self.step[:, None] * (np.arange(n + 1) - n // 2 - 0.5) + self.shift
        edges = np.exp(log_edges)
        return edges, log_edges, self._change(edges, log_edges, slice(None))

    @property
    def gated(self) -> bool:
        """Tell whether the objective's sets act on one sign of the advantage each."""
        return self._edges[2].gated

    @cached_property
    def binned(self) -> BinnedChange:
        """Return what the objective does at every point; bins cut by a bound by their moments."""
        n = self.mass.shape[1]
        edges, log_edges, change = self._edges
        ends, piece = np.stack(binned_change(change)), change.piece
        out = (ends[..., :-1] + ends[..., 1:]) / 2
        row, column = np.nonzero((piece[:, 1:] != piece[:, :-1]) & (self.mass != 0))
        if len(row):
            inside = edges[row, column, None] * np.exp(self.step[row, None] * _FINE)
            log_inside = log_edges[row, column, None] + self.step[row, None] * _FINE
            fine = np.stack(binned_change(self._change(inside, log_inside, row)))
            mean, tilt, bend = fine.mean(axis=-1), fine @ _TILT, fine @ _BEND
            left, right = ends[:, row, column], ends[:, row, column + 1]
            out[:, row, column] = mean
            # Sums over the lattice are to be integrals over the true sets: the bin's moments are given to it and its neighbours.
            below, above = np.maximum(column - 1, 0), np.minimum(column + 1, n - 1)
            for place, more in (
                (below, (mean - left) / 24 - tilt / 2 + bend),
                (column, (left + right - 2 * mean) / 24 - 2 * bend),
                (above, (mean - right) / 24 + tilt / 2 + bend),
            ):
                np.add.at(out, (slice(None), row, place), more)  # type: ignore[arg-type]
        return BinnedChange(*out)
