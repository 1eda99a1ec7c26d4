"""DPPO: a mask by the difference of probabilities in place of their ratio."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.policies.softmax import Array
from entclip.support.rewording import dataclass

__all__ = ["DppoTv"]


@dataclass()
class DppoTv(Objective):
    """Mask by probability difference: drop A > 0 where pi - pi_old > delta, A < 0 where pi - pi_old < -delta.
    arXiv:2602.04879."""

    delta: float = 0.15
    kind: Literal["dppo_tv"] = "dppo_tv"
    hard = True

    def __post_init__(self) -> None:
        if not 0 <= self.delta <= 1:
            raise ValueError(f"dppo_tv.delta must be in [0, 1], got {self.delta}: it is a difference of probabilities.")

    @property
    def idle(self) -> tuple[float, float]:
        # |pi - pi_old| <= |r - 1|, and a margin for its rounding
        return 1 - self.delta * (1 - 1e-9), 1 + self.delta * (1 - 1e-9)

    def widths(self, old_probs: Array) -> Array:
        return self.delta / old_probs

    def change(self, view: View) -> Change:
        moved = view.old_probs * (view.ratio - 1)
        return Change.dropped(view, moved < -self.delta, moved > self.delta)
