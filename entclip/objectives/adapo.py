"""ADAPO: the high width of the clip goes with the distance of the entropy from a target."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, outside
from entclip.support.rewording import dataclass

__all__ = ["Adapo"]


@dataclass()
class Adapo(Objective):
    """ADAPO clips at a high width that is larger while the entropy is below a target and smaller above it.

    :Formula: the clip at low and high + gain (target - H), within [least, most], H the mean entropy of the contexts.
    :Source: [S] arXiv:2603.11682 (ICLR 2026), in a third party's reading: the entropy's distance from its initial value moves
        eps_high. The step of the rule was not seen [U]: that it is proportional, and gain, least and most, are ours.
    :Defaults: target None, the entropy that the rollout began with; gain 1, least .05, most 1; low and high .2.
    :Needs: the entropy of each context, and its mean over samples, taken as `source` says: "policies", "previous" or "batch".
    :Random reward: none while r = 1. Then towards the target through clip-high, where its gap is positive.
    :True reward: the same, while clip-high can outweigh the reward.
    :Traps: it cannot hold entropy up where clip-high does not act. The controller "adapo" takes a step after each rollout.
    """

    target: float | None = None
    gain: float = 1.0
    least: float = 0.05
    most: float = 1.0
    low: float = 0.2
    high: float = 0.2
    source: Source = "policies"
    kind: Literal["adapo"] = "adapo"
    needs = frozenset({"entropy", "statistics"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if self.target is not None:
            check_not_negative(self.kind, "it is an entropy in nats", target=self.target)
        check_not_negative(self.kind, "it is the width per nat", gain=self.gain)
        if not 0 <= self.least <= self.most < math.inf:
            raise ValueError(f"adapo.least = {self.least} must be at least 0 and at most adapo.most = {self.most}, finite.")

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.least

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the high width in force."""
        weight = np.sum(share, axis=-1)
        target = np.sum(weight * view.old_entropy[..., 0], axis=1) if self.target is None else self.target
        away = target - np.sum(weight * view.entropy[..., 0], axis=1)
        return {"high": np.clip(self.high + self.gain * away, self.least, self.most)}

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, view.statistics["high"]))
