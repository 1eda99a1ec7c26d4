"""Published rules that move the bounds of a clip step by step: ADAPO and BAPO."""

from __future__ import annotations

import math
from typing import Literal

from entclip.controllers.base import Controller, Memory, Observed, clamped, parameter
from entclip.objectives.base import Objective
from entclip.support.errors import SpecError
from entclip.support.numbers import NotNegative, Positive, Share
from entclip.support.rewording import dataclass

__all__ = ["Adapo", "Bapo"]


@dataclass()
class Adapo(Controller):
    """Widens eps_high by `delta` while H is below target and narrows it above, within [least, most].

    :Source: [S] arXiv:2603.11682 in a third party's reading: ADAPO moves eps_high. The step and the limits were not seen: they
        are ours. target: nats; None is the entropy at the start.
    """

    target: NotNegative | None = None
    delta: Positive = 0.02
    least: NotNegative = 0.05
    most: NotNegative = 1.0
    kind: Literal["adapo"] = "adapo"
    moves = ("high",)

    def __post_init__(self) -> None:
        if not self.least < self.most:
            raise SpecError(f"adapo.least = {self.least} must be below adapo.most = {self.most}.")

    def start(self, base: Objective, entropy: float) -> Memory:
        high = clamped(parameter(base, "high"), self.least, self.most)
        return {"target": self.aim(entropy), "high": high}

    def update(self, memory: Memory, observed: Observed) -> Memory:
        step = self.delta if observed.entropy < memory["target"] else -self.delta
        return memory | {"high": clamped(memory["high"] + step, self.least, self.most)}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"high": memory["high"]}


@dataclass()
class Bapo(Controller):
    """Widens the clip until samples with A > 0 have the share `rho` of what is not dropped: high first, then low.

    :Source: [S] arXiv:2510.18927: the smallest bounds (c_low, c_high) from (.6, 1.2) to (.9, 3) in steps of .02 and .05 whose
        positive share of the pi-weighted absolute loss is at least rho_0 = .4, found anew for each batch.
    :Here: one step after each rollout, from the share among the samples that its updates kept, not weighted by pi or |A|. As in
        the paper c_low rises, so that more of A < 0 is dropped. The bounds start anew once the share is reached.
    """

    rho: Share = 0.4
    low_start: Share = 0.4
    low_end: Share = 0.1
    low_step: Positive = 0.02
    high_start: NotNegative = 0.2
    high_end: NotNegative = 2.0
    high_step: Positive = 0.05
    kind: Literal["bapo"] = "bapo"
    moves = ("low", "high")

    def __post_init__(self) -> None:
        if not (self.low_end <= self.low_start and self.high_start <= self.high_end):
            raise SpecError(
                f"bapo goes from low_start = {self.low_start} down to low_end = {self.low_end} and from high_start = "
                f"{self.high_start} up to high_end = {self.high_end}: the ends are on the wrong side."
            )

    def start(self, base: Objective, entropy: float) -> Memory:
        return self.start_again()

    def update(self, memory: Memory, observed: Observed) -> Memory:
        kept = {
            sign: math.fsum(row[f"count_{sign}"] - row[f"removed_{sign}"] for row in observed.rows) for sign in ("plus", "minus")
        }
        total = kept["plus"] + kept["minus"]
        if total <= 0 or kept["plus"] >= self.rho * total:
            return self.start_again()
        if memory["high"] < self.high_end:
            return memory | {"high": min(memory["high"] + self.high_step, self.high_end)}
        return memory | {"low": max(memory["low"] - self.low_step, self.low_end)}

    def start_again(self) -> Memory:
        """Return the memory of the first rollout."""
        return {"low": self.low_start, "high": self.high_start}

    def settings(self, memory: Memory) -> dict[str, float]:
        return {"low": memory["low"], "high": memory["high"]}
