"""ERC: no gradient in contexts whose entropy has left a band about its old value."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Erc"]

_FLOOR = 1e-8  # nats, of the authors' code


@dataclass()
class Erc(Objective):
    """ERC keeps a sample's gradient while the entropy of its context is within a band about its value under pi_old.

    :Formula: the clip where entropy_low < (H + 1e-8)/(H_old + 1e-8) < entropy_high, strictly; elsewhere no gradient. The
        normaliser counts all samples.
    :Source: [C] Kwai-Klear/ERC core_algos.py; arXiv:2512.05591.
    :Defaults: the band .95 to 1.05, of the shipped recipes (the code's own is .8 to 1.2); low .2 and high .28, DAPO's.
    :Needs: the entropy of each context under both policies.
    :Random reward: none of its own: a context is kept or left whatever the sign of A. The clip under it acts where it is kept.
    :True reward: holds the drift of a rollout within the band, in either direction, in each context by itself.
    :Traps: a context that has left the band comes back only if another context moves it: where nothing is shared it stays as it
        is until the next rollout.
    """

    entropy_low: float = 0.95
    entropy_high: float = 1.05
    low: float = 0.2
    high: float = 0.28
    kind: Literal["erc"] = "erc"
    needs = frozenset({"entropy"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not 0 <= self.entropy_low < 1 < self.entropy_high:
            raise ValueError(
                f"erc.entropy_low and erc.entropy_high are ratios of entropies about 1, got {self.entropy_low} and "
                f"{self.entropy_high}: choose 0 <= entropy_low < 1 < entropy_high."
            )

    def change(self, view: View) -> Change:
        xp, dtype = namespace(view.ratio), view.ratio.dtype
        moved = (view.entropy + _FLOOR) / (view.old_entropy + _FLOOR)
        kept = (moved > self.entropy_low) & (moved < self.entropy_high)
        low, high = (side & kept for side in outside(view, self.low, self.high))
        plus, minus = (xp.astype(kept & ~side, dtype) for side in (high, low))
        return Change.of(plus, minus, low, high)
