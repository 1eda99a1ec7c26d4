"""RIPO: clip widths that grow as the action was rare."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import outside
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Ripo"]


@dataclass()
class Ripo(Objective):
    """RIPO clips at widths that fall with the probability of the action under pi_old.

    :Formula: the clip with eps_low = eps_high = sqrt(delta/pi_old(a)).
    :Source: [S] arXiv:2607.10169, in a third party's reading; no code.
    :Defaults: delta .05.
    :Random reward: none while r = 1. Then no fixed sign: as with DPPO the clipped actions are the likely ones.
    :True reward: the reward's drift, less that through likely actions.
    :Traps: where pi_old < delta the low width is above 1 and that side is off.
    """

    delta: float = 0.05
    kind: Literal["ripo"] = "ripo"
    hard = True

    def __post_init__(self) -> None:
        check_not_negative(self.kind, "it is pi_old times a squared width", delta=self.delta)

    @property
    def idle(self) -> tuple[float, float]:
        # No pi_old is above 1; a margin for the rounding of one that is.
        width = math.sqrt(self.delta) * (1 - 1e-9)
        return 1 - width, 1 + width

    def widths(self, old_probs: Array) -> Array:
        xp = namespace(old_probs)
        # A probability that underflowed to 0 counts as the smallest number.
        return xp.sqrt(self.delta / xp.clip(old_probs, float(xp.finfo(old_probs.dtype).tiny)))

    def change(self, view: View) -> Change:
        width = self.widths(view.old_probs)
        return Change.dropped(view, *outside(view, width, width))
