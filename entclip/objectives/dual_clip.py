"""Dual clip: the clip, and a cap on the ratio of actions with negative advantage."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.support.rewording import dataclass

__all__ = ["DualClip"]


@dataclass()
class DualClip(Bounded):
    """Dual clip: the clip, and for A < 0 also no gradient beyond r > cap.

    :Formula: for A < 0 max(min(r A, clip(r) A), cap A): g- = 0 for r < 1 - low and for r > cap; g+ as for the clip.
    :Source: [P] arXiv:1912.09729; [L] verl's default.
    :Defaults: cap 3, verl's (the authors of Clip-Cov and STEER use 10); low and high .2.
    :Random reward: none while r = 1. Then the clip's two causes, and `other`, the cap's: up where its actions have above-average
        entropy value. For r > cap it cancels clip-high exactly, since there g+ = g- = 0.
    :True reward: as the clip; it keeps wrong actions that became likely from being pushed down.
    :Traps: inert where no ratio reaches the cap, which is nearly always with cap 3.
    """

    cap: float = 3.0
    kind: Literal["dual_clip"] = "dual_clip"
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cap > 1:
            raise ValueError(
                f"dual_clip.cap must be above 1, got {self.cap}: it bounds the ratio of actions with A < 0 from above."
            )

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, min(1 + self.high, self.cap)

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, self.high), beyond=view.ratio > self.cap)
