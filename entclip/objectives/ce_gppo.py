"""CE-GPPO: clipped tokens keep a bounded gradient."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import Bounded, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["CeGppo", "held"]


@dataclass()
class CeGppo(Bounded):
    """CE-GPPO gives clipped tokens a bounded weight of their own.

    :Formula: c = beta_low (1 - low) A for A < 0 below 1 - low; c = beta_high (1 + high) A for A > 0 above 1 + high; else r A.
    :Source: [C] Kwai-Klear/CE-GPPO core_algos.py; arXiv:2509.20712.
    :Defaults: beta_low .75 and beta_high 1, of the README and the 7B recipe (the code's own is .25 and 1); low and high .2.
    :Random reward: none while r = 1. Then g+ - g- = 1 - beta_low (1 - low)/r on the low side: its sign changes at
        r = beta_low (1 - low), against the clip's below it. The high side has the clip's sign, weaker.
    :True reward: that of the reward, with bounded weights beyond the bounds.
    :Traps: the code's dual clip (3) on top is not part of this member. A falling action keeps its push: natural steps can run
        away.
    """

    beta_low: float = 0.75
    beta_high: float = 1.0
    kind: Literal["ce_gppo"] = "ce_gppo"
    by_ratio = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.kind, "0 is the hard clip", beta_low=self.beta_low, beta_high=self.beta_high)

    @property
    def hard(self) -> bool:
        return self.beta_low == self.beta_high == 0

    @property
    def pushes_at_zero(self) -> bool:
        return self.low < 1 and self.beta_low > 0

    def change(self, view: View) -> Change:
        return held(view, self.low, self.high, self.beta_low, self.beta_high)


def held(view: View, low: float, high: float, beta_low: float, beta_high: float) -> Change:
    """Return the weights beta_low (1 - low) A for A < 0 below the low bound, beta_high (1 + high) A for A > 0 beyond the high."""
    xp, ratio = namespace(view.ratio), view.ratio
    below, above = outside(view, low, high)
    plus = one = xp.ones_like(ratio)
    # An infinite width has an empty set; without this test the gradient of the branch not taken would be 0 times inf.
    if high < math.inf:
        plus = xp.where(above, beta_high * (1 + high) / ratio, one)
    return Change.of(plus, xp.where(below, beta_low * (1 - low) / ratio, one), below, above)
