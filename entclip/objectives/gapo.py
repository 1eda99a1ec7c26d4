"""GAPO: the fewer of a group were right, the further the right ones may move up."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths
from entclip.rewards.advantage import LARGEST_GROUP, Advantage, GroupRelative
from entclip.rewards.reward import RewardLaw
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass, shown

__all__ = ["Gapo"]


@dataclass()
class Gapo(Objective):
    """GAPO clips right answers at a high width that grows from `low` to `high` as fewer of their group were right.

    :Formula: the clip; its high width is low + (high - low)(k - c)/(k - 1) for right answers, c of the k answers of the group
        being right, and its low width low. A = 1 - c/k for right answers, so that (k - c)/(k - 1) = A k/(k - 1).
    :Source: [S] arXiv:2609.00444; its code was not seen.
    :Defaults: low .2, high .28, the token widths of the note; group 8, its k.
    :Needs: the advantage of each sample: rewards of 0 and 1 in groups of `group` without a scale, where it tells c.
    :Random reward: none while r = 1. Then less clip-high in hard groups: up against the clip.
    :True reward: the same beside the reward's drift.
    :Traps: the paper's widths, 3e-3 and 5e-3, are those of GSPO's sequence ratio; here the ratio is that of the action.
    """

    low: float = 0.2
    high: float = 0.28
    group: int = 8
    kind: Literal["gapo"] = "gapo"
    needs = frozenset({"levels", "advantage"})
    hard = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not self.low <= self.high < math.inf:
            raise ValueError(
                f"gapo.high must be at least gapo.low = {self.low} and finite, got {self.high}: it is the width of hard groups."
            )
        if not 2 <= self.group <= LARGEST_GROUP:
            raise ValueError(
                f"gapo.group must be from 2 to {LARGEST_GROUP}, got {shown(self.group)}: it is the number of answers of a group."
            )

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.low

    def advantage_rule(self, given: Advantage, reward: RewardLaw) -> Advantage:
        fits = type(given) is GroupRelative and given.size == self.group and given.scale == "none"
        if not fits or reward.levels is None or set(reward.levels) != {0.0, 1.0}:
            raise ValueError(
                "it reads the number of right answers off the advantage: use rewards of 0 and 1, advantage.kind = 'group' with "
                f"scale = 'none' and size = {self.group}, which is gapo.group."
            )
        return given

    def change(self, view: View) -> Change:
        xp = namespace(view.ratio)
        hard = xp.clip(view.advantage, 0.0) * (self.group / (self.group - 1))
        high = self.low + (self.high - self.low) * hard
        return Change.dropped(view, view.ratio < 1 - self.low, view.ratio > 1 + high)
