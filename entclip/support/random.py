"""Random streams keyed by what they are for, so that the same draw is made whatever the order or the block size.

A stream belongs to (seed, purpose, rollout, minibatch, chunk); a chunk is a fixed range of units (replica x context) whose
length depends on the number of actions alone. Arms use equal keys: they share their random numbers as long as their old
policies agree. Minibatches are drawn when needed and can be drawn again, so an epoch over the same data stores nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

__all__ = ["Purpose", "chunk_size", "stream"]

Purpose = Literal["policy", "perturbation", "actions", "rewards", "order", "drop", "tasks", "probes", "survival"]
_PURPOSES: tuple[Purpose, ...] = ("policy", "perturbation", "actions", "rewards", "order", "drop", "tasks", "probes", "survival")
_CHUNK_ELEMENTS = 2**13


def stream(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """Return a generator of its own for this purpose and key."""
    sequence = np.random.SeedSequence(seed, spawn_key=(_PURPOSES.index(purpose), *key))
    return np.random.Generator(np.random.PCG64DXSM(sequence))


def chunk_size(actions: int) -> int:
    """Return units per chunk: as many as keep a units x actions block of float64 in a processor's cache. Part of every stream's
    key."""
    return max(1, _CHUNK_ELEMENTS // actions)
