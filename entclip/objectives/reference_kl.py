"""The clip with a KL penalty to a reference policy."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, outside
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["ReferenceKl"]


@dataclass()
class ReferenceKl(Objective):
    """The clip, less `coefficient` times the KL divergence from a reference policy, whose gradient every update takes exactly.

    :Formula: direction "reverse" is KL(pi | reference), with weights -log(pi/reference) times the coefficient: on samples of pi,
        k1 taken off the reward and k2 as a loss have this mean. "forward" is KL(reference | pi), with weights reference/pi: k3 as
        a loss, GRPO's term, has this one.
    :Source: derived; GRPO, arXiv:2402.03300 [P].
    :Defaults: coefficient .001, ours; low and high .2.
    :Needs: all actions of a context, for a step beside that of the samples; the reference, which is the policy that the run
        starts from, before any perturbation.
    :Random reward: none while pi is the reference. Then back towards the entropy of the reference, in most policies.
    :True reward: the same beside the reward's drift.
    :Traps: estimates add noise of their own, which is not in here. At the start of a run it does nothing.
    """

    coefficient: float = 0.001
    low: float = 0.2
    high: float = 0.2
    direction: Literal["reverse", "forward"] = "reverse"
    kind: Literal["reference_kl"] = "reference_kl"
    needs = frozenset({"bonus", "reference"})
    hard = True
    by_ratio = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(self.kind, "it multiplies the penalty", coefficient=self.coefficient)

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.high

    def change(self, view: View) -> Change:
        clipped = Change.dropped(view, *outside(view, self.low, self.high))
        away = view.log_probs - view.reference
        weights = -away if self.direction == "reverse" else namespace(away).exp(-away)
        return replace(clipped, bonus={"kl_term": self.coefficient * weights})
