"""Flexible Entropy Control's schedules: which side of the clip has a width that depends on the probability, and when."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from entclip.controllers.base import Controller, Memory, Observed
from entclip.objectives.base import Objective
from entclip.support.rewording import dataclass

__all__ = ["FlexibleSchedule"]

Fraction = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]


@dataclass()
class FlexibleSchedule(Controller):
    """Mixes the plain width `standard` with Flexible's lines, U = high + high_slope pi above and L = low + low_slope pi below.

    id    increase then decrease. First half: high side lambda U + (1 - lambda) standard, low side standard; second half: high
          side standard, low side (1 + lambda) L - lambda standard; lambda = 1 - 2 k/T, k the rollout of T.
    did   decrease, increase, decrease. First half: high side lambda standard + (1 - lambda) U, low side standard; second half:
          high side U, low side as in id.
    od    oscillating, with hysteresis: (U, standard) once H <= H_min = ratio H_0, and (standard, L) at the start and once
          H > H_min + (H_0 - H_min)(1 - t/T).

    :Source: [S] arXiv:2602.09782, from the authors' blog; split .5 and ratio .2 are theirs. At the change of halves lambda = 0.

    The lines are those of the arm's objective, which is flexible.
    """

    schedule: Literal["id", "did", "od"] = "id"
    standard: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.2
    split: Fraction = 0.5
    ratio: Fraction = 0.2
    kind: Literal["flexible"] = "flexible"
    moves = ("low", "high", "low_slope", "high_slope")

    def start(self, base: Objective, entropy: float) -> Memory:
        lines = {f"own_{name}": float(getattr(base, name)) for name in self.moves}
        return lines | {"first": entropy, "up": 0.0} | self._mix(lines, 0.0, entropy, entropy, 0.0)

    def update(self, memory: Memory, observed: Observed) -> Memory:
        share = (observed.rollout + 1) / observed.rollouts
        return memory | self._mix(memory, share, memory["first"], observed.entropy, memory["up"])

    def _mix(self, lines: Memory, share: float, first: float, entropy: float, up: float) -> Memory:
        """How much of each line is in force at this share of the run: 1 is the line, 0 the plain width."""
        if self.schedule == "od":
            least = self.ratio * first
            if entropy <= least:
                up = 1.0
            elif entropy > least + (first - least) * (1 - share):
                up = 0.0
            return {"up": up} | self._lines(lines, 1.0 - up, up)
        if share < self.split:
            mixed = 1 - share / self.split
            return self._lines(lines, 0.0, mixed if self.schedule == "id" else 1 - mixed)
        mixed = (share - self.split) / (1 - self.split)
        # lambda runs from 0 to -1: (1 + lambda) L - lambda standard starts at L and ends at the plain width.
        return self._lines(lines, 1 - mixed, 0.0 if self.schedule == "id" else 1.0)

    def _lines(self, lines: Memory, low: float, high: float) -> Memory:
        out = {}
        for side, part in (("low", low), ("high", high)):
            out[side] = part * lines[f"own_{side}"] + (1 - part) * self.standard
            out[f"{side}_slope"] = part * lines[f"own_{side}_slope"]
        return out

    def settings(self, memory: Memory) -> dict[str, float]:
        return {name: memory[name] for name in self.moves}
