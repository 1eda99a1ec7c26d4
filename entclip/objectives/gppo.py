"""GPPO: clipped tokens keep the gradient that they have on the bound."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.ce_gppo import held
from entclip.objectives.widths import Bounded
from entclip.support.rewording import dataclass

__all__ = ["Gppo"]


@dataclass()
class Gppo(Bounded):
    """GPPO gives clipped tokens the weight that they have on the bound.

    :Formula: c = (1 - low) A for A < 0 below 1 - low; c = (1 + high) A for A > 0 above 1 + high; else r A.
    :Source: [P] arXiv:2508.07629, Eq. 11; general form Eq. 17 and 18.
    :Defaults: low and high .2; the paper's beta_low = beta_high = 1.
    :Random reward: none while r = 1. Then the low side is reversed against the clip's: there the bounded weight exceeds r, so
        that negative samples push harder than unclipped ones (g- > 1), and entropy falls where the clip would raise it. The high
        side has the clip's sign, weaker.
    :True reward: that of the reward, with bounded weights beyond the bounds.
    :Traps: "the gradient is kept" is not "nothing is clipped": the gains of the two signs differ. A falling action keeps its
        push: natural steps can run away.
    """

    kind: Literal["gppo"] = "gppo"
    by_ratio = True

    @property
    def pushes_at_zero(self) -> bool:
        return self.low < 1

    def change(self, view: View) -> Change:
        return held(view, self.low, self.high, 1.0, 1.0)
