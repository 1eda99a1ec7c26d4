"""BAPO: the clip widens until samples with A > 0 carry a share of what is not dropped."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from entclip.objectives.base import Change, Objective, Source, View
from entclip.objectives.widths import check_widths
from entclip.support.rewording import dataclass

__all__ = ["Bapo"]

_MOST_TRIED = 10_000


@dataclass()
class Bapo(Objective):
    """BAPO clips at the first widths, on a path of widening ones, whose positive share of the loss reaches `target`.

    :Formula: the clip at 1 - low and 1 + high; from (low, high) on, high grows by high_step up to high_end, then low shrinks by
        low_step down to low_end, until the sum of pi_old r A over kept samples with A > 0 is at least `target` of that of
        pi_old r |A| over all kept ones. The paper's c_low is 1 - low, its c_high 1 + high.
    :Source: [S] arXiv:2510.18927 (ICLR 2026); [C] WooooDyy/BAPO, whose criterion (positive over negative sum, without pi), order
        (low first) and constants are others.
    :Defaults: the paper's: target .4; c_low .6 to .9 in steps of .02, c_high 1.2 to 3 in steps of .05.
    :Needs: the advantage of each sample, and sums over samples. source says of which: "policies", "previous" (the minibatch
        before) or "batch", this minibatch, as published.
    :Random reward: none while r = 1. Then as the clip with those widths: up against narrower ones.
    :True reward: as the clip with those widths.
    :Traps: whether samples that the clip drops count in the share was not seen: here they do not. With "batch" the widths depend
        on the samples that they weigh, and there are no expectations.
    """

    target: float = 0.4
    low: float = 0.4
    low_end: float = 0.1
    low_step: float = 0.02
    high: float = 0.2
    high_end: float = 2.0
    high_step: float = 0.05
    source: Source = "policies"
    kind: Literal["bapo"] = "bapo"
    needs = frozenset({"levels", "statistics"})
    hard = True

    def __post_init__(self) -> None:
        check_widths(self.kind, self.low, self.high)
        if not 0 <= self.target <= 1:
            raise ValueError(f"bapo.target must be in [0, 1], got {self.target}: it is a share of the loss.")
        if not (0 <= self.low_end <= self.low and self.high <= self.high_end < math.inf):
            raise ValueError(
                f"bapo goes from low = {self.low} down to low_end = {self.low_end} and from high = {self.high} up to high_end = "
                f"{self.high_end}: the ends are on the wrong side."
            )
        if not (0 < self.low_step < math.inf and 0 < self.high_step < math.inf):
            raise ValueError(
                f"bapo.low_step and bapo.high_step must be positive and finite, got {self.low_step} and {self.high_step}."
            )
        tried = (self.low - self.low_end) / self.low_step + (self.high_end - self.high) / self.high_step
        if not tried <= _MOST_TRIED:
            raise ValueError(
                f"bapo.low_step = {self.low_step} and bapo.high_step = {self.high_step} make {tried:.3g} pairs of widths, all "
                f"tried in each update: use steps that make at most {_MOST_TRIED:,}."
            )

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low_end, 1 + self.high

    @property
    def path(self) -> list[tuple[float, float]]:
        """Return the pairs of widths that are tried, in their order."""
        ups = math.ceil((self.high_end - self.high) / self.high_step - 1e-9)
        downs = math.ceil((self.low - self.low_end) / self.low_step - 1e-9)
        first = [(self.low, min(self.high + k * self.high_step, self.high_end)) for k in range(ups + 1)]
        return first + [(max(self.low - k * self.low_step, self.low_end), self.high_end) for k in range(1, downs + 1)]

    def statistics(self, view: View, share: np.ndarray) -> dict[str, np.ndarray]:
        """Return the widths in force."""
        each = share * view.old_probs * view.ratio * np.abs(view.advantage)
        up, down = (np.sum(each * (sign * view.advantage > 0), axis=0) for sign in (1, -1))
        low, high = np.full(len(up), math.nan), np.full(len(up), math.nan)
        for narrow, wide in self.path:
            gain = np.sum(up * (view.ratio <= 1 + wide), axis=(1, 2))
            loss = np.sum(down * (view.ratio >= 1 - narrow), axis=(1, 2))
            reached = np.isnan(low) & ((gain >= self.target * (gain + loss)) | ((narrow, wide) == self.path[-1]))
            low, high = np.where(reached, narrow, low), np.where(reached, wide, high)
        return {"low": low, "high": high}

    def change(self, view: View) -> Change:
        widths = view.statistics
        return Change.dropped(view, view.ratio < 1 - widths["low"], view.ratio > 1 + widths["high"])
