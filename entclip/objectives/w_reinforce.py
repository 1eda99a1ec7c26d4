"""W-REINFORCE, with its ends PSR and NSR: samples that did well and samples that did badly have weights of their own."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, weighted_clip, width_of_clip
from entclip.support.rewording import dataclass

__all__ = ["WReinforce"]


@dataclass()
class WReinforce(Objective):
    """W-REINFORCE multiplies right samples by lambda_pos and wrong ones by lambda_neg; PSR has 1 and 0, NSR 0 and 1.

    :Formula: g+ = lambda_pos where r <= 1 + high, else 0; g- = lambda_neg where r >= 1 - low, else 0.
    :Source: [C] TianHongZXY/RLVR-Decomposed; arXiv:2506.01347.
    :Defaults: lambda_pos .1, lambda_neg 1; low and high .2, of verl's clip on top.
    :Random reward: none while r = 1: there g+ - g- is a constant. Then mostly clip-low, which tends to raise entropy.
    :True reward: NSR keeps entropy up, PSR brings it down.
    :Traps: the paper's A is lambda for a right and -1 for a wrong answer, without a baseline: that is rewards of 1 and -1 with
        `Independent` advantages about 0 (rademacher). With other advantages the factors multiply those.
    """

    lambda_pos: float = 0.1
    lambda_neg: float = 1.0
    low: float = 0.2
    high: float = 0.2
    kind: Literal["w_reinforce"] = "w_reinforce"
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(
            self.kind, "it multiplies the loss of its samples", lambda_pos=self.lambda_pos, lambda_neg=self.lambda_neg
        )

    @property
    def hard(self) -> bool:
        return {self.lambda_pos, self.lambda_neg} <= {0, 1}

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def change(self, view: View) -> Change:
        return weighted_clip(view, self.low, self.high, self.lambda_pos, self.lambda_neg)
