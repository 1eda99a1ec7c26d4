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


@dataclass()
class Steer(Objective):
    """STEER multiplies the dual-clip loss of a sample by a factor that falls with how far it would move the entropy.

    :Formula: lambda = exp(-k |Omega|) with Omega = (A/pi_old) pi (1 - pi)(log pi + H) and k = -log(lambda_min)/max(max |Omega|,
        .02), within [lambda_min, 1]; lambda times the dual clip: g = 0 for A > 0 and r > 1 + high, for A < 0 and r < 1 - low or
        r > cap.
    :Source: [C] zz-haooo/STEER core_algos.py; arXiv:2510.10150.
    :Defaults: lambda_min .8, of the code's run (the paper has .7); low .2, high .28, cap 10.
    :Needs: the advantage of each sample, the entropy of each context, and the largest |Omega| of the samples. source says of
        which: "policies", all that pi_old can draw; "previous", the minibatch before; "batch", this minibatch, as published.
    :Random reward: none of its own with symmetric advantages: the factor goes by |A|. The dual clip under it drifts.
    :True reward: shrinks the drift, in either direction.
    :Traps: scale-free: the largest of a minibatch always gets lambda_min. The maximum of the policies is that of their rarest
        actions, so that lambda is nearer to 1 than in a batch. With "batch" it depends on the samples that it weighs, and there
        are no expectations. Omega moves the sampled logit alone and has one pi less than that expansion.
    """

    lambda_min: float = 0.8
    low: float = 0.2
    high: float = 0.28
    cap: float = 10.0
    source: Source = "policies"
    kind: Literal["steer"] = "steer"
    needs = frozenset({"levels", "entropy", "statistics"})

    def __post_init__(self) -> None:
        check_widths(self.low, self.high)
        if not 0 < self.lambda_min <= 1:
            raise ValueError(f"steer.lambda_min must be in (0, 1], got {self.lambda_min}: it is the least factor of a loss.")
        if not self.cap > 1:
            raise ValueError(f"steer.cap must be above 1, got {self.cap}: it bounds the ratio of actions with A < 0 from above.")

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the largest |Omega| of the samples, at least .02."""
        largest = np.max(np.where(share > 0, np.abs(_omega(view)), 0.0), axis=(0, 2, 3))
        return {"largest": np.maximum(largest, _LEAST)}

    def change(self, view: View) -> Change:
        xp = namespace(view.ratio)
        share = xp.clip(xp.abs(_omega(view)) / view.statistics["largest"], 0.0, 1.0)
        factor = xp.exp(math.log(self.lambda_min) * share)
        low, high = outside(view, self.low, self.high)
        capped = view.ratio > self.cap
        plus, minus = (factor * xp.astype(~gone, view.ratio.dtype) for gone in (high, low | capped))
        return Change.of(plus, minus, low, high, jumps=(capped,))


def _omega(view: View) -> Array:
    """(A/pi_old) pi (1 - pi)(log pi + H), nats."""
    probs = namespace(view.log_probs).exp(view.log_probs)
    return view.advantage * view.ratio * (1 - probs) * (view.log_probs + view.entropy)
