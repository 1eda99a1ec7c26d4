"""SAPO as Trinity-RFT has it: the gate is a detached weight."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.sapo import check_steepness
from entclip.objectives.widths import nowhere
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["SapoTrinity"]


@dataclass()
class SapoTrinity(Objective):
    """SAPO as Trinity-RFT has it uses the gate itself, detached, as the weight of a sample.

    :Formula: c = (4/tau) sigmoid(tau (r - 1)) A, the weight detached, tau by the sign of A; at r = 1 it is 2/tau.
    :Source: [L] Trinity-RFT 0.6.0; another objective than the SAPO of arXiv:2511.20347, whose name it has.
    :Defaults: tau_pos 1, tau_neg 1.05.
    :Random reward: none while r = 1, where the gains differ by a constant; then undecided in sign. None with equal tau.
    :True reward: about twice the step of r A at r = 1.
    :Traps: the weight never vanishes: at r = 0 it is still (4/tau)/(1 + e^tau), 1.08 for tau = 1, so that natural steps can run
        away. At r = 1 it doubles the learning rate.
    """

    tau_pos: float = 1.0
    tau_neg: float = 1.05
    kind: Literal["sapo_trinity"] = "sapo_trinity"
    by_ratio = True
    pushes_at_zero = True

    def __post_init__(self) -> None:
        check_steepness(self.kind, tau_pos=self.tau_pos, tau_neg=self.tau_neg)

    @property
    def width(self) -> float:
        # The gate is at least (4/tau) sigmoid(-tau), so that gate/r has reached 3/2 of the 2/tau at r = 1 by then.
        return 1 - 4 / 3 / (1 + math.exp(min(self.tau_pos, self.tau_neg, 700.0)))

    def change(self, view: View) -> Change:
        plus, minus = (_gate(view.ratio, tau) / view.ratio for tau in (self.tau_pos, self.tau_neg))
        return Change.of(plus, minus, *nowhere(view))


def _gate(ratio: Array, tau: float) -> Array:
    xp = namespace(ratio)
    # The exponent is never positive, so nothing overflows; 1 + tanh, the other way to that, cancels far below the ratio 1.
    at = tau * (ratio - 1)
    small = xp.exp(-xp.abs(at))
    return (4 / tau) * xp.where(at < 0, small, xp.ones_like(small)) / (1 + small)
