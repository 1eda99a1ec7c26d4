"""The clip of PPO and GRPO, and its surrogate."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Clip", "surrogate"]


@dataclass()
class Clip(Bounded):
    """The clip of PPO and GRPO: no gradient for samples that have moved past a bound in the direction of their advantage.

    :Formula: min(r A, clip(r, 1 - low, 1 + high) A): g+ = 0 for r > 1 + high, g- = 0 for r < 1 - low, else 1. low = 1 and
        high = inf switch a side off. Claim T4.
    :Source: [P] PPO, arXiv:1707.06347; the two widths, arXiv:2503.14476 (DAPO, .2 and .28) [P]; their effect on entropy under
        random reward, arXiv:2509.26114 [S].
    :Defaults: low and high .2.
    :Random reward: none while r = 1. Then clipping at the low bound raises entropy and clipping at the high bound lowers it, each
        where its clipped actions have above-average entropy value (T6); *raising* high means less clipping there, hence higher
        entropy. With equal widths mostly down.
    :True reward: the reward's drift, less that through the actions beyond a bound.
    :Traps: nothing clips while r = 1: with one update per rollout the widths are inert. The signs are those of T6's gaps, not
        universal: where common actions move most (plain steps on tables) clip-high can raise entropy.
    """

    kind: Literal["clip"] = "clip"
    hard = True
    by_ratio = True

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, self.high))


def surrogate(clip: Clip, ratio: Array, advantage: Array) -> Array:
    """Return min(r A, clip(r, 1 - low, 1 + high) A) of each sample, to be maximised (a loss is its negative). Claim T4."""
    xp = namespace(ratio)
    return xp.minimum(ratio * advantage, xp.clip(ratio, 1 - clip.low, 1 + clip.high) * advantage)
