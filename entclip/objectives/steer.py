"""STEER: less weight for the samples that would move the entropy most."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.widths import check_widths, outside
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Steer"]

_LEAST = 0.02  # of the largest |Omega|, of the authors' code
_TINY = 1e-30  # of a difference that is divided by; float32 holds it


@dataclass()
class Steer(Objective):
    """STEER multiplies the dual-clip loss of a sample by a factor that falls with how far it would move the entropy.

    :Formula: Omega = (A/pi_old) pi (1 - pi)(log pi + H). mode "exponential": lambda = exp(-k |Omega|), within [lambda_min, 1],
        with k = -log(lambda_min)/max(max |Omega|, .02). mode "linear": from lambda_max at the smallest |Omega| to lambda_min at
        the largest. lambda times the dual clip: g = 0 for A > 0 and r > 1 + high, for A < 0 and r < 1 - low or r > cap.
    :Source: [C] zz-haooo/STEER core_algos.py; arXiv:2510.10150.
    :Defaults: mode "exponential" and lambda_min .8, of the authors' run (the paper has .7); low .2, high .28, cap 10. Their
        function's own default is "linear", from lambda_max 1.2 to .8.
    :Needs: the advantage of each sample, the entropy of each context, and the largest |Omega| of the samples, for "linear" the
        smallest, too. source says of which: "policies", all that pi_old can draw; "previous", the minibatch before; "batch", this
        minibatch, as published.
    :Random reward: none of its own with symmetric advantages: the factor goes by |A|. The dual clip under it drifts.
    :True reward: shrinks the drift, in either direction; "linear" shrinks what moves entropy most and enlarges the rest.
    :Traps: scale-free: the largest of a minibatch always gets lambda_min. The maximum of the policies is that of their rarest
        actions, so that lambda is nearer to 1 than in a batch. With "batch" it depends on the samples that it weighs, and there
        are no expectations. Omega moves the sampled logit alone and has one pi less than that expansion.
    """

    lambda_min: float = 0.8
    low: float = 0.2
    high: float = 0.28
    cap: float = 10.0
    mode: Literal["exponential", "linear"] = "exponential"
    lambda_max: float = 1.2
    source: Source = "policies"
    kind: Literal["steer"] = "steer"
    needs = frozenset({"levels", "entropy", "statistics"})

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not 0 < self.lambda_min <= 1:
            raise ValueError(f"steer.lambda_min must be in (0, 1], got {self.lambda_min}: it is the least factor of a loss.")
        if not self.lambda_min <= self.lambda_max < math.inf:
            raise ValueError(
                f"steer.lambda_max must be finite and at least {self.lambda_min}, its lambda_min, got {self.lambda_max}"
            )
        if not self.cap > 1:
            raise ValueError(f"steer.cap must be above 1, got {self.cap}: it bounds the ratio of actions with A < 0 from above.")

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the largest |Omega| of the samples, for "exponential" at least .02, and for "linear" the smallest."""
        size, met = np.abs(_omega(view)), share > 0
        largest = np.max(np.where(met, size, 0.0), axis=(0, 2, 3))
        if self.mode == "exponential":
            return {"largest": np.maximum(largest, _LEAST)}
        return {"largest": largest, "smallest": np.min(np.where(met, size, math.inf), axis=(0, 2, 3))}

    def change(self, view: View) -> Change:
        xp = namespace(view.ratio)
        size, largest = xp.abs(_omega(view)), view.statistics["largest"]
        if self.mode == "exponential":
            factor = xp.exp(math.log(self.lambda_min) * xp.clip(size / largest, 0.0, 1.0))
        else:
            smallest = view.statistics["smallest"]
            place = xp.clip((size - smallest) / xp.maximum(largest - smallest, _TINY), 0.0, 1.0)  # 0 where all are the same
            factor = self.lambda_max - (self.lambda_max - self.lambda_min) * place
        low, high = outside(view, self.low, self.high)
        capped = view.ratio > self.cap
        plus, minus = (factor * xp.astype(~gone, view.ratio.dtype) for gone in (high, low | capped))
        return Change.of(plus, minus, low, high, jumps=(capped,))


def _omega(view: View) -> Array:
    """(A/pi_old) pi (1 - pi)(log pi + H), nats."""
    probs = namespace(view.log_probs).exp(view.log_probs)
    return view.advantage * view.ratio * (1 - probs) * (view.log_probs + view.entropy)
