"""DPPO: a mask by the difference of probabilities in place of their ratio."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.policies.softmax import Array
from entclip.support.rewording import dataclass

__all__ = ["DppoTv"]


@dataclass()
class DppoTv(Objective):
    """DPPO-TV drops a sample once its action's probability, not its ratio, has moved by a bound in its direction.

    :Formula: no gradient for A > 0 where pi - pi_old > delta and for A < 0 where pi - pi_old < -delta; else r A.
    :Source: [C] sail-sg/Stable-RL core_algos.py, loss mode dppo_binary_tv; arXiv:2602.04879.
    :Defaults: delta .15, of the authors' example (verl's default is .2).
    :Random reward: none while r = 1. Then no fixed sign: the clipped actions are the likely ones.
    :True reward: the reward's drift, less that through likely actions that moved.
    :Traps: an action less likely than delta is never clipped from below. Three references bear this name: see dppo_kl.
    """

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
