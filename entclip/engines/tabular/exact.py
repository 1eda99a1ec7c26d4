"""The exact engine: every outcome of every minibatch with its probability, in float64. The oracle of all other engines.

A unit is a branch: one context after one history of outcomes, weighted by its probability; contexts that a statistic of the
objective joins branch together. Branches that reached the same policies are merged. Expectations are exact to rounding, so there
are no standard errors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from entclip.engines.base import Directive, Minibatch
from entclip.engines.minibatches import entry_of, take_moments
from entclip.engines.outcomes import enumerate_all
from entclip.engines.samples import Sums
from entclip.engines.statistics import after_update, before_update
from entclip.engines.tabular.branches import MAX_OUTCOMES, updated_together
from entclip.engines.tabular.facts import EXACT
from entclip.engines.tabular.table import (
    TabularBooks,
    TabularRollout,
    TabularState,
    begin,
    begin_rollout,
    statistics_of,
    survival_of,
    update_block,
)
from entclip.experiments.experiment import Experiment
from entclip.ledger.entry import Entry
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError
from entclip.support.progress import followed

__all__ = ["ExactEngine"]


class ExactEngine(TabularBooks):
    """Full enumeration; refuses continuous rewards and more than a million outcomes."""

    facts = EXACT

    def start(self, experiment: Experiment, objective: Objective) -> TabularState:
        spec = experiment.update
        if spec.epochs > 1 or spec.minibatch == "shuffled":
            raise SpecError(
                f"the exact engine lists fresh minibatches of whole groups, but update.epochs = {spec.epochs} and "
                f'update.minibatch = {spec.minibatch!r}: use epochs = 1 and "groups", or the sampled engine.'
            )
        if experiment.reward.levels is None:
            raise SpecError(
                f"the exact engine lists reward values, but reward.kind = {experiment.reward.kind!r} is continuous: "
                "use bernoulli, rademacher or table, or the sampled engine."
            )
        return begin(self.facts, experiment, objective, replicas=1)

    def roll_out(self, state: TabularState) -> tuple[TabularState, TabularRollout]:
        return begin_rollout(state, keep_old=state.experiment.perturbation is not None)

    def step(
        self, state: TabularState, rollout: TabularRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[TabularState, Entry]:
        if directive != Directive():
            raise SpecError("controls compare sampled arms with each other: run this experiment on the sampled engine.")
        state = before_update(state, lambda _: statistics_of(state, None), drawn=False)
        rows = np.arange(len(rollout.old_sequence_probs))  # of outcomes: those of the branches that share their start
        own, keep = state.origin, survival_of(state, slice(None))
        if keep is not None:  # which depends on where a branch has come
            rows, own = state.origin, np.arange(len(state.origin))
        values = None if rollout.levels is None else rollout.levels.take(rows)
        sums, law = enumerate_all(state.experiment, rollout.old_sequence_probs[rows], keep, values)
        size = _joint(state)
        parent, outcome, chance = _branches(law, own, size)
        branched = _take(state, parent, state.weight[parent] * chance, size)

        def drawn(units: slice) -> Sums:
            """The samples of some of the branches' units."""
            whose, which = own[parent[units]], outcome[units]
            return sums.map(lambda x: np.broadcast_to(x, (len(law), *x.shape[1:]))[whose, which])

        def made(samples: bool) -> dict[str, np.ndarray]:
            return statistics_of(branched, drawn(slice(None)))

        if state.objective.source == "batch":
            branched = before_update(branched, made)
        new = np.empty_like(branched.log_probs)
        columns: dict[str, np.ndarray] = {}
        blocks = _blocks(len(new), size, rollout.old_sequence_probs.shape[1], new[0].size)
        for block in followed(blocks, "an update", part=True):
            part = _take(branched, np.arange(len(new))[block], branched.weight[block], size)
            begun = dataclasses.replace(
                rollout,
                moments=take_moments(rollout.moments, part.origin),
                old_sequence_probs=rollout.old_sequence_probs[part.origin],
            )
            new[block], found = update_block(part, begun, minibatch, drawn(block), slice(None), directive)
            for name, value in found.items():
                columns.setdefault(name, np.empty(len(new)))[block] = value
        entry = entry_of(branched, minibatch, columns, drawn=self.facts.drawn)
        return _merged(dataclasses.replace(after_update(branched, made), log_probs=new), size), entry


def _joint(state: TabularState) -> int:
    """How many contexts branch together: all of them where a statistic of the objective joins them, else each by itself."""
    return len(np.unique(state.context)) if state.shared else 1


def _blocks(units: int, size: int, actions: int, row: int) -> list[slice]:
    """Units that are updated together, whole branches: what an update makes on its way is then held for few at a time."""
    step = size * max(1, updated_together(max(actions, row)) // size)
    return [slice(a, min(a + step, units)) for a in range(0, units, step)]


def _branches(law: np.ndarray, own: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parent unit, outcome and probability of every branch's units, from outcomes' laws (R, O) and each unit's row of them.

    Blocks of `size` units draw independently and branch jointly: a branch is one outcome for each of them.
    """
    blocks, outcomes = len(own) // size, law.shape[1]
    joint = outcomes**size
    if len(own) * joint > MAX_OUTCOMES:  # before the law of each unit is made, which is as large
        raise SpecError(
            f"the exact engine would follow {len(own) * joint:,} branches, over its limit of {MAX_OUTCOMES:,}: "
            "use fewer actions, a smaller batch or fewer minibatches, or the sampled engine."
        )
    law = law[own]
    each = np.indices((outcomes,) * size).reshape(size, joint).T  # (joint, size)
    unit = np.arange(blocks * size).reshape(blocks, 1, size)
    parent, outcome = (np.broadcast_to(x, (blocks, joint, size)) for x in (unit, each))
    chance = np.broadcast_to(np.prod(law[parent, outcome], axis=2, keepdims=True), parent.shape)
    return parent.reshape(-1), outcome.reshape(-1), chance.reshape(-1)


def _take(state: TabularState, rows: np.ndarray, weight: np.ndarray, size: int) -> TabularState:
    """The given units with new weights, in branches of `size` units."""
    branch = np.repeat(np.arange(len(rows) // size), size)
    return dataclasses.replace(
        state,
        log_probs=state.log_probs[rows],
        old_log_probs=state.old_log_probs[rows],
        context=state.context[rows],
        replica=branch if state.shared else state.replica[rows],
        context_weight=state.context_weight[rows],
        origin=state.origin[rows],
        visits=None if state.visits is None else state.visits[rows],
        statistics={name: value[rows] for name, value in state.statistics.items()},
        weight=weight,
    )


def _merged(state: TabularState, size: int) -> TabularState:
    """Branches of one rollout start whose `size` contexts reached the same policies, up to rounding, become one."""
    memory = state.statistics.values() if state.objective.source == "previous" else ()
    flat = np.round(np.column_stack([*memory, state.log_probs.reshape(len(state.log_probs), -1)]), 12)
    key = np.column_stack([state.context, state.origin, flat]).reshape(len(flat) // size, -1)
    _, first, index = np.unique(key, axis=0, return_index=True, return_inverse=True)
    weight = [np.bincount(index.reshape(-1), weights=state.weight[own::size]) for own in range(size)]
    return _take(state, (first[:, None] * size + np.arange(size)).reshape(-1), np.stack(weight, axis=1).reshape(-1), size)
