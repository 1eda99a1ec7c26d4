"""Clip-Cov: a few of the samples whose advantage and log-probability vary together have no gradient."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.widths import check_widths, outside
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["ClipCov", "covariances", "sample_means"]


@dataclass()
class ClipCov(Objective):
    """Clip-Cov drops samples at random among those whose covariance of advantage and log-probability lies between two bounds.

    :Formula: Cov = (A - mean A)(log pi - mean log pi), means over the samples. Of those that the clip keeps with lower < Cov <
        upper as many are dropped as make up `ratio` of all, all if there are fewer: each by a coin of the same chance.
    :Source: [C] PRIME-RL/Entropy-Mechanism-of-RL and verl; arXiv:2505.22617.
    :Defaults: ratio 2e-4, lower 1, upper 5; low and high 1 of the authors' scripts, which do not lean on the ratio clip.
    :Needs: the advantage of each sample, means over samples, and samples that it may drop. source says what the means are made
        of: "policies", "previous" (the minibatch before) or "batch", this minibatch, as published.
    :Random reward: up from r = 1 on: what it drops varies with the action and differs between the two signs.
    :True reward: up: what it drops lowers entropy.
    :Traps: the code drops max(1, floor(ratio N)) of N samples without replacement, here each by a coin of its own: the same mean.
        Its bounds are for advantages of unit size, and of a micro-batch. verl's pg_clipfrac is then the dropped share. Rare
        actions with a bad advantage have a positive covariance, too. With "batch" what is dropped depends on the samples that
        are drawn: there are no expectations, and the exact engine, which drops before it lists a minibatch, refuses it.
    """

    ratio: float = 2e-4
    lower: float = 1.0
    upper: float = 5.0
    low: float = 1.0
    high: float = 1.0
    source: Source = "policies"
    kind: Literal["clip_cov"] = "clip_cov"
    needs = frozenset({"levels", "statistics", "survival"})

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"clip_cov.ratio must be in [0, 1], got {self.ratio}: it is the share of samples that is dropped.")
        if not self.lower < self.upper:
            raise ValueError(f"clip_cov.lower = {self.lower} must be below clip_cov.upper = {self.upper}: they bound Cov.")

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the means of A and log pi over samples, and the chance that a candidate is dropped."""
        numbers = sample_means(view, share)
        seen = replace(view, statistics={name: x[:, None, None] for name, x in numbers.items()})
        met = np.sum(share * self._candidates(seen), axis=(0, 2, 3))
        return numbers | {"dropped": self.ratio / np.maximum(met, self.ratio or 1.0)}

    def _candidates(self, view: View) -> Array:
        """Samples that may be dropped, (L, ..., V)."""
        cov, (low, high) = covariances(view), outside(view, self.low, self.high)
        clipped = ((view.advantage < 0) & low) | ((view.advantage > 0) & high)
        return (cov > self.lower) & (cov < self.upper) & ~clipped

    def change(self, view: View) -> Change:
        xp = namespace(view.ratio)
        kept = 1 - view.statistics["dropped"] * xp.astype(self._candidates(view), view.ratio.dtype)
        return Change.dropped(view, *outside(view, self.low, self.high)).with_drops(kept, kept)


def sample_means(view: View, share: np.ndarray) -> dict[str, np.ndarray]:
    """Return the means of A and of log pi over samples, (R,) each."""
    means = {"advantage": view.advantage, "log_prob": view.log_probs}
    return {name: np.sum(share * x, axis=(0, 2, 3)) for name, x in means.items()}


def covariances(view: View) -> Array:
    """Return (A - mean A)(log pi - mean log pi) of samples, (L, ..., V), from the means "advantage" and "log_prob"."""
    means = view.statistics
    return (view.advantage - means["advantage"]) * (view.log_probs - means["log_prob"])
