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
    """No clip: the plain importance-weighted objective.

    :Formula: c = r A, g+ = g- = 1.
    :Source: derived; T8 for its noise, arXiv:2512.16912 [S] for a claim about that.
    :Random reward: exactly none at first order. At second order (T8) the noise of its steps lowers entropy with plain steps in
        most policies; with natural steps it raises that of skewed ones.
    :True reward: that of the reward.
    :Traps: "nothing clips" is no control for what a clip does: a clip also takes noise away. Compare with a random drop
        (control = "drop") or at matched KL.
    """

    kind: Literal["none"] = "none"
    hard = True
    by_ratio = True

    @property
    def idle(self) -> tuple[float, float]:
        return 0.0, math.inf

    def change(self, view: View) -> Change:
        return Change.dropped(view, *nowhere(view))
