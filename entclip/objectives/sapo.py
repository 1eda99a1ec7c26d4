"""SAPO: a soft gate in place of a clip."""

from __future__ import annotations

import math
from typing import Literal

from entclip.objectives.base import Change, Objective, View
from entclip.objectives.widths import nowhere
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Sapo", "check_steepness"]


@dataclass()
class Sapo(Objective):
    """SAPO replaces the clip by a gate that closes smoothly as the ratio leaves 1.

    :Formula: f(r) = (4/tau) sigmoid(tau (r - 1)), tau by the sign of A: c = r f'(r) A, g = sech^2(tau (r - 1)/2).
    :Source: [S] arXiv:2511.20347; [L] verl, TRL, Liger, ms-swift, SkyRL, AReaL. Trinity-RFT's is another (sapo_trinity).
    :Defaults: tau_pos 1, tau_neg 1.05.
    :Random reward: none while r = 1. Then up, a little, in most policies, since negative samples fade faster. None with
        equal tau.
    :True reward: that of the reward, fading with distance.
    :Traps: all of it is in the cause `other`: there is no bound, hence no clip fraction.
    """

    tau_pos: float = 1.0
    tau_neg: float = 1.05
    kind: Literal["sapo"] = "sapo"
    by_ratio = True

    def __post_init__(self) -> None:
        check_steepness(self.kind, tau_pos=self.tau_pos, tau_neg=self.tau_neg)

    @property
    def width(self) -> float:
        return 2 * math.log(1 + math.sqrt(2)) / max(self.tau_pos, self.tau_neg)  # sech^2(x) = 1/2

    def change(self, view: View) -> Change:
        return Change.of(_gate(view.ratio, self.tau_pos), _gate(view.ratio, self.tau_neg), *nowhere(view))


def check_steepness(kind: str, **taus: float) -> None:
    """Raise ValueError unless each steepness is positive and finite."""
    for name, tau in taus.items():
        if not 0 < tau < math.inf:
            raise ValueError(f"{kind}.{name} must be positive and finite, got {tau}: it is the steepness of the gate.")


def _gate(ratio: Array, tau: float) -> Array:
    xp = namespace(ratio)
    # sech^2(x) = 4 e^{-2|x|} / (1 + e^{-2|x|})^2 does not overflow where cosh does.
    decay = xp.exp(-tau * xp.abs(ratio - 1))
    return 4 * decay / (1 + decay) ** 2
