"""GSPO: the clip of the ratio of whole sequences, per token."""

from __future__ import annotations

from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.widths import Bounded, outside
from entclip.support.rewording import dataclass

__all__ = ["Gspo"]


@dataclass()
class Gspo(Bounded):
    """GSPO clips the geometric mean of the ratios of a sequence's tokens, which all its tokens share.

    :Formula: s = exp(mean_t log r_t); each token carries s A/length, and none where A > 0 and s > 1 + high or A < 0 and s < 1 -
        low.
    :Source: [L] verl and Trinity-RFT; arXiv:2507.18071.
    :Defaults: low 3e-4 and high 4e-4, the author's in verl.
    :Needs: the ratio of a whole sequence.
    :Random reward: none while s = 1. Then as the clip, of sequences.
    :True reward: as the clip, of sequences.
    :Traps: its widths are those of a mean of log-ratios, whose spread falls as 1/sqrt(length): a token's .2 never clips. A
        sign-gated clip share is at most 1/2. On single tokens it is the clip. verl clamps log s at 10 and adds a dual clip, which
        are not here. In tabular runs a token's share of the loss is 1/length: steps are that much smaller than those of `clip`.
    """

    low: float = 3e-4
    high: float = 4e-4
    kind: Literal["gspo"] = "gspo"
    needs = frozenset({"sequence"})
    hard = True

    def change(self, view: View) -> Change:
        return Change.dropped(view, *outside(view, self.low, self.high))
