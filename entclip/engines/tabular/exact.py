"""The exact engine: every outcome of every minibatch with its probability, in float64. The oracle of all other engines.

A unit is a branch: one context after one history of outcomes, weighted by its probability. Branches that reached the same
policy are merged. Expectations are exact to rounding, so there are no standard errors.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from entclip.engines.base import Directive, Minibatch
from entclip.engines.minibatches import entry_of, take_moments
from entclip.engines.outcomes import enumerate_all
from entclip.engines.samples import Sums
from entclip.engines.tabular.facts import EXACT, MAX_OUTCOMES
from entclip.engines.tabular.table import TabularBooks, TabularRollout, TabularState, begin, begin_rollout, update_block
from entclip.experiments.experiment import Experiment
from entclip.ledger.entry import Entry
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError

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
        sums, law = enumerate_all(state.experiment, rollout.old_sequence_probs)
        units, outcomes = len(state.log_probs), law.shape[1]
        if units * outcomes > MAX_OUTCOMES:
            raise SpecError(
                f"the exact engine would follow {units * outcomes:,} branches, over its limit of {MAX_OUTCOMES:,}: "
                "use fewer actions, a smaller batch or fewer minibatches, or the sampled engine."
            )
        parent, outcome = np.repeat(np.arange(units), outcomes), np.tile(np.arange(outcomes), units)
        origin = state.origin[parent]
        flat = Sums(*(np.broadcast_to(x, (len(law), *x.shape[1:]))[origin, outcome] for x in sums))
        branched = _take(state, parent, state.weight[parent] * law[origin, outcome])
        wide = dataclasses.replace(
            rollout,
            old_sequence_probs=rollout.old_sequence_probs[origin],
            moments=take_moments(rollout.moments, origin),
        )
        new, columns = update_block(branched, wide, minibatch, flat, slice(None), directive)
        entry = entry_of(branched, minibatch, columns, drawn=self.facts.drawn)
        return _merged(dataclasses.replace(branched, log_probs=new)), entry


def _take(state: TabularState, rows: np.ndarray, weight: np.ndarray) -> TabularState:
    """The given units with new weights."""
    return dataclasses.replace(
        state,
        log_probs=state.log_probs[rows],
        old_log_probs=state.old_log_probs[rows],
        context=state.context[rows],
        replica=state.replica[rows],
        context_weight=state.context_weight[rows],
        origin=state.origin[rows],
        visits=None if state.visits is None else state.visits[rows],
        weight=weight,
    )


def _merged(state: TabularState) -> TabularState:
    """Branches of one context and one rollout start that reached the same policy, up to rounding, become one."""
    flat = np.round(state.log_probs.reshape(len(state.log_probs), -1), 12)
    key = np.column_stack([state.context, state.origin, flat])
    _, first, index = np.unique(key, axis=0, return_index=True, return_inverse=True)
    return _take(state, first, np.bincount(index.reshape(-1), weights=state.weight))
