"""What a state's policies come to beside their entropy: expected reward, and how many actions can still be found by sampling."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from entclip.engines.base import State
from entclip.engines.reduced.chunk import Chunk
from entclip.engines.reduced.state import ReducedState
from entclip.engines.tabular.table import TabularState
from entclip.policies.answers import detectable
from entclip.rewards.reward import expected_reward
from entclip.support.means import weighted_mean

__all__ = ["REACHABLE", "Reach", "reach"]

REACHABLE = detectable()


class Reach(NamedTuple):
    """Of the policies of a state, means over units: expected reward (None where the action does not matter), and actions that
    are at least REACHABLE.

    rewards: those of independent units, whose mean is `reward`: contexts of replicas, or replicas where contexts are joined.
    """

    reward: float | None
    reachable: float
    rewards: np.ndarray | None = None


def reach(state: State) -> Reach | None:
    """Return the reach of a state; None of states whose engine lists no actions, and of sequences."""
    if isinstance(state, TabularState) and state.length == 1:
        log_probs = state.log_probs[:, 0]
        reachable = _mean(state, np.sum(log_probs >= math.log(REACHABLE), axis=1))
        value = expected_reward(state.experiment.reward, np.exp(log_probs))
        if value is None:
            return Reach(None, reachable)
        units = value * state.context_weight
        if state.shared:
            units = units.reshape(int(state.replica.max()) + 1, -1).mean(axis=1)
        return Reach(_mean(state, value), reachable, units)
    if isinstance(state, ReducedState):
        return Reach(None, _mean(state, np.concatenate([_reachable(chunk) for chunk in state.chunks])))
    return None


def _mean(state: State, values: np.ndarray) -> float:
    return float(weighted_mean(values, state.weight))


def _reachable(chunk: Chunk) -> np.ndarray:
    """Actions of each unit that can be found, (u,): tracked ones, and what the nodes stand for."""
    counted = np.concatenate([chunk.number, chunk.tracked], axis=1)
    return np.sum(counted * (chunk.log_probs >= math.log(REACHABLE)), axis=1)
