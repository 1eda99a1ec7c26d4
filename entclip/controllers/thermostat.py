"""A thermostat: two widths of the low bound, switched with hysteresis."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from entclip.controllers.base import Controller, Memory, Observed, parameter
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError
from entclip.support.numbers import NotNegative
from entclip.support.rewording import dataclass

__all__ = ["Thermostat"]

Width = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass()
class Thermostat(Controller):
    """Sets eps_low to `tight` when entropy falls below target - band, and to `wide` when it rises above target + band.

    Between the two it leaves the width as it is; until one is left that is the arm's own. target: nats; None is the entropy at
    the start. It takes for granted that a tighter low bound raises entropy (gap_low > 0, T6).
    """

    target: NotNegative | None = None
    band: NotNegative = 0.01
    tight: Width = 0.1
    wide: Width = 0.3
    kind: Literal["thermostat"] = "thermostat"
    moves = ("low",)

    def __post_init__(self) -> None:
        if not self.tight < self.wide:
            raise SpecError(f"thermostat.tight = {self.tight} must be below thermostat.wide = {self.wide}: it clips more.")

    def start(self, base: Objective, entropy: float) -> Memory:
        return {"target": self.aim(entropy), "low": parameter(base, "low")}

    def update(self, memory: Memory, observed: Observed) -> Memory:
        error = observed.entropy - memory["target"]
        if error < -self.band:
            return memory | {"low": self.tight}
        return memory | {"low": self.wide} if error > self.band else memory

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"low": memory["low"]}
