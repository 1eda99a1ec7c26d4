"""When an engine makes the statistics that an objective looks at, and how they are carried from one update to the next.

An objective says what they are made of (`Objective.source`): the policies or the samples of the minibatch before, both known
before an update draws its samples, or the update's own samples.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from entclip.engines.base import State

__all__ = ["after_update", "before_update", "pack_statistics", "unpack_statistics"]

S = TypeVar("S", bound=State)
Made = Callable[[bool], dict[str, np.ndarray]]  # from this update's samples, or from the policies; of each unit, (U,)
_MARK = "statistic_"


def before_update(state: S, made: Made, *, drawn: bool = True) -> S:
    """Return the state with the statistics of the update to come; drawn: whether its samples are known already."""
    source = state.objective.source
    if "statistics" not in state.objective.needs or (source == "previous" and state.statistics):
        return state
    if source == "batch" and not drawn:
        return state
    return dataclasses.replace(state, statistics=made(source == "batch"))


def after_update(state: S, made: Made) -> S:
    """Return the state, before its policies move, with what the next update needs of this one's samples."""
    return dataclasses.replace(state, statistics=made(True)) if state.objective.source == "previous" else state


def pack_statistics(state: State) -> dict[str, np.ndarray]:
    """Return what a checkpoint must hold of them."""
    kept = state.statistics if state.objective.source == "previous" else {}
    return {f"{_MARK}{name}": value for name, value in kept.items()}


def unpack_statistics(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return them from the arrays of a checkpoint."""
    return {name.removeprefix(_MARK): value for name, value in arrays.items() if name.startswith(_MARK)}
