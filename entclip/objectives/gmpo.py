"""GMPO: a sequence is weighed by the geometric mean of its tokens' ratios, each bounded."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Gmpo"]


@dataclass()
class Gmpo(Objective):
    """GMPO weighs a sequence by the geometric mean of its tokens' ratios, each held within a bound on the side of A.

    :Formula: A > 0: rho = exp(mean_t min(log r_t, high)), A < 0: rho = exp(mean_t max(log r_t, -low)); the loss is -rho A, so
        that each token within its bound carries rho A/length, and none beyond.
    :Source: [C] callsys/GMPO; arXiv:2507.20673.
    :Defaults: low and high .4, in log space.
    :Needs: the ratio of a whole sequence.
    :Random reward: none while r = 1. Then as the clip with wide bounds, and what the bounded tokens take off the weight of the
        others of their sequence, in `other`.
    :True reward: as the clip with wide bounds.
    :Traps: the widths are those of log-ratios: .4 is a ratio of 1.49 above and .67 below. The parts of the ledger are relative to
        the mean of the unbounded ratios. In tabular runs steps are 1/length of those of `clip`.
    """

    low: float = 0.4
    high: float = 0.4
    kind: Literal["gmpo"] = "gmpo"
    needs = frozenset({"sequence"})

    def __post_init__(self) -> None:
        for name, width in (("low", self.low), ("high", self.high)):
            if not width >= 0:
                raise ValueError(f"gmpo.{name} must be at least 0, got {width}: it bounds log-ratios; inf switches it off.")

    @property
    def width(self) -> float:
        return min((math.expm1(self.high), -math.expm1(-self.low)))

    def change(self, view: View) -> Change:
        xp = namespace(view.log_probs)
        log_ratio = view.log_probs - xp.log(view.old_probs)
        low, high = log_ratio < -self.low, log_ratio > self.high
        # rho/s: what the bounds take off the mean of the sequence's log-ratios.
        over = xp.sum(view.share * xp.clip(log_ratio - self.high, 0.0), axis=-1, keepdims=True)
        under = xp.sum(view.share * xp.clip(-self.low - log_ratio, 0.0), axis=-1, keepdims=True)
        plus, minus = (xp.astype(~side, log_ratio.dtype) * xp.exp(x) for side, x in ((high, -over), (low, under)))
        return Change.of(plus, minus, low, high)
