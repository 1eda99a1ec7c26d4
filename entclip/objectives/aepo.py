"""AEPO: beside the clip, steps of right answers drawn at a temperature that the entropy of the rollout policy chooses."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import Bounded, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Aepo"]


@dataclass()
class Aepo(Bounded):
    """AEPO adds the mean clipped step, with A = 1, of right answers drawn from the rollout policy at another temperature.

    :Formula: the clip, and strength E[1(A > 0) 1(r <= 1 + high) r grad log pi(a)] over a drawn from q = pi_old^(1/T),
        renormalised; r = pi/pi_old is that of temperature 1. While the mean entropy of the rollout policy is at most target
        T = hot and the strength is coefficient, else T = cold and it is half of that. As a bonus: weights
        strength P(A > 0 | a) 1(r <= 1 + high) q(a)/pi_old(a).
    :Source: [C] 597358816/AEPO verl/trainer/ray_trainer.py; arXiv:2510.08141.
    :Defaults: hot 1.2, cold .8 and target .5, the code's (its result has .75); coefficient .05, ours; low and high .2.
    :Needs: the chance of each action to do well, the entropy of each context, its mean, and all actions of a context.
    :Random reward: towards the target, from r = 1 on: such steps raise entropy at T > 1 and lower it at T < 1.
    :True reward: the reward's drift beside it, and that of a step towards right answers.
    :Traps: the code has no coefficient: 60 or 30 rows of its batch are replaced, and their number is the strength. Its samples
        are drawn; here their mean step is taken, which has the same expectation and no noise, and the clip of `high` on them
        counts in the bonus. The code's entropy is that of the updates before the rollout, estimated from their samples.
    """

    coefficient: float = 0.05
    target: float = 0.5
    hot: float = 1.2
    cold: float = 0.8
    kind: Literal["aepo"] = "aepo"
    needs = frozenset({"levels", "entropy", "statistics", "bonus"})
    hard = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_not_negative(self.kind, "it multiplies the added step", coefficient=self.coefficient)
        check_not_negative(self.kind, "it is an entropy in nats", target=self.target)
        if not 0 < self.cold <= self.hot < math.inf:
            raise ValueError(
                f"aepo.cold = {self.cold} must be positive and at most aepo.hot = {self.hot}: they are temperatures."
            )

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the temperature and the strength in force."""
        hot = np.sum(np.sum(share, axis=(0, -1)) * view.old_entropy[..., 0], axis=1) <= self.target
        strength = np.where(hot, self.coefficient, self.coefficient / 2)
        return {"temperature": np.where(hot, self.hot, self.cold), "strength": strength}

    def change(self, view: View) -> Change:
        xp, dtype = namespace(view.ratio), view.ratio.dtype
        right = xp.sum(view.chances * xp.astype(view.advantage > 0, dtype), axis=0)
        old = xp.log(xp.clip(view.old_probs, float(xp.finfo(dtype).tiny)))
        drawn = old / view.statistics["temperature"]
        top = xp.max(drawn, axis=-1, keepdims=True)
        drawn = drawn - top - xp.log(xp.sum(xp.exp(drawn - top), axis=-1, keepdims=True))
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        kept = view.statistics["strength"] * xp.astype(~clipped.high, dtype)
        return replace(clipped, bonus={"bonus": kept * right * xp.exp(drawn - old)})
