"""What an objective sees of the points of a chunk, and its statistics over all units of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from entclip.engines.reduced.chunk import Chunk, Population
from entclip.engines.reduced.point_policy import PADDING, Points, ratio_of, whole_weight
from entclip.objectives.base import Objective, View

__all__ = ["Counted", "Sight", "entropies", "statistics_of"]

Counted = tuple[tuple[np.ndarray, np.ndarray], np.ndarray]  # unit and point, and samples with an advantage, (D,) each


@dataclass(frozen=True)
class Sight:
    """Numbers of units beside their points, (u,) each: H of pi and of pi_old if the objective needs them, and statistics; and
    the reference policy at their points, (u, c), if it needs that."""

    entropy: np.ndarray | None = None
    old_entropy: np.ndarray | None = None
    statistics: Mapping[str, np.ndarray] = field(default_factory=dict)
    reference: np.ndarray | None = None

    def standing_at(self, objective: Objective, entropy: np.ndarray) -> Sight:
        """Return the same with the entropy of the policies, (u,), for an objective that looks at it."""
        return replace(self, entropy=entropy) if "entropy" in objective.needs else self

    def beside(self, objective: Objective, chunk: Chunk, population: Population) -> Sight:
        """Return the same with the reference policy at the points of these units, for an objective that looks at it."""
        return replace(self, reference=chunk.start(population)) if "reference" in objective.needs else self

    def referring_to(self, reference: np.ndarray) -> Sight:
        """Return the same at other points, for an objective that looks at the reference policy; reference: at them, (1, k)."""
        return self if self.reference is None else replace(self, reference=reference)

    def of(self, rows: slice) -> Sight:
        """Return that of some units."""
        entropy, old = (None if x is None else x[rows] for x in (self.entropy, self.old_entropy))
        reference = None if self.reference is None else self.reference[rows]
        return Sight(entropy, old, {name: value[rows] for name, value in self.statistics.items()}, reference)

    def view(
        self,
        ratio: np.ndarray,
        old_probs: np.ndarray,
        log_probs: np.ndarray,
        at: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> View:
        """Return the view of the first points of all units, (u, k), or of the actions (D,) at unit and point `at`, (D,)."""
        unit = None if at is None else at[0]

        def spread(x: np.ndarray | None) -> Any:
            return None if x is None else x[:, None] if unit is None else x[unit]

        statistics = {name: spread(value) for name, value in self.statistics.items()}
        reference = self.reference
        if reference is not None:
            reference = reference[:, : log_probs.shape[1]] if at is None else reference[at]
        return View(ratio, old_probs, log_probs, spread(self.entropy), spread(self.old_entropy), statistics, reference)


def entropies(chunk: Chunk, *, old: bool = False) -> np.ndarray:
    """Return H of pi, or of pi_old, of each unit, (u,)."""
    weight = whole_weight(chunk.weight, chunk.count, chunk.probs.shape[1])
    return Points.of(*((chunk.old_log_probs, weight, chunk.old_probs) if old else (chunk.log_probs, weight, chunk.probs))).entropy


def statistics_of(
    objective: Objective, chunks: Sequence[Chunk], context_weight: np.ndarray, replicas: int, counted: Sequence[Counted] | None
) -> dict[str, np.ndarray]:
    """Return the objective's statistics of an update for each unit, (U,), from the policies of all chunks or from samples.

    A node's share is that of the actions that it stands for. A replica without a sample takes the policies' expectation.
    counted: the samples of each chunk; None for the policies.
    """
    width = max(chunk.probs.shape[1] for chunk in chunks)

    def table(parts: Sequence[np.ndarray], padding: float) -> np.ndarray:
        """All units' points, (R, contexts, width), with room at the end."""
        out = np.full((len(context_weight), width), padding)
        start = 0
        for part in parts:
            out[start : start + len(part), : part.shape[1]] = part
            start += len(part)
        return out.reshape(replicas, -1, width)

    d, start, share, seen = context_weight, 0, [], []
    for index, chunk in enumerate(chunks):
        own = d[start : start + len(chunk.probs), None]
        share.append(own * whole_weight(chunk.weight, chunk.count, chunk.probs.shape[1]) * chunk.old_probs)
        if counted is not None:
            at, count = counted[index]
            drawn = np.zeros(chunk.probs.shape)
            drawn[at] = count
            seen.append(own * drawn)
        start += len(own)
    whole = table(share, 0.0)
    if counted is not None:
        drawn = table(seen, 0.0)
        whole = np.where(np.sum(drawn, axis=(1, 2), keepdims=True) > 0, drawn, whole)
    whole /= np.sum(whole, axis=(1, 2), keepdims=True)
    log_probs = table([c.log_probs for c in chunks], PADDING)
    probs, old_probs = (table(x, 0.0) for x in ([c.probs for c in chunks], [c.old_probs for c in chunks]))
    now, old = (np.concatenate([entropies(c, old=o) for c in chunks]).reshape(replicas, -1, 1) for o in (False, True))
    numbers = objective.statistics(View(ratio_of(probs, old_probs), old_probs, log_probs, now, old), whole)
    return {name: np.repeat(value, len(d) // replicas) for name, value in numbers.items()}
