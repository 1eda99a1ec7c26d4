"""THE contract of a controller: between rollouts it reads what happened and says which objective the next rollout has."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from entclip.objectives.base import Objective
from entclip.support.errors import SpecError

__all__ = ["Controller", "Memory", "Observed", "clamped", "parameter"]

Memory = dict[str, float]  # plain numbers by name: a checkpoint keeps them, and a resumed run goes on bit for bit


@dataclass(frozen=True)
class Observed:
    """What a controller sees after a rollout.

    Attributes:
        rollout, rollouts: the index of the rollout that has ended, and how many there are.
        entropy: mean entropy of the policies after it, nats.
        rows: the ledger's rows of its updates, means over contexts and replicas.
    """

    rollout: int
    rollouts: int
    entropy: float
    rows: Sequence[Mapping[str, Any]]


class Controller(ABC):
    """A controller: a frozen dataclass of its parameters with a `kind`, which names it in experiment files.

    What it remembers is passed in and out. All units of an arm have the same objective: a controller goes by their mean.
    """

    kind: str
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    moves: ClassVar[tuple[str, ...]] = ()  # parameters of the objective that it sets
    reads_causes: ClassVar[bool] = False  # it goes by the causes in the rows of a ledger, not by entropy and counts alone

    def aim(self, entropy: float) -> float:
        """Return the entropy to hold, nats: the controller's target, or where that is None the entropy at the start."""
        target: float | None = getattr(self, "target", None)
        return entropy if target is None else target

    @abstractmethod
    def start(self, base: Objective, entropy: float) -> Memory:
        """Return the memory before the first rollout, from the arm's own objective and the entropy at the start, nats."""

    @abstractmethod
    def update(self, memory: Memory, observed: Observed) -> Memory:
        """Return the memory after a rollout."""

    @abstractmethod
    def settings(self, memory: Memory) -> dict[str, float]:
        """Return the values of the parameters in `moves` for the next rollout."""

    def objective(self, base: Objective, memory: Memory) -> Objective:
        """Return the objective of the next rollout: the arm's own with the values that are in force."""
        return dataclasses.replace(base, **self.settings(memory))

    def example(self, base: Objective) -> Objective:
        """Return an objective of the kind that the run will have, for an engine to prepare for."""
        return base

    def columns(self, memory: Memory) -> dict[str, float]:
        """Return what is in force, by the ledger's columns; a width that is off (infinite) has none."""
        out = {_COLUMN.get(name, "strength"): value for name, value in self.settings(memory).items() if math.isfinite(value)}
        if "target" in memory:
            out["target_entropy"] = memory["target"]
        return out

    def refuse_unfit(self, base: Objective) -> None:
        """Raise SpecError for an objective that lacks a parameter which the controller sets."""
        has = {f.name for f in dataclasses.fields(base)}
        if missing := [name for name in self.moves if name not in has]:
            raise SpecError(
                f"controller {self.kind!r} sets {' and '.join(self.moves)}, but the objective {base.kind!r} has no "
                f"{' and no '.join(missing)}: choose an objective that has."
            )


_COLUMN = {"low": "eps_low", "high": "eps_high", "low_slope": "slope_low", "high_slope": "slope_high"}


def parameter(base: Objective, name: str) -> float:
    """Return a parameter of the arm's own objective, which `refuse_unfit` has found to be there."""
    return float(getattr(base, name))


def clamped(value: float, least: float, most: float) -> float:
    """Return the value, or the nearer end of the range; SpecError for NaN."""
    if math.isnan(value):
        raise SpecError("a controller computed NaN: the run's ledger holds what it read.")
    return min(max(value, least), most)
