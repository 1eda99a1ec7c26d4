"""Facts of the sampled and the exact engine."""

from __future__ import annotations

import math

import numpy as np

from entclip.engines.facts import TABLES, EngineFacts, updates_of
from entclip.experiments.experiment import Experiment
from entclip.experiments.shape import shape_of
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import TableReward
from entclip.support.foresight import Size
from entclip.support.random import chunk_size

__all__ = ["EXACT", "MAX_OUTCOMES", "SAMPLED", "multisets"]

MAX_OUTCOMES = 1_000_000
_SERVES = frozenset(
    {"entropy", "statistics", "reference", "penalty", "survival", "bonus", "levels", "advantage", "sequence", "prefixes"}
)
_TEMPORARIES = 60  # arrays of a chunk that live at the same time
_ELEMENT, _SAMPLE = 1e-6, 1e-7  # seconds for an action of a unit in an update, for a sample drawn one by one


def _sampled(experiment: Experiment, device: str, dtype: str) -> Size:
    shape, u = shape_of(experiment), experiment.update
    actions, row = shape.outcomes, shape.prefixes * shape.vocab
    units = experiment.replicas * shape.contexts
    chunk = min(units, chunk_size(actions))
    singly = experiment.reward.levels is None or not isinstance(experiment.advantage, Independent)
    held = {
        f"3 tables of {units:,} units x {row:,} actions": 8.0 * units * (3 * row + shape.sequences),
        f"the policies of {shape.contexts:,} contexts x {row:,} actions": 8.0 * 4 * shape.contexts * row,
        f"{_TEMPORARIES} arrays of {chunk:,} units x {actions:,} actions": 8.0 * _TEMPORARIES * chunk * max(actions, row),
        f"{chunk:,} units x {u.batch:,} samples of a minibatch": 8.0 * 5 * chunk * u.batch * singly,
    }
    held |= rewards_held(experiment, units, actions)
    if u.minibatch == "shuffled":
        held |= {f"{units:,} units x {u.batch * u.minibatches:,} samples of a rollout": 16.0 * units * u.batch * u.minibatches}
    updates = updates_of(experiment)
    seconds = updates * units * (_ELEMENT * (row + shape.sequences) + _SAMPLE * u.batch * singly) / 2
    work = f"{updates:,} updates of {units:,} units x {row:,} actions"
    return Size(held, seconds, f"{work}, {u.batch:,} samples each" if singly else work)


def rewards_held(experiment: Experiment, units: int, actions: int) -> dict[str, float]:
    """Return what a table of rewards makes every engine hold: which action has which of its distinct values."""
    reward = experiment.reward
    if not isinstance(reward, TableReward):
        return {}
    levels = len(np.unique(reward.values))
    return {f"{levels:,} distinct rewards x {actions:,} actions": 8.0 * 3 * levels * actions + 8.0 * 8 * units * levels}


def multisets(kinds: int, size: int) -> float:
    """Count the multisets of a size of so many kinds, C(size + kinds - 1, size); infinite beyond float64."""
    value = math.lgamma(size + kinds) - math.lgamma(size + 1) - math.lgamma(kinds)
    return math.exp(value) if value < 700 else math.inf


def _exact(experiment: Experiment, device: str, dtype: str) -> Size:
    shape, u = shape_of(experiment), experiment.update
    actions, row = shape.outcomes, shape.prefixes * shape.vocab
    count = multisets(2 * actions, u.batch)
    outcomes = count if count <= MAX_OUTCOMES else 1.0  # beyond its limit the engine says so itself, at once
    held = {
        f"the policies of {shape.contexts:,} contexts x {row:,} actions": 8.0 * 6 * shape.contexts * row,
        f"{outcomes:,.0f} outcomes x {2 * actions:,} actions and rewards": 8.0 * 6 * outcomes * 2 * actions,
    } | rewards_held(experiment, shape.contexts, actions)
    updates = updates_of(experiment)
    seconds = updates * _ELEMENT * min(shape.contexts * outcomes, MAX_OUTCOMES) * row
    return Size(held, seconds, f"{updates:,} updates of {outcomes:,.0f} outcomes in {shape.contexts:,} contexts")


SAMPLED = EngineFacts(
    name="sampled",
    short="Monte Carlo",
    words="simulated by drawing samples",
    policies=(*TABLES, "autoregressive"),
    serves=_SERVES,
    size=_sampled,
)
EXACT = EngineFacts(
    name="exact",
    short="every outcome",
    words="computed from every possible outcome with its probability, so that there is no sampling error",
    policies=(*TABLES, "autoregressive"),
    serves=_SERVES,
    drawn=False,
    size=_exact,
)
