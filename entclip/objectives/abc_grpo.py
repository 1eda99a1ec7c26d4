"""ABC-GRPO: a clip on both sides of both signs."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, SignedGains, View
from entclip.objectives.widths import check_widths, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["AbcGrpo"]


@dataclass()
class AbcGrpo(Objective):
    """ABC-GRPO clips the ratio on both sides for either sign of the advantage, each with a width of its own.

    :Formula: the gradient of clip(r, 1 - low_pos, 1 + high_pos) A for A > 0 and of clip(r, 1 - low_neg, 1 + high_neg) A for
        A < 0, without a min: no gradient beyond a bound.
    :Source: [P] arXiv:2601.03895, Eq. 5 to 8, whose eps_1 to eps_4 are high_pos, low_pos, high_neg, low_neg.
    :Defaults: all four .2.
    :Random reward: exactly none of its own with four equal widths, the gains of the two signs being the same. The clip's two
        causes remain and `other`, the sides that PPO leaves open, cancels them.
    :True reward: the reward's drift through the actions within the bounds alone.
    :Traps: it is the clip for low_pos = 1 and high_neg = inf. A falling action with A > 0 is not pulled back.
    """

    low_pos: float = 0.2
    high_pos: float = 0.2
    low_neg: float = 0.2
    high_neg: float = 0.2
    kind: Literal["abc_grpo"] = "abc_grpo"
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low_pos, self.high_pos, "_pos")
        check_widths(self.kind, self.low_neg, self.high_neg, "_neg")

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - min(self.low_pos, self.low_neg), 1 + min(self.high_pos, self.high_neg)

    def change(self, view: View) -> Change:
        # LOW and HIGH are PPO's; below for A > 0 and above for A < 0 are what ABC-GRPO adds.
        below, high = outside(view, self.low_pos, self.high_pos)
        low, above = outside(view, self.low_neg, self.high_neg)
        plus, minus = (namespace(view.ratio).astype(~gone, view.ratio.dtype) for gone in (below | high, low | above))
        return Change(SignedGains(plus, minus, plus, minus), low, high, jumps=(below, above))
