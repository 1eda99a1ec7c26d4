"""What every arm and replica of an experiment begins with: the starting policy, the probe contexts, and what it first says."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

from entclip.engines.llm.language import Language
from entclip.engines.llm.probe import Probe
from entclip.engines.llm.replica import FirstPass, Replica, make_optimizer
from entclip.engines.llm.respond import Sampled, sample
from entclip.engines.llm.task import Task
from entclip.experiments.experiment import Experiment

__all__ = ["Beginning"]


class Beginning:
    """The start that the arms of one experiment share.

    pi_old of the first rollout is the starting policy in every arm and under both signs of the rewards, so its responses and
    their log-probabilities are made once for each stream of random numbers. From the second rollout on, arms and signs have
    policies of their own and nothing is shared.
    """

    def __init__(self, experiment: Experiment, language: Language, probe: Probe) -> None:
        self.experiment, self.language, self.probe = experiment, language, probe
        self._said: dict[int, Sampled] = {}
        self._first: dict[int, dict[int, FirstPass]] = {}

    def replica(self, stream: int, mirror: bool, *, share: bool = False) -> Replica:
        """Return a copy of the starting policy, ready to be trained.

        share: compute the gradient of the first minibatch once for all replicas of the stream whose objectives weigh its tokens
        alike, as those that only clip do, since nothing is clipped there. One gradient is kept, as large as the weights.
        """
        own = dataclasses.replace(self.language, model=copy.deepcopy(self.language.model))
        optimizer = make_optimizer(self.experiment.update, own.model)
        carried: dict[str, list[Any]] | None = {} if self.experiment.ledger.momentum == "cause" else None
        first = self._first.setdefault(stream, {}) if share else None
        return Replica(own, optimizer, stream, mirror, self.probe, averages=carried, first=first)

    def knows(self, replica: Replica, rollout: int) -> bool:
        """Tell whether a rollout of this replica is at hand."""
        return rollout == 0 and replica.stream in self._said

    def forget(self) -> None:
        """Let go of what was said, where it will not be asked for again."""
        self._said.clear()
        self._first.clear()

    def said(self, replica: Replica, task: Task, rollout: int) -> Sampled:
        """Return what the replica's policy says in this rollout; a replica that has not been trained says what is known."""
        if rollout > 0:
            return sample(self.experiment, replica, task, rollout)
        if replica.stream not in self._said:
            old = next((known.old for known in self._said.values()), None)
            self._said[replica.stream] = sample(self.experiment, replica, task, 0, old)
        return self._said[replica.stream]
