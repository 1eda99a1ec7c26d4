"""What a clip of another width would have done in a rollout that was measured: the response of entropy to its widths. T6, T12."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["SideResponse", "measured_response"]

_SEARCH = 60  # halvings of the interval of a scale
_SCALES = (1e-3, 1e3)


@dataclass(frozen=True)
class SideResponse:
    """One side of the clip in one rollout.

    Attributes:
        noise: sd of the log-ratios before each update, (K,).
        scale: factor on it that gives normal log-ratios the probability that was beyond the bound.
        beyond: that probability, summed over updates; 0 where the response to a width cannot be read from it.
        effect: nats of entropy that the side changed in the rollout.
    """

    noise: np.ndarray
    scale: float
    beyond: float
    effect: float

    def reach(self, edge: np.ndarray) -> np.ndarray:
        """Return the probability beyond |log r| > edge on this side, summed over updates, for edges of any shape."""
        from scipy.special import ndtr

        out: np.ndarray = np.sum(ndtr(-edge[..., None] / self._moved), axis=-1)
        return out

    def moment(self, edge: np.ndarray) -> np.ndarray:
        """Return |log r| of what is beyond the edge, times its probability, summed over updates; what the effect goes by."""
        out: np.ndarray = np.sum(self._moved * np.exp(-((edge[..., None] / self._moved) ** 2) / 2), axis=-1)
        return out / math.sqrt(2 * math.pi)

    @property
    def _moved(self) -> np.ndarray:
        return self.noise[self.noise > 0] * self.scale


def measured_response(rows: Sequence[Mapping[str, Any]], side: str, edge: float, scale: float) -> SideResponse:
    """Return the response of one side, "low" or "high", from the rows of a rollout with its bound at |log r| = edge.

    Its effect is its cause in the books, and the curvature that dropped samples did not make: half of those beyond a bound, by
    their sign, and that share of the curvature. The probability beyond the bound grows with the noise of the log-ratios from
    update to update: it is taken as a normal tail of that noise times a scale, which is chosen to give the sum that was measured
    (where nothing was beyond it, `scale` stands). By T6 the effect is the gap times the mass beyond the bound, and the gap is a
    difference of means of the entropy value. Where that value goes with log r linearly, gap times mass is proportional to the
    moment of |log r| beyond the bound: what lies far beyond is worth more than what lies just beyond. That is assumed here.
    """
    noise = np.sqrt([max(row["log_ratio_sq"], 0.0) for row in rows])
    beyond = math.fsum(row[f"pi_{side}"] for row in rows)
    # The expectation has no sampling noise; under Adam, on reused samples and with statistics of the same batch there is none.
    known = [row.get(f"expected_clip_{side}") for row in rows]
    effect = math.fsum(row[f"clip_{side}"] if value is None else value for row, value in zip(rows, known, strict=True))
    effect -= beyond / 2 * _curvature_of_a_whole_update(rows)
    if not beyond > 0 or not math.isfinite(edge) or not np.any(noise > 0):
        return SideResponse(noise, scale, 0.0, 0.0)
    low, high = _SCALES
    for _ in range(_SEARCH):
        middle = math.sqrt(low * high)
        enough = float(SideResponse(noise, middle, 0.0, 0.0).reach(np.asarray(edge))) > beyond
        low, high = (low, middle) if enough else (middle, high)
    return SideResponse(noise, math.sqrt(low * high), beyond, effect)


def _curvature_of_a_whole_update(rows: Sequence[Mapping[str, Any]]) -> float:
    """Mean curvature of an update if none of its samples were dropped, nats."""
    kept = math.fsum(1 - (row["pi_low"] + row["pi_high"]) / 2 for row in rows)
    return math.fsum(row["curvature"] for row in rows) / kept
