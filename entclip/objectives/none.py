"""No clip at all."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import nowhere
from entclip.support.rewording import dataclass

__all__ = ["NoClip"]


@dataclass()
class NoClip(Objective):
    """The plain importance-weighted objective r A."""

    kind: Literal["none"] = "none"
    hard = True
    by_ratio = True

    @property
    def idle(self) -> tuple[float, float]:
        return 0.0, math.inf

    def change(self, view: View) -> Change:
        return Change.dropped(view, *nowhere(view))
