"""EntroPIC's reweighting: frequent tokens count more for one sign of the advantage, by as much as a controller says."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths, outside, width_of_clip
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Entropic"]


@dataclass()
class Entropic(Objective):
    """EntroPIC adds alpha r |A| to the clip's objective on tokens that are likely, so that one sign counts more there.

    :Formula: where pi > threshold: g+ = [r <= 1 + high] + alpha, g- = [r >= 1 - low] - alpha; elsewhere the clip.
    :Source: [C] yk7333/EntroPIC dp_actor.py, core_algos.py; arXiv:2511.15248. The threshold was not seen; .95 is a third party's.
    :Defaults: alpha 0, where it is the clip: the paper's PI rule sets alpha = clip(K_p e + K_i sum e, -1, 1), e = H - target.
        low and high .2.
    :Random reward: from r = 1 on: down for alpha > 0, up for alpha < 0, through likely tokens alone.
    :True reward: the reward's drift beside it.
    :Traps: what it adds is not clipped. It does nothing where no action is likelier than the threshold.
    """

    alpha: float = 0.0
    threshold: float = 0.95
    low: float = 0.2
    high: float = 0.2
    kind: Literal["entropic"] = "entropic"

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not -1 <= self.alpha <= 1:
            raise ValueError(f"entropic.alpha must be in [-1, 1], got {self.alpha}: the paper's rule clips it there.")
        if not 0 < self.threshold < 1:
            raise ValueError(f"entropic.threshold must be in (0, 1), got {self.threshold}: it is a probability.")

    @property
    def hard(self) -> bool:
        return self.alpha == 0

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def change(self, view: View) -> Change:
        xp, dtype = namespace(view.ratio), view.ratio.dtype
        low, high = outside(view, self.low, self.high)
        likely = view.log_probs > math.log(self.threshold)
        tilt = self.alpha * xp.astype(likely, dtype)
        return Change.of(xp.astype(~high, dtype) + tilt, xp.astype(~low, dtype) - tilt, low, high, jumps=(likely,))
