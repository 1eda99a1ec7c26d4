"""CISPO as TRL has it: one bound, which is absolute."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import truncated
from entclip.support.rewording import dataclass

__all__ = ["CispoTrl"]


@dataclass()
class CispoTrl(Objective):
    """CISPO as TRL and Liger have it truncates the detached weight at `high` itself, not at 1 + high.

    :Formula: c = min(r, high) A, the weight detached, that is g+ = g- = min(1, high/r).
    :Source: [L] TRL 1.16.0 and Liger 0.8.5, loss_type "cispo"; after arXiv:2506.13585.
    :Defaults: high 5, which TRL's documentation names. Its key epsilon_high falls back to epsilon = .2.
    :Random reward: exactly none of its own: the gains of the two signs are the same.
    :True reward: less of the reward's drift through actions beyond the bound; there is no low bound.
    :Traps: epsilon_high = .28, kept from a clip, multiplies the weight of nearly every sample by .28: a learning rate, not a
        bound.
    """

    high: float = 5.0
    kind: Literal["cispo_trl"] = "cispo_trl"
    by_ratio = True

    def __post_init__(self) -> None:
        if not self.high > 0:
            raise ValueError(
                f"cispo_trl.high must be positive, got {self.high}: it is the largest weight itself, not a width above 1."
            )

    @property
    def idle(self) -> tuple[float, float]:
        return 0.0, self.high

    @property
    def width(self) -> float:
        return max(self.high - 1, 0.0)

    def change(self, view: View) -> Change:
        return truncated(view, self.high)
