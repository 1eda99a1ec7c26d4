"""Dual clip: the clip, and a cap on the ratio of actions with negative advantage."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths, outside
from entclip.support.rewording import dataclass

__all__ = ["DualClip"]


@dataclass()
class DualClip(Objective):
    """Clip, and for A < 0 also no gradient beyond r > cap (verl's default, cap 3): max(min(...), cap A). arXiv:1912.09729."""

    low: float = 0.2
    high: float = 0.2
    cap: float = 3.0
    kind: Literal["dual_clip"] = "dual_clip"
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.low, self.high)
        if not self.cap > 1:
            raise ValueError(
                f"dual_clip.cap must be above 1, got {self.cap}: it bounds the ratio of actions with A < 0 from above."
            )

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, min(1 + self.high, self.cap)

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, self.high), beyond=view.ratio > self.cap)
