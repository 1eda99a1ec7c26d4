"""Clip_V: negative samples are dropped whose push on the entropy, centred over the vocabulary, is largest."""

from __future__ import annotations

from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.limits import check_not_negative
from entclip.objectives.top_share import least_of_top
from entclip.objectives.widths import check_widths, outside, width_of_clip
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["ClipV"]


@dataclass()
class ClipV(Objective):
    """Clip_V drops samples with A < 0 whose centred push on the entropy is over mu standard deviations, a share at most.

    :Formula: the clip; and for A < 0 no gradient where D > mu std(D), D = E_pi S - S with S = p (H + log p); if those are more
        than max_fraction of all samples, only where D is largest, up to that share.
    :Source: [C] agentscope-ai/Trinity-RFT clipv_advantage.py; arXiv:2602.03392.
    :Defaults: mu 8.5 and max_fraction 1e-4, of default_args (the constructor has mu 2); low and high .2.
    :Needs: the advantage of each sample, the entropy of each context under pi_old, all its actions, and statistics over samples.
        source says of which: "policies", "previous" (the minibatch before) or "batch", this minibatch, as published.
    :Random reward: up from r = 1 on, where it fires.
    :True reward: the same beside the reward's drift.
    :Traps: the threshold is not centred. Samples at the bound of the share are all dropped, at least one cell of action and
        advantage. The code divides by the samples that are kept, here by all. With "batch" there are no expectations.
    """

    mu: float = 8.5
    max_fraction: float = 1e-4
    low: float = 0.2
    high: float = 0.2
    source: Source = "policies"
    kind: Literal["clip_v"] = "clip_v"
    needs = frozenset({"levels", "entropy", "statistics"})
    hard = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        check_not_negative(self.kind, "it is a number of standard deviations", mu=self.mu)
        if not 0 < self.max_fraction <= 1:
            raise ValueError(f"clip_v.max_fraction must be in (0, 1], got {self.max_fraction}: it is a share of the samples.")

    @property
    def width(self) -> float:
        return width_of_clip(self.low, self.high)

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the value of D above which negative samples are dropped."""
        value, each = _centred_push(view), np.sum(share, axis=0)
        mean = np.sum(each * value, axis=(1, 2), keepdims=True)
        least = self.mu * np.sqrt(np.sum(each * (value - mean) ** 2, axis=(1, 2)))
        flat = value.reshape(len(value), -1)
        passing = np.sum(share * (view.advantage < 0), axis=0).reshape(flat.shape) * (flat > least[:, None])
        at = least_of_top(flat, passing, self.max_fraction)
        capped = np.sum(passing, axis=1) > self.max_fraction
        return {"least": np.where(capped, at - 1e-9 * np.abs(at), least)}

    def change(self, view: View) -> Change:
        dropped = _centred_push(view) > view.statistics["least"]
        return Change.dropped(view, *outside(view, self.low, self.high), beyond=dropped)


def _centred_push(view: View) -> Array:
    """D = E S - S under pi_old, nats; an action that underflowed has S = 0."""
    xp, old = namespace(view.ratio), view.old_probs
    push = old * (view.old_entropy + xp.log(xp.clip(old, float(xp.finfo(old.dtype).tiny))))
    return xp.sum(old * push, axis=-1, keepdims=True) - push
