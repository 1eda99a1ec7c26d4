"""Clip_B: rare negative samples are dropped whose push on the entropy lies far below the mean."""

from __future__ import annotations

from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.widths import check_widths, outside, width_of_clip
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["ClipB"]


@dataclass()
class ClipB(Objective):
    """Clip_B drops samples with A < 0 whose entropy discriminator under pi_old lies mu standard deviations below its mean.

    :Formula: the clip; and for A < 0 no gradient where S - mean(S) < -mu std(S), S = p (H + log p), p and H those of pi_old.
    :Source: [C] agentscope-ai/Trinity-RFT clipb_advantage.py; arXiv:2602.03392.
    :Defaults: mu 2.5; low and high .2.
    :Needs: the entropy of each context under pi_old, and the mean and standard deviation of S over samples.
    :Random reward: up from r = 1 on, where it fires: dropping negative samples of rare actions keeps their probability.
    :True reward: the same beside the reward's drift.
    :Traps: S >= -e^(-1-H), so that it fires only if mu std(S) - mean(S) < e^(-1-H): often never. The code divides by the samples
        that are kept, here by all: the two differ by the dropped share. source says what mean and deviation are made of: with
        "batch", as published, they depend on the samples that they judge, and there are no expectations.
    """

    mu: float = 2.5
    low: float = 0.2
    high: float = 0.2
    source: Source = "policies"
    kind: Literal["clip_b"] = "clip_b"
    needs = frozenset({"entropy", "statistics"})
    hard = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(self.kind, "it is a number of standard deviations", mu=self.mu)

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the value of S below which negative samples are dropped."""
        value = _discriminator(view)
        mean = np.sum(share * value, axis=(1, 2), keepdims=True)
        std = np.sqrt(np.sum(share * (value - mean) ** 2, axis=(1, 2)))
        return {"least": mean[:, 0, 0] - self.mu * std}

    def change(self, view: View) -> Change:
        dropped = _discriminator(view) < view.statistics["least"]
        return Change.dropped(view, *outside(view, self.low, self.high), beyond=dropped)


def _discriminator(view: View) -> Array:
    """S = p (H + log p) under pi_old, nats; 0 for an action that underflowed."""
    xp, old = namespace(view.ratio), view.old_probs
    return old * (view.old_entropy + xp.log(xp.clip(old, float(xp.finfo(old.dtype).tiny))))
