"""CDE's actor bonus: rewards grow with the surprisal of the action, up to a share of themselves."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from entclip.objectives.base import Change, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import Bounded
from entclip.policies.softmax import Array
from entclip.rewards.advantage import Advantage, Independent
from entclip.rewards.reward import RewardLaw
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Cde"]


@dataclass()
class Cde(Bounded):
    """CDE adds to each reward a bonus by the surprisal of its action under pi_old, bounded by a share of the reward, and clips.

    :Formula: R' = R + omega min(|R|/kappa, alpha s), s = -log pi_old; A' = R' - E[R']; then the clip, which goes by the sign of
        A'.
    :Source: [S] arXiv:2509.09675 (ICLR 2026), in a third party's reading; kappa, alpha and the values of omega not seen [U].
    :Defaults: ours: omega 1, kappa 2, alpha .1; low and high .2. The paper lowers omega over a run.
    :Needs: the reward of each sample, which it makes larger, and the law of the rewards; advantages about their exact mean.
    :Random reward: up from r = 1 on: likely actions that did well are pushed less than rare ones.
    :True reward: the reward's drift beside it. With rewards of 0 and 1 wrong answers get no bonus.
    :Traps: kappa divides. The paper's surprisal is the mean over the tokens of a response. Its baseline is the group's mean, here
        the exact one. Its critic needs value heads and is not here. Samples with A = 0 have no weight.
    """

    omega: float = 1.0
    kappa: float = 2.0
    alpha: float = 0.1
    kind: Literal["cde"] = "cde"
    needs = frozenset({"levels", "advantage", "penalty"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.kind, "0 is the clip", omega=self.omega, alpha=self.alpha)
        if not 0 < self.kappa < math.inf:
            raise ValueError(f"cde.kappa must be positive and finite, got {self.kappa}: the bonus is at most |R|/kappa.")

    @property
    def idle(self) -> tuple[float, float]:
        return math.nan, math.nan

    @property
    def width(self) -> float:
        return min((side for side in (self.low, self.high) if side < 1), default=math.inf)

    def advantage_rule(self, given: Advantage, reward: RewardLaw) -> Advantage:
        if not isinstance(given, Independent):
            raise ValueError(
                "its baseline is the exact mean of the rewards with their bonus: use advantage.kind = 'independent'."
            )
        return given

    def change(self, view: View) -> Change:
        xp, one = namespace(view.ratio), namespace(view.ratio).ones_like(view.ratio)
        extra = self._bonus(view)
        value = view.advantage + extra
        low, high = (view.ratio < 1 - self.low), (view.ratio > 1 + self.high)
        gone = ((value > 0) & high) | ((value < 0) & low)
        kept = xp.astype(~gone, view.ratio.dtype) * one
        plus = Change.of(kept, kept, gone & low, gone & high, gated=False)
        return replace(plus, extra_plus=extra * kept, extra_minus=extra * kept)

    def _bonus(self, view: View) -> Array:
        """omega min(|R|/kappa, alpha s) of each reward and action, less its mean, (L, ..., V)."""
        xp, old = namespace(view.ratio), view.old_probs
        surprisal = -xp.log(xp.clip(old, float(xp.finfo(old.dtype).tiny)))
        bonus = self.omega * xp.minimum(xp.abs(view.rewards) / self.kappa, self.alpha * surprisal)
        mean = xp.sum(xp.sum(old * view.chances * bonus, axis=0), axis=-1, keepdims=True)
        return bonus - mean
