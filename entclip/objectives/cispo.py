"""CISPO: the weight is clipped, and no token is dropped."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Cispo"]


@dataclass()
class Cispo(Bounded):
    """CISPO clips the weight and drops no token.

    :Formula: c = clip(r, 1 - low, 1 + high) A, the weight detached: g+ = g- = clip(r)/r.
    :Source: [L] arXiv:2506.13585 (MiniMax-M1) in the two-sided form of verl and NeMo. TRL's (cispo_trl) and TorchRL's
        (cispo_torchrl) are other objectives.
    :Defaults: low and high .2, ours: verl's example has 10 (off) and .2, Trinity-RFT 1 and .28.
    :Random reward: exactly none of its own: the gains of the two signs are the same.
    :True reward: that of the reward, with bounded weights beyond the bounds.
    :Traps: a falling action keeps the push (1 - low) A: natural steps can run away. It is not "between clip and no clip": under
        random reward it is no clip.
    """

    kind: Literal["cispo"] = "cispo"
    by_ratio = True

    @property
    def pushes_at_zero(self) -> bool:
        return self.low < 1

    def change(self, view: View) -> Change:
        gain = namespace(view.ratio).clip(view.ratio, 1 - self.low, 1 + self.high) / view.ratio
        return Change.of(gain, gain, *outside(view, self.low, self.high), gated=False)
