"""Adaptive coefficients: an entropy bonus as Skywork-OR1 and TRL have it, and REPO-R's doubling."""

from __future__ import annotations

from typing import Literal

from entclip.controllers.base import Controller, Memory, Observed, clamped, parameter
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError
from entclip.support.numbers import NotNegative, Positive
from entclip.support.rewording import dataclass

__all__ = ["AdaptiveBonus", "Doubling"]


@dataclass()
class AdaptiveBonus(Controller):
    """Raises an entropy bonus by `delta` while H is at most target and lowers it above; while H > target there is no bonus.

    :Source: [L] Skywork-OR1's rule as TRL (from 1.8, use_adaptive_entropy) has it: delta .005 and target .2 are TRL's. There it
        acts after every optimiser step, here after every rollout. The coefficient stays within [least, most].

    target: nats; None is the entropy at the start. The objective is entropy_bonus; its own coefficient is the first one.
    """

    target: NotNegative | None = 0.2
    delta: Positive = 0.005
    least: NotNegative = 0.0
    most: NotNegative = 1.0
    kind: Literal["adaptive_bonus"] = "adaptive_bonus"
    moves = ("coefficient",)

    def __post_init__(self) -> None:
        if not self.least < self.most:
            raise SpecError(f"adaptive_bonus.least = {self.least} must be below adaptive_bonus.most = {self.most}.")

    def start(self, base: Objective, entropy: float) -> Memory:
        own = clamped(parameter(base, "coefficient"), self.least, self.most)
        target = self.aim(entropy)
        return {"target": target, "memory": own, "coefficient": own if entropy <= target else 0.0}

    def update(self, memory: Memory, observed: Observed) -> Memory:
        below = observed.entropy <= memory["target"]
        kept = clamped(memory["memory"] + (self.delta if below else -self.delta), self.least, self.most)
        return memory | {"memory": kept, "coefficient": kept if below else 0.0}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"coefficient": memory["coefficient"]}


@dataclass()
class Doubling(Controller):
    """Doubles REPO-R's zeta while H is below target and halves it above, within [least, most].

    :Source: [S] arXiv:2603.11682 in a third party's reading; target is the entropy at the start there (None). zeta_0 is the arm's
        own; the limits are ours.
    """

    target: NotNegative | None = None
    least: Positive = 1e-4
    most: Positive = 1.0
    kind: Literal["repo"] = "repo"
    moves = ("zeta",)

    def start(self, base: Objective, entropy: float) -> Memory:
        zeta = clamped(parameter(base, "zeta"), self.least, self.most)
        return {"target": self.aim(entropy), "zeta": zeta}

    def update(self, memory: Memory, observed: Observed) -> Memory:
        factor = 2.0 if observed.entropy < memory["target"] else 0.5
        return memory | {"zeta": clamped(memory["zeta"] * factor, self.least, self.most)}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"zeta": memory["zeta"]}
