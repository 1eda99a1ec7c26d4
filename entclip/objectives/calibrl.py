"""CalibRL: beside the clip, a pull that holds a sample's log-probability on its side of an expert's."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, outside, width_of_clip
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Calibrl"]


@dataclass()
class Calibrl(Objective):
    """CalibRL adds a leaky ReLU of the gap between the log-probabilities of a sample and of an expert's token.

    :Formula: the clip's objective - coefficient |A| LeakyReLU(-sign(A) (log pi - log expert), slope), that is
        g+ = [r <= 1 + high] + coefficient x/r with x = 1 where pi < expert, else slope;
        g- = [r >= 1 - low] + coefficient x/r with x = 1 where pi > expert, else slope.
    :Source: [C] zhh6425/CalibRL core_algos.py, dp_actor.py; arXiv:2602.20197 (ICLR 2026).
    :Defaults: coefficient .1, slope .5; low and high .2. expert .5 is ours.
    :Random reward: up from r = 1 on in most policies: likely actions are held back more than pushed, rare ones the other way.
    :True reward: the reward's drift beside it.
    :Traps: the code pairs each token with the expert's at the same position and keeps its old log-probability; here the expert's
        token has one probability everywhere. The code's sign is that of the answer, here that of A. Its expert rows, which leave
        the policy loss, are not simulated. The pull has no ratio: natural steps can run away.
    """

    coefficient: float = 0.1
    slope: float = 0.5
    expert: float = 0.5
    low: float = 0.2
    high: float = 0.2
    kind: Literal["calibrl"] = "calibrl"

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(self.kind, "0 leaves the clip alone", coefficient=self.coefficient)
        check_not_negative(self.kind, "it is the slope of the ReLU below 0", slope=self.slope)
        if not 0 < self.expert < 1:
            raise ValueError(f"calibrl.expert must be in (0, 1), got {self.expert}: it is the probability of the expert's token.")

    @property
    def hard(self) -> bool:
        return self.coefficient == 0

    @property
    def pushes_at_zero(self) -> bool:
        return self.coefficient > 0

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def change(self, view: View) -> Change:
        xp, ratio = namespace(view.ratio), view.ratio
        low, high = outside(view, self.low, self.high)
        behind = view.log_probs < math.log(self.expert)
        ahead = view.log_probs > math.log(self.expert)
        one = xp.ones_like(ratio)
        up, down = (self.coefficient * xp.where(full, one, self.slope * one) / ratio for full in (behind, ahead))
        kept = (xp.astype(~side, ratio.dtype) for side in (high, low))
        return Change.of(next(kept) + up, next(kept) + down, low, high, jumps=(behind,))
