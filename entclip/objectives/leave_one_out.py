"""The leave-one-out baseline: each reward is compared with the mean of the others of its group, under a clip."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.rewards.advantage import Advantage, GroupRelative
from entclip.rewards.baselines import LeaveOneOut as Baseline
from entclip.rewards.reward import RewardLaw
from entclip.support.rewording import dataclass

__all__ = ["LeaveOneOut"]


@dataclass()
class LeaveOneOut(Bounded):
    """Leave-one-out takes the mean reward of the others of its group off each reward, and clips.

    :Formula: A_i = R_i - mean of the others = G/(G - 1) (R_i - mean of all); then the clip.
    :Source: [P] RLOO, arXiv:2402.14740; derived.
    :Defaults: low and high .2. RLOO has no clip: low 1, high inf.
    :Needs: groups without a scale, whose rewards it makes into advantages.
    :Random reward: none of its own: it is a factor on the group-relative advantage, the same for both signs. The clip drifts.
    :True reward: that of the reward, without the bias 1 - 1/G of the group's mean.
    :Traps: it is exactly a learning rate G/(G - 1) times as large.
    """

    kind: Literal["leave_one_out"] = "leave_one_out"
    needs = frozenset({"advantage"})
    hard = True
    by_ratio = True

    def advantage_rule(self, given: Advantage, reward: RewardLaw) -> Advantage:
        if type(given) is not GroupRelative:
            raise ValueError("it compares rewards of a group: use advantage.kind = 'group'.")
        return Baseline(given.size, given.scale)

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, self.high))
