"""The sampled engine: replicas of bandit, tabular and autoregressive policies in numpy, multinomial counts per context.

Units are replica x context, processed in chunks (random.py): a chunk is the block that bounds memory, the unit of the random
streams, and small enough for the processor's cache. Antithetic replicas are the second half of the units: partner i + R/2
repeats the streams of replica i with mirrored rewards.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from entclip.engines.base import Directive, Minibatch
from entclip.engines.minibatches import entry_of
from entclip.engines.samples import Sums, draw_levels, draw_sums, shuffled_slots, sums_of_slots
from entclip.engines.statistics import after_update, before_update
from entclip.engines.tabular.facts import SAMPLED
from entclip.engines.tabular.table import (
    TabularBooks,
    TabularRollout,
    TabularState,
    begin,
    begin_rollout,
    matched_rate,
    rare_variance,
    statistics_of,
    survival_of,
    update_block,
)
from entclip.experiments.experiment import Experiment
from entclip.ledger.entry import Entry
from entclip.objectives.base import Keep, Objective
from entclip.objectives.drop import both_survived
from entclip.support.errors import SpecError
from entclip.support.progress import followed
from entclip.support.random import chunk_size, stream

__all__ = ["SampledEngine"]

_MAX_SLOT_BYTES = 4 * 2**30


class SampledEngine(TabularBooks):
    """Monte Carlo with standard errors over units; cost per update: units x V plus the sampling."""

    facts = SAMPLED

    def start(self, experiment: Experiment, objective: Objective) -> TabularState:
        return begin(self.facts, experiment, objective, experiment.replicas)

    def roll_out(self, state: TabularState) -> tuple[TabularState, TabularRollout]:
        perturbed = state.experiment.perturbation is not None
        state, rollout = begin_rollout(state, keep_old=perturbed)
        if state.experiment.update.minibatch == "shuffled":
            rollout = dataclasses.replace(rollout, slots=self._shuffled(state, rollout))
        fresh = any(minibatch.fresh for minibatch in rollout) and state.objective.source != "batch"
        if state.experiment.update.geometry == "natural" and fresh:
            started = before_update(state, lambda _: statistics_of(state, None))
            chunks = (rows for rows, _, _ in self._chunks(state, rollout.old_sequence_probs.shape[-1]))
            rollout = dataclasses.replace(rollout, rare_variance=rare_variance(started, rollout, chunks))
        return state, rollout

    def _chunks(self, state: TabularState, actions: int) -> list[tuple[slice, int, bool]]:
        """Units of each chunk, its key, and whether its rewards are mirrored."""
        units, size = len(state.log_probs), chunk_size(actions)
        half = units // 2 if state.experiment.antithetic else units
        first = [(slice(a, min(a + size, half)), a // size, False) for a in range(0, half, size)]
        return first + [(slice(s.start + half, s.stop + half), k, True) for s, k, _ in first if half < units]

    def _shuffled(self, state: TabularState, rollout: TabularRollout) -> tuple[np.ndarray, np.ndarray]:
        spec, probs = state.experiment.update, rollout.old_sequence_probs
        shape = (len(probs), spec.batch * spec.minibatches)
        if shape[0] * shape[1] * 16 > _MAX_SLOT_BYTES:
            raise SpecError(
                f'update.minibatch = "shuffled" keeps all {shape[0]} x {shape[1]} samples of a rollout, over 4 GiB: use fewer '
                'contexts, replicas or samples, or update.minibatch = "groups", which stores none.'
            )
        actions, values = np.empty(shape, dtype=np.int64), np.empty(shape)
        for rows, key, mirror in followed(self._chunks(state, probs.shape[-1]), "the samples of a rollout"):
            rngs = tuple(stream(state.experiment.seed, p, state.rollout, key) for p in ("actions", "rewards", "order"))
            actions[rows], values[rows] = shuffled_slots(state.experiment, probs[rows], rngs, mirror=mirror)  # type: ignore[arg-type]
        return actions, values

    def _sums(
        self,
        state: TabularState,
        rollout: TabularRollout,
        minibatch: Minibatch,
        rows: slice,
        key: int,
        mirror: bool,
        keep: Keep | None,
    ) -> Sums:
        if minibatch.sums is not None:
            return minibatch.sums.map(lambda x: x[rows])
        if minibatch.samples is not None:
            taken, advantages = (x[rows] for x in minibatch.samples)
            return sums_of_slots(taken, advantages, rollout.old_sequence_probs.shape[-1])
        experiment, probs = state.experiment, rollout.old_sequence_probs[rows]
        where = (state.rollout, minibatch.index, key)
        drop = None if keep is None else (keep, stream(experiment.seed, "drop", *where))
        batch, slots = experiment.update.batch, None
        if rollout.slots is not None:
            part = slice(minibatch.index * batch, (minibatch.index + 1) * batch)
            actions, values = (x[rows, part] for x in rollout.slots)
            if state.levels is None:
                return sums_of_slots(actions, values, probs.shape[-1], drop)
            slots = (actions, values)
        rngs = stream(experiment.seed, "actions", *where), stream(experiment.seed, "rewards", *where)
        if state.levels is not None:
            return draw_levels(experiment, probs, state.levels.take(rows), slots, rngs, mirror=mirror, keep=drop)
        return draw_sums(experiment, probs, batch, *rngs, mirror=mirror, keep=drop)

    def step(
        self, state: TabularState, rollout: TabularRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[TabularState, Entry]:
        new = np.empty_like(state.log_probs)
        columns: dict[str, np.ndarray] = {}
        chunks = self._chunks(state, rollout.old_sequence_probs.shape[-1])

        def made(samples: bool) -> dict[str, np.ndarray]:
            if not samples:
                return statistics_of(state, None)
            drawn = [self._sums(state, rollout, minibatch, *chunk, directive.keep) for chunk in chunks]  # the same as below
            order = np.argsort(np.concatenate([np.arange(len(new))[rows] for rows, _, _ in chunks]))
            return statistics_of(state, _joined(drawn, order))

        state = before_update(state, made)
        if directive.step_variance is not None:
            rate = matched_rate(state, rollout, directive.step_variance, (rows for rows, _, _ in chunks))
            directive = dataclasses.replace(directive, learning_rate=rate)
        for rows, key, mirror in followed(chunks, "an update", part=True):
            keep = both_survived(survival_of(state, rows), directive.keep)
            sums = self._sums(state, rollout, minibatch, rows, key, mirror, keep)
            new[rows], part = update_block(state, rollout, minibatch, sums, rows, directive)
            for name, value in part.items():
                columns.setdefault(name, np.empty(len(new)))[rows] = value
        entry = entry_of(state, minibatch, columns, drawn=self.facts.drawn)
        return dataclasses.replace(after_update(state, made), log_probs=new), entry


def _joined(parts: list[Sums], order: np.ndarray) -> Sums:
    """Sums of chunks as those of all units, in the order of the units."""
    columns = [None if x[0] is None else np.concatenate(x)[order] for x in zip(*parts, strict=True)]
    return Sums(*columns)  # type: ignore[arg-type]
