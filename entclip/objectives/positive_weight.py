"""Positive-advantage reweighting: the clip, with less weight on samples that did well."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, weighted_clip, width_of_clip
from entclip.support.rewording import dataclass

__all__ = ["PositiveWeight"]


@dataclass()
class PositiveWeight(Objective):
    """Positive-advantage reweighting multiplies the clipped loss of samples with A > 0 by a factor.

    :Formula: g+ = lambda_pos where r <= 1 + high, else 0; g- = 1 where r >= 1 - low, else 0.
    :Source: [S] arXiv:2511.05993 (ACL 2026 Findings).
    :Defaults: lambda_pos .5 is ours: the paper moves it, by stage, by epoch or by the entropy. low and high .2.
    :Random reward: none while r = 1: there g+ - g- is a constant. Then the clip's two sides, the high one times lambda_pos.
    :True reward: entropy falls less as lambda_pos falls: what is reinforced is what lowers it.
    :Traps: below 1 it also is a smaller step. The clip's part counts all that its high side removes, the factor's included.
    """

    lambda_pos: float = 0.5
    low: float = 0.2
    high: float = 0.2
    kind: Literal["positive_weight"] = "positive_weight"
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(self.kind, "it multiplies the loss of its samples", lambda_pos=self.lambda_pos)

    @property
    def hard(self) -> bool:
        return self.lambda_pos in (0, 1)

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def change(self, view: View) -> Change:
        return weighted_clip(view, self.low, self.high, self.lambda_pos, 1.0)
