"""Facts of the sampled and the exact engine."""

from __future__ import annotations

import numpy as np

from entclip.engines.facts import TABLES, EngineFacts, updates_of
from entclip.engines.tabular.branches import MAX_OUTCOMES, branches_of, outcomes_of, updated_together
from entclip.experiments.experiment import Experiment
from entclip.experiments.shape import shape_of
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import TableReward
from entclip.support.foresight import Size
from entclip.support.random import chunk_size

__all__ = ["EXACT", "SAMPLED"]

_SERVES = frozenset(
    {"entropy", "statistics", "reference", "penalty", "survival", "bonus", "levels", "advantage", "sequence", "prefixes"}
)
_TEMPORARIES = 60  # arrays of a chunk that live at the same time
_ELEMENT, _SAMPLE = 1e-6, 1e-7  # seconds for an action of a unit in an update, for a sample drawn one by one
_BRANCHED = 3e-6  # seconds for an action of a branch in an update
_BRANCH, _ROWS = 80, 9  # numbers and tables of its policy that are held of a branch, its columns included
_STEPS = 8  # tables of prefixes x tokens that each value of the reward makes
_MADE, _PAIRS = 40, 20  # arrays that an update of some branches makes on its way, and tables by the rewards of two samples


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
    held |= rewards_held(experiment, units, actions, row)
    if u.minibatch == "shuffled":
        held |= {f"{units:,} units x {u.batch * u.minibatches:,} samples of a rollout": 16.0 * units * u.batch * u.minibatches}
    updates = updates_of(experiment)
    seconds = updates * units * (_ELEMENT * (row + shape.sequences) + _SAMPLE * u.batch * singly) / 2
    work = f"{updates:,} updates of {units:,} units x {row:,} actions"
    return Size(held, seconds, f"{work}, {u.batch:,} samples each" if singly else work)


def rewards_held(experiment: Experiment, units: int, actions: int, row: int = 0) -> dict[str, float]:
    """Return what a table of rewards makes every engine hold: which action has which of its distinct values.

    row: prefixes x tokens of sequences, of which some units' mean steps are held for each value where groups compare them.
    """
    reward = experiment.reward
    if not isinstance(reward, TableReward):
        return {}
    levels = len(np.unique(reward.values))
    grouped = experiment.policy.kind == "autoregressive" and not isinstance(experiment.advantage, Independent)
    some = min(units, chunk_size(max(actions, row)))
    steps = {f"mean steps of {some:,} units at {levels:,} rewards": 8.0 * _STEPS * levels * some * row} if grouped else {}
    return steps | {f"{levels:,} distinct rewards x {actions:,} actions": 8.0 * 3 * levels * actions + 8.0 * 8 * units * levels}


def _exact(experiment: Experiment, device: str, dtype: str) -> Size:
    """An upper bound of the memory: branches that will turn out to have reached the same policies are counted apart."""
    shape, u = shape_of(experiment), experiment.update
    actions, row = shape.outcomes, shape.prefixes * shape.vocab
    objectives = [arm.build() for arm in experiment.arm]
    needs = frozenset().union(*(objective.needs for objective in objectives))
    listed = outcomes_of(experiment, actions, drops="survival" in needs)
    steps = u.rollouts * u.minibatches
    branches = branches_of(listed.outcomes, shape.contexts, steps, joint="statistics" in needs)
    last = branches[-1]  # after the last update, and after all those that add none
    starts = branches[min(steps - u.minibatches, len(branches) - 1)]  # of the last rollout
    followed = sum(branches[1:]) + (steps + 1 - len(branches)) * last
    partial = min(listed.partial, MAX_OUTCOMES, 64 * MAX_OUTCOMES / starts)
    chunk = min(last, updated_together(max(actions, row)))
    each = _BRANCH + _ROWS * row
    if any(objective.source == "previous" for objective in objectives):  # the samples of all branches at once
        each += 4 * actions + 8 * row
    listing = {f"{partial:,.0f} partial outcomes x {listed.columns:,} sums": 8.0 * partial * (5 * listed.columns + 3 * starts)}
    branching = {
        f"up to {last:,.0f} branches x {row:,} actions": 8.0 * last * each,
        f"{_MADE} arrays of {chunk:,.0f} branches x {row:,} actions": 8.0 * _MADE * chunk * max(actions, row),
        f"{chunk:,.0f} branches x {listed.pairs:,} pairs of rewards": 8.0 * _PAIRS * chunk * listed.pairs,
    }
    held = {
        f"the policies of {shape.contexts:,} contexts x {row:,} actions": 8.0 * 6 * shape.contexts * row,
        **max(listing, branching, key=lambda stage: sum(stage.values())),  # one after the other
    } | rewards_held(experiment, shape.contexts, actions, row)
    updates = updates_of(experiment)
    seconds = _BRANCHED * (len(experiment.arm) * followed * row + updates * partial * listed.columns)
    return Size(held, seconds, f"{updates:,} updates of {listed.outcomes:,.0f} outcomes in {shape.contexts:,} contexts")


SAMPLED = EngineFacts(
    name="sampled",
    short="Monte Carlo",
    words="simulated by drawing samples",
    policies=(*TABLES, "autoregressive"),
    serves=_SERVES,
    single_tokens=frozenset({"survival", "levels"}),
    size=_sampled,
)
EXACT = EngineFacts(
    name="exact",
    short="every outcome",
    words="computed from every possible outcome with its probability, so that there is no sampling error",
    policies=(*TABLES, "autoregressive"),
    serves=_SERVES,
    single_tokens=frozenset({"survival", "levels"}),
    drawn=False,
    size=_exact,
)
