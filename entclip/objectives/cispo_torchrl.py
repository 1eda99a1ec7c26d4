"""CISPO as TorchRL has it: a clip on either sign."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["CispoTorchrl"]


@dataclass()
class CispoTorchrl(Bounded):
    """CISPO as TorchRL has it clips the ratio without detaching it, so that samples beyond a bound have no gradient at all.

    :Formula: the gradient of clip(r, 1 - low, 1 + high) A, that is g+ = g- = 1 within the bounds and 0 beyond them.
    :Source: [L] TorchRL 0.14.1, CISPOLoss; after arXiv:2506.13585, whose weight is detached and whose tokens are all kept.
    :Defaults: low and high .2, ours.
    :Random reward: exactly none of its own: the gains of the two signs are the same.
    :True reward: the reward's drift through the actions within the bounds alone.
    :Traps: it removes what CISPO was made to keep. It is not a clip either, whose min leaves one sign on each side.
    """

    kind: Literal["cispo_torchrl"] = "cispo_torchrl"
    hard = True
    by_ratio = True

    def change(self, view: View) -> Change:
        low, high = outside(view, self.low, self.high)
        inside = namespace(view.ratio).astype(~(low | high), view.ratio.dtype)
        return Change.of(inside, inside, low, high, gated=False)
