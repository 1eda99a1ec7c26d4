"""The clip with an entropy bonus."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import check_widths, outside
from entclip.support.rewording import dataclass

__all__ = ["EntropyBonus"]


@dataclass()
class EntropyBonus(Objective):
    """The clip, and `coefficient` times the entropy of the policy itself, whose gradient every update takes exactly.

    :Formula: the gradient of H in the logits is pi (s - H), s = -log pi: weights s times the coefficient, in either geometry. The
        bonus is taken in every context, as one with the mean over a minibatch's samples is, and no clip acts on it.
    :Source: derived; trainers call it entropy_coeff or ent_coef and subtract it from the loss [L].
    :Defaults: coefficient .01, ours; low and high .2.
    :Needs: all actions of a context, for a step beside that of the samples.
    :Random reward: up from r = 1 on: coefficient times |grad H|^2, a cause of its own. A negative coefficient lowers entropy.
    :True reward: the reward's drift beside it.
    :Traps: it does not vanish with the advantages. arXiv:2505.22617 saw little effect at 1e-3 and an explosion at 1e-2 [S].
    """

    coefficient: float = 0.01
    low: float = 0.2
    high: float = 0.2
    kind: Literal["entropy_bonus"] = "entropy_bonus"
    needs = frozenset({"bonus"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not math.isfinite(self.coefficient):
            raise ValueError(f"entropy_bonus.coefficient must be finite, got {self.coefficient}: it multiplies the entropy.")

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.high

    def change(self, view: View) -> Change:
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        return replace(clipped, bonus={"bonus": -self.coefficient * view.log_probs})
