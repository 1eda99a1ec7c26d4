"""EntroPIC's controller: PI control of how much likely tokens count for either sign of the advantage."""

from __future__ import annotations

import dataclasses
from typing import Literal

from entclip.controllers.base import Controller, Memory, Observed, clamped, parameter
from entclip.objectives.base import Objective
from entclip.support.numbers import NotNegative
from entclip.support.rewording import dataclass

__all__ = ["EntropicControl"]


@dataclass()
class EntropicControl(Controller):
    """Sets EntroPIC's alpha = clip(K_p e + K_i sum e, -1, 1), e = H - target.

    :Source: [C] yk7333/EntroPIC config/entropic.yaml: K_p 1, K_i .01, target .1. There it acts on every batch, here after every
        rollout. target None is the entropy at the start. The objective is entropic; the first rollout has its own alpha.
    """

    target: NotNegative | None = 0.1
    k_p: NotNegative = 1.0
    k_i: NotNegative = 0.01
    kind: Literal["entropic"] = "entropic"
    moves = ("alpha",)

    def start(self, base: Objective, entropy: float) -> Memory:
        alpha = parameter(base, "alpha")
        return {"target": self.aim(entropy), "sum": 0.0, "alpha": alpha}

    def update(self, memory: Memory, observed: Observed) -> Memory:
        error = observed.entropy - memory["target"]
        total = memory["sum"] + error
        return memory | {"sum": total, "alpha": clamped(self.k_p * error + self.k_i * total, -1.0, 1.0)}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"alpha": memory["alpha"]}

    def example(self, base: Objective) -> Objective:
        # With alpha = 0 gains are 0 or 1, and an engine would prepare for no others.
        return dataclasses.replace(base, alpha=1.0)
