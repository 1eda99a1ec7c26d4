"""Flexible Entropy Control: clip widths that depend on the probability of the action."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Flexible"]


@dataclass()
class Flexible(Objective):
    """Flexible Entropy Control clips at widths eps(pi) = slope pi + width, pi the current probability of the action.

    :Formula: the clip with eps_low = low + low_slope pi and eps_high = high + high_slope pi. A negative slope lets rare actions
        move further than likely ones. The paper's upper version has the high side's line beside a plain low width
        (low_slope = 0), its lower version the other way round.
    :Source: [S] arXiv:2602.09782, the authors' blog.
    :Defaults: those that two third parties give, since the authors' text does not [T]: low .3, low_slope -.13, high .5,
        high_slope -.25.
    :Random reward: none while r = 1. Then upper up and lower down in most policies.
    :True reward: the reward's drift, less that through the actions beyond a bound.
    :Traps: low and high are the widths at pi = 0. The schedules ID, DID and OD of the paper change them between rollouts.
    """

    low: float = 0.3
    high: float = 0.5
    low_slope: float = -0.13
    high_slope: float = -0.25
    kind: Literal["flexible"] = "flexible"
    hard = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        for side, width, slope, most in (
            ("low", self.low, self.low_slope, 1.0),
            ("high", self.high, self.high_slope, math.inf),
        ):
            if not math.isfinite(slope):
                raise ValueError(f"flexible.{side}_slope must be finite, got {slope}: the {side} width is slope pi + {width:g}.")
            if not 0 <= width + slope <= most:
                raise ValueError(
                    f"flexible.{side}_slope = {slope} makes the {side} width {width + slope:g} at pi = 1, {width:g} at pi = 0: "
                    f"it must stay in [0, {most:g}]."
                )

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - min(self.low, self.low + self.low_slope), 1 + min(self.high, self.high + self.high_slope)

    def change(self, view: View) -> Change:
        probs = namespace(view.log_probs).exp(view.log_probs)
        return Change.dropped(view, *outside(view, self.low_slope * probs + self.low, self.high_slope * probs + self.high))
