"""What the reduced engine carries from update to update, and what a rollout fixes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.engines.base import Rollout, State
from entclip.engines.reduced.chunk import Chunk, Population
from entclip.engines.reduced.initial_laws import Buckets
from entclip.engines.reduced.sampling import Sampler
from entclip.engines.reduced.sight import Sight
from entclip.engines.samples import Samples
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["ReducedRollout", "ReducedState", "places", "sight_of"]

CHUNK = 64  # units: part of the key of every stream


@dataclass(kw_only=True)
class ReducedState(State):
    """Chunks of units, and the number of updates taken."""

    population: Population
    buckets: Buckets
    chunks: tuple[Chunk, ...]
    taken: int = 0


@dataclass(frozen=True, kw_only=True)
class ReducedRollout(Rollout):
    """Samplers of pi_old by chunk, the advantages' moments and mean rewards, and all samples if they are drawn at once."""

    samplers: tuple[Sampler, ...]
    moments: AdvantageMoments
    mean: np.ndarray | float
    slots: Samples | None = None
    old_entropy: np.ndarray | None = None  # of each unit, (U,), where the objective needs it
    rare_variance: np.ndarray | None = None  # of the curvature of a natural step from rare samples, at its start, (U,)


def places(state: ReducedState) -> list[tuple[slice, int, bool]]:
    """Return the units of each chunk, its key, and whether its rewards are mirrored."""
    units = len(state.weight)
    half = units // 2 if state.experiment.antithetic else units
    first = [(slice(a, min(a + CHUNK, half)), a // CHUNK, False) for a in range(0, half, CHUNK)]
    return first + [(slice(s.start + half, s.stop + half), k, True) for s, k, _ in first if half < units]


def sight_of(state: ReducedState, rollout: ReducedRollout) -> Sight:
    """Return what the objective sees of all units beside their points."""
    return Sight(old_entropy=rollout.old_entropy, statistics=state.statistics)
