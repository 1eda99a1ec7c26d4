"""What an engine is: start, roll out, step, observe. The loop in run.py needs nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from entclip.advantage import AdvantageMoments
from entclip.objective import Objective
from entclip.prefix_tree import PrefixTree
from entclip.rollout import Keep, Sums
from entclip.spec import Experiment

__all__ = ["Directive", "Engine", "Entry", "Minibatch", "Rollout", "State"]


@dataclass
class State:
    """Units (replica x context, or weighted branches) of one arm: log pi and log pi_old (U, N, V), N prefixes."""

    experiment: Experiment
    objective: Objective
    tree: PrefixTree
    log_probs: np.ndarray
    old_log_probs: np.ndarray
    context: np.ndarray
    replica: np.ndarray
    weight: np.ndarray  # d(s) x branch probability, mean over replicas; sums to the number of contexts
    context_weight: np.ndarray  # d(s)
    origin: np.ndarray  # row of each unit in the arrays of its rollout: branches share their parent's
    rollout: int = 0
    entropy_at_rollout: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class Minibatch:
    """One minibatch of a rollout; `sums` when injected, otherwise drawn or enumerated by the engine when it is used."""

    inner_step: int
    epoch: int
    index: int
    fresh: bool  # its samples are independent of the path so far, so that T5 and T8 are the conditional expectation
    sums: Sums | None = None


@dataclass(frozen=True)
class Rollout:
    """What stays fixed for a rollout: pi_old of whole sequences (U, A), visits d(s) (U, N), moments per unit, minibatches."""

    old_sequence_probs: np.ndarray
    visits: np.ndarray | None
    moments: AdvantageMoments
    slots: tuple[np.ndarray, np.ndarray] | None
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


@dataclass(frozen=True)
class Entry:
    """Columns of one update, each (U,), with the weights of the units and what identifies them."""

    inner_step: int
    rollout: int
    columns: dict[str, np.ndarray]
    weight: np.ndarray
    context: np.ndarray
    replica: np.ndarray
    samples: int
    fresh: bool
    drawn: bool  # True: units are independent draws with standard errors; False: weights are exact probabilities


class Engine(Protocol):
    """Functions of a state passed in and out; the only randomness is keyed by the experiment's seed."""

    name: str
    drawn: bool

    def start(self, experiment: Experiment, objective: Objective) -> State: ...

    def roll_out(self, state: State) -> tuple[State, Rollout]: ...

    def step(self, state: State, rollout: Rollout, minibatch: Minibatch, directive: Directive) -> tuple[State, Entry]: ...

    def observe(self, state: State) -> dict[str, Any]: ...
