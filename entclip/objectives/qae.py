"""QAE: rewards are compared with a quantile of their group, under a clip."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.rewards.advantage import Advantage, GroupRelative
from entclip.rewards.baselines import QuantileBaseline
from entclip.rewards.reward import RewardLaw
from entclip.support.rewording import dataclass

__all__ = ["Qae"]


@dataclass()
class Qae(Bounded):
    """QAE takes a quantile of the group's rewards off each reward, in the place of their mean, and clips.

    :Formula: A = (R - b)/std with b = inf{x: F(x) >= quantile}, F the law of the group's rewards; then the clip. For rewards of
        0 and 1 b = 0 where the success rate of the group is at most 1 - quantile, so that only right answers count, else b = 1.
    :Source: [S] arXiv:2509.22611 (ICLR 2026); no readable code.
    :Defaults: quantile .4; low and high .2. The scale is that of the experiment's group: "std" is the paper's.
    :Needs: groups, whose rewards it makes into advantages.
    :Random reward: none of its own while r = 1. Then only one side can act in a prompt: clip-high in hard ones (down), clip-low
        in easy ones (up).
    :True reward: entropy falls least where b is largest.
    :Traps: the quantile is the left-continuous one. About four fifths of the advantages are 0.
    """

    quantile: float = 0.4
    kind: Literal["qae"] = "qae"
    needs = frozenset({"advantage"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.quantile < 1:
            raise ValueError(f"qae.quantile must be in (0, 1), got {self.quantile}: it is a share of the group.")

    def advantage_rule(self, given: Advantage, reward: RewardLaw) -> Advantage:
        if type(given) is not GroupRelative:
            raise ValueError("it compares rewards of a group: use advantage.kind = 'group'.")
        if reward.levels is None:
            raise ValueError(
                f"no quantile of a group of reward.kind = {reward.kind!r} has exact moments: use finitely many rewards."
            )
        return QuantileBaseline(given.size, given.scale, given.ddof, given.eps, quantile=self.quantile)

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, self.high))
