"""Proportional and integral control of the low bound."""

from __future__ import annotations

from typing import Literal

from entclip.controllers.base import Controller, Memory, Observed, clamped, parameter
from entclip.controllers.thermostat import Width
from entclip.objectives.base import Objective
from entclip.support.numbers import NotNegative
from entclip.support.rewording import dataclass

__all__ = ["Proportional"]


@dataclass()
class Proportional(Controller):
    """PI control: eps_low = the arm's own + k_p e + k_i sum e, with e = H - target after each rollout, within [least, most].

    The sum stands still while the width is at an end (no wind-up). target: nats; None is the entropy at the start. Gains are at
    least 0: like the thermostat it takes for granted that a tighter low bound raises entropy (gap_low > 0, T6). Where that is not
    so take `predictive`, which measures the sign. The defaults are EntroPIC's gains.
    """

    target: NotNegative | None = None
    k_p: NotNegative = 1.0
    k_i: NotNegative = 0.01
    least: Width = 0.02
    most: Width = 1.0
    kind: Literal["pi"] = "pi"
    moves = ("low",)

    def start(self, base: Objective, entropy: float) -> Memory:
        low = parameter(base, "low")
        return {"target": self.aim(entropy), "base": low, "sum": 0.0, "low": low}

    def update(self, memory: Memory, observed: Observed) -> Memory:
        error = observed.entropy - memory["target"]
        total = memory["sum"] + error
        wanted = memory["base"] + self.k_p * error + self.k_i * total
        low = clamped(wanted, self.least, self.most)
        return memory | {"low": low, "sum": total if low == wanted else memory["sum"]}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"low": memory["low"]}
