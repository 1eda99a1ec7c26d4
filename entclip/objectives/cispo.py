"""CISPO: the weight is clipped, and no token is dropped."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Cispo"]


@dataclass()
class Cispo(Objective):
    """Clipped, detached weight: clip(r, 1 - low, 1 + high) A grad log pi; no token is dropped.
    arXiv:2506.13585 (two-sided form)."""

    low: float = 0.2
    high: float = 0.2
    kind: Literal["cispo"] = "cispo"
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.low, self.high)

    @property
    def pushes_at_zero(self) -> bool:
        return self.low < 1

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.high

    def change(self, view: View) -> Change:
        gain = namespace(view.ratio).clip(view.ratio, 1 - self.low, 1 + self.high) / view.ratio
        return Change.of(gain, gain, *outside(view, self.low, self.high), gated=False)
