"""REINFORCE: the advantage alone, without an importance ratio."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import nowhere
from entclip.support.rewording import dataclass

__all__ = ["Reinforce"]


@dataclass()
class Reinforce(Objective):
    """REINFORCE weighs a sample by its advantage, whatever its ratio.

    :Formula: c = A, that is g+ = g- = 1/r.
    :Source: Williams 1992, Machine Learning 8, 229; derived.
    :Random reward: exactly none of its own: the gains of the two signs are the same.
    :True reward: that of the reward, estimated with a bias once pi has left pi_old.
    :Traps: on reused samples the missing ratio is a bias, not a trust region. A falling action keeps its whole weight: natural
        steps can run away.
    """

    kind: Literal["reinforce"] = "reinforce"
    by_ratio = True
    pushes_at_zero = True
    width = 1 / 3  # 1/r = 3/2

    def change(self, view: View) -> Change:
        return Change.of(1 / view.ratio, 1 / view.ratio, *nowhere(view))
