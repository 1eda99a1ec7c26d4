"""AEPO: beside the clip, REINFORCE on right answers drawn at a temperature that the entropy chooses."""

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
    """AEPO adds the mean REINFORCE step of right answers drawn from the policy at a high or a low temperature.

    :Formula: the clip, and coefficient E[1(A > 0) grad log pi(a)] over a drawn from pi^(1/T), renormalised; T = hot while the
        mean entropy is below target, else cold. As a bonus: weights coefficient P(A > 0 | a) pi_T(a)/pi(a).
    :Source: [C] 597358816/AEPO; arXiv:2510.08141.
    :Defaults: hot 1.2, cold .8 and target .5, the code's (its result has .75); coefficient .05, ours; low and high .2.
    :Needs: the chance of each action to do well, the entropy of each context, its mean, and all actions of a context.
    :Random reward: towards the target, from r = 1 on: REINFORCE at T > 1 raises entropy, at T < 1 it lowers it.
    :True reward: the reward's drift beside it, and that of a step towards right answers.
    :Traps: the code has no coefficient: 60 or 30 rows of its batch are replaced, and their number is the strength. Its samples
        are drawn; here their mean step is taken, which has the same expectation and no noise.
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
        """Return the temperature in force."""
        mean = np.sum(np.sum(share, axis=(0, -1)) * view.entropy[..., 0], axis=-1)
        return {"temperature": np.where(mean < self.target, self.hot, self.cold)}

    def change(self, view: View) -> Change:
        xp, log_probs = namespace(view.ratio), view.log_probs
        right = xp.sum(view.chances * xp.astype(view.advantage > 0, log_probs.dtype), axis=0)
        drawn = log_probs / view.statistics["temperature"]
        top = xp.max(drawn, axis=-1, keepdims=True)
        drawn = drawn - top - xp.log(xp.sum(xp.exp(drawn - top), axis=-1, keepdims=True))
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        return replace(clipped, bonus={"bonus": self.coefficient * right * xp.exp(drawn - log_probs)})
