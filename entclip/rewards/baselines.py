"""Rules for a group that compare rewards with something else than its mean: a quantile, or the mean of the others. Claim T7."""

from __future__ import annotations

import math

import numpy as np
from pydantic import ConfigDict

from entclip.rewards.advantage import AdvantageMoments, GroupRelative
from entclip.rewards.levels import moments_of_groups
from entclip.rewards.reward import Gaussian, RewardLaw
from entclip.support.rewording import dataclass

__all__ = ["LeaveOneOut", "QuantileBaseline"]

_CONFIG = ConfigDict(extra="forbid", allow_inf_nan=False)
_WHOLE = 1e-9  # by which the number of rewards below a quantile may miss a whole number


@dataclass(frozen=True, config=_CONFIG)
class LeaveOneOut(GroupRelative):
    """A = reward - mean reward of the others of the group, which is size/(size - 1) times reward - group mean."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scale != "none":
            raise ValueError(
                f"the leave-one-out baseline has no scale, but advantage.scale = {self.scale!r}: use advantage.scale = 'none'."
            )

    @property
    def _factor(self) -> float:
        return self.size / (self.size - 1)

    def of_rewards(self, rewards: np.ndarray, *, ties: bool = False) -> np.ndarray:
        return super().of_rewards(rewards, ties=ties) * self._factor

    def moments(self, reward: RewardLaw, old_probs: np.ndarray) -> AdvantageMoments:
        if isinstance(reward, Gaussian):
            wider = Gaussian(reward.mean, reward.std * self._factor)
            return GroupRelative(self.size).moments(wider, old_probs)
        return moments_of_groups(self, reward, old_probs)


@dataclass(frozen=True, config=_CONFIG)
class QuantileBaseline(GroupRelative):
    """A = (reward - b)/scale, b the left-continuous quantile of the group's rewards: inf of x with F(x) >= quantile."""

    quantile: float = 0.4

    def of_rewards(self, rewards: np.ndarray, *, ties: bool = False) -> np.ndarray:
        below = max(math.ceil(self.quantile * self.size - _WHOLE) - 1, 0)
        baseline = np.sort(rewards, axis=-1)[..., below, None]
        if self.scale == "none":
            return rewards - baseline
        centred = rewards - rewards.mean(axis=-1, keepdims=True)
        std = np.sqrt(np.sum(centred**2, axis=-1, keepdims=True) / (self.size - self.ddof))
        flat = np.ptp(rewards, axis=-1, keepdims=True) == 0
        return np.where(flat, 0.0, (rewards - baseline) / np.where(flat, 1.0, std + self.eps))

    def moments(self, reward: RewardLaw, old_probs: np.ndarray) -> AdvantageMoments:
        return moments_of_groups(self, reward, old_probs)
