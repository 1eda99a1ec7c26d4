"""What an engine is: start, roll out, step, observe, and pack for a checkpoint. The loop in runner.py needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

import numpy as np

from entclip.engines.facts import EngineFacts
from entclip.engines.registry import ENGINES
from entclip.engines.samples import Samples, Sums
from entclip.experiments.experiment import Experiment
from entclip.ledger.entry import Entry
from entclip.objectives.base import Keep, Objective
from entclip.support.errors import SpecError

__all__ = ["Directive", "Engine", "Minibatch", "Rollout", "State", "refuse_optimizer"]


@dataclass(kw_only=True)
class State:
    """What every engine's state has: the arm, and its units (replica x context, or weighted branches), each array (U,)."""

    experiment: Experiment
    objective: Objective
    context: np.ndarray
    replica: np.ndarray
    weight: np.ndarray  # d(s) x branch probability, mean over replicas; sums to the number of contexts
    context_weight: np.ndarray  # d(s)
    rollout: int = 0
    shared: bool = False  # contexts depend on each other: only replicas are independent, and standard errors run over them
    statistics: dict[str, np.ndarray] = field(default_factory=dict)  # the objective's, of this update by name, (U,)

    @property
    def length(self) -> int:
        """Return the number of tokens of a sequence."""
        return 1


@dataclass(frozen=True)
class Minibatch:
    """One minibatch of a rollout; with `sums` or `samples` it is injected, otherwise the engine draws it when it is used."""

    inner_step: int
    epoch: int
    index: int
    fresh: bool  # its samples are independent of the path so far, so that T5 and T8 are the conditional expectation
    sums: Sums | None = None
    samples: Samples | None = None


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What stays fixed for a rollout; engines add pi_old and what they draw from."""

    minibatches: tuple[Minibatch, ...]

    def __iter__(self) -> Iterator[Minibatch]:
        return iter(self.minibatches)


@dataclass(frozen=True)
class Directive:
    """What a control run does in one update: survival probabilities of a random drop, or a target for
    E Var_pi(step), which the engine turns into a learning rate."""

    keep: Keep | None = None
    step_variance: float | None = None
    learning_rate: float | None = None


S = TypeVar("S", bound=State)
R = TypeVar("R", bound=Rollout)


class Engine(Protocol[S, R]):
    """Functions of a state passed in and out; the only randomness is keyed by the experiment's seed."""

    facts: EngineFacts

    def start(self, experiment: Experiment, objective: Objective) -> S:
        """Return the state before the first update; SpecError for what the engine cannot run."""
        ...

    def roll_out(self, state: S) -> tuple[S, R]:
        """Set pi_old := pi and return the minibatches of a rollout."""
        ...

    def step(self, state: S, rollout: R, minibatch: Minibatch, directive: Directive) -> tuple[S, Entry | None]:
        """Make one update and return its columns; None for an update that ledger.every leaves out."""
        ...

    def observe(self, state: S) -> dict[str, np.ndarray]:
        """Return `entropy` per token (visits frozen at pi_old) and `sequence_entropy`, each (U,), nats; more where an engine
        has it."""
        ...

    def pack(self, state: S) -> dict[str, np.ndarray]:
        """Return the arrays that a state between two rollouts consists of."""
        ...

    def unpack(self, state: S, arrays: Mapping[str, np.ndarray]) -> S:
        """Return the state that `pack` stored, from the starting state; bit for bit."""
        ...


def refuse_optimizer(facts: EngineFacts, experiment: Experiment) -> None:
    """Raise SpecError if the experiment asks for an optimiser that the engine does not have.

    A policy that the engine does not run is refused where it is read, in words that say which engine does.
    """
    optimizer = experiment.update.optimizer
    if optimizer not in facts.optimizers and experiment.policy.kind in facts.policies:
        others = [f.name for f in ENGINES.values() if optimizer in f.optimizers]
        raise SpecError(
            f"update.optimizer = {optimizer!r}: the {facts.name} engine takes plain steps only, {' or '.join(facts.optimizers)}; "
            f"the engines {', '.join(others)} have it."
        )
