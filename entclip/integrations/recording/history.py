"""What recorded runs booked, in order, and the one ledger that several runs of an arm make: each run is a replica."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from entclip.engines.base import State
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import Arm
from entclip.ledger.arm import ArmLedger
from entclip.ledger.entry import Entry
from entclip.support.errors import SpecError

__all__ = ["History", "pooled"]


@dataclass
class _Rollout:
    """Updates in order, None for one without a row; what was seen at the two ends, empty while the rollout goes on."""

    updates: list[Entry | None] = field(default_factory=list)
    start: dict[str, float] = field(default_factory=dict)
    end: dict[str, float] = field(default_factory=dict)


@dataclass
class History:
    """Every rollout of a recorded run."""

    rollouts: list[_Rollout] = field(default_factory=list)

    def begin_rollout(self) -> None:
        """Open a rollout."""
        self.rollouts.append(_Rollout())

    def add(self, entry: Entry | None) -> None:
        """Add an update of the open rollout; None where it has no row."""
        self.rollouts[-1].updates.append(entry)

    def end_rollout(self, before: float, after: float, observed: Mapping[str, float]) -> None:
        """Close the rollout with the entropies at its ends and what else was seen of it."""
        last = self.rollouts[-1]
        last.start = {"entropy": before, "sequence_entropy": before}
        last.end = {"entropy": after, "sequence_entropy": after, **observed}


def pooled(runs: Sequence[History], experiment: Experiment, arm: Arm) -> ArmLedger:
    """Make the ledger of an arm from its runs, one for each replica, in their order.

    An update that has no row in one of them has none in the ledger. Raises: SpecError for a run that ended in NaN.
    """
    count, whole = len(runs), all(entry is not None for run in runs for rollout in run.rollouts for entry in rollout.updates)
    books = ArmLedger("", arm.name, experiment, gaps=not whole)
    ones = np.ones(count)
    context, replica, weight = np.zeros(count, dtype=np.int64), np.arange(count), ones / count
    for index, rollouts in enumerate(zip(*(run.rollouts for run in runs), strict=True)):
        state = State(
            experiment=experiment,
            objective=arm.build(),
            context=context,
            replica=replica,
            weight=weight,
            context_weight=ones,
            rollout=index,
        )
        for entries in zip(*(rollout.updates for rollout in rollouts), strict=True):
            found = [entry for entry in entries if entry is not None]
            if len(found) < count:
                books.skip()
                continue
            columns = {name: np.concatenate([entry.columns[name] for entry in found]) for name in found[0].columns}
            entry = dataclasses.replace(found[0], columns=columns, context=context, replica=replica, weight=weight)
            books.append(entry, state)
        broken = next((place for place, rollout in enumerate(rollouts) if not rollout.end), None)
        if broken is not None or not books.rows:
            raise SpecError(
                f"arm {arm.name}, replica {broken or 0}: rollout {index} ended in a model whose entropy is NaN, or had no update "
                "that could be accounted. Lower update.learning_rate."
            )
        start, end = (
            {name: np.array([getattr(r, side)[name] for r in rollouts]) for name in getattr(rollouts[0], side)}
            for side in ("start", "end")
        )
        books.end_rollout(state, start, end)
    return books
