"""Truncated importance weights: the ratio is held at a cap, and no sample is dropped."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import truncated
from entclip.support.rewording import dataclass

__all__ = ["TruncatedWeights"]


@dataclass()
class TruncatedWeights(Objective):
    """Truncated importance weights hold a sample's ratio at a cap and drop none.

    :Formula: c = min(r, cap) A, the weight detached, that is g+ = g- = min(1, cap/r).
    :Source: Ionides 2008, J. Comput. Graph. Stat. 17, 295 (the estimator); the cap of importance weights in V-trace
        (arXiv:1802.01561); derived.
    :Defaults: cap 2 is ours: each trainer has its own.
    :Random reward: exactly none of its own: the gains of the two signs are the same.
    :True reward: less of the reward's drift through actions beyond the cap.
    :Traps: trainers apply the same formula to the ratio of two engines at one policy, which is not the ratio that a clip sees.
    """

    cap: float = 2.0
    kind: Literal["truncated_weights"] = "truncated_weights"
    by_ratio = True

    def __post_init__(self) -> None:
        if not self.cap > 0:
            raise ValueError(f"truncated_weights.cap must be positive, got {self.cap}: it is the largest weight; inf is no cap.")

    @property
    def idle(self) -> tuple[float, float]:
        return 0.0, self.cap

    @property
    def width(self) -> float:
        return max(self.cap - 1, 0.0)

    def change(self, view: View) -> Change:
        return truncated(view, self.cap)
