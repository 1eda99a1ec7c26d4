"""Numbers that several claims share: shares by side, the entropy's course, and what the clip can do to it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from entclip.integrations.diagnose.law import MOST_ENTROPY, POWERS, ClipEffect, clip_effect
from entclip.integrations.diagnose.run import Run, above_rounding

__all__ = [
    "ASSUMED_UPDATES",
    "MOST_UPDATES",
    "Course",
    "SideShares",
    "course",
    "effects",
    "effects_at",
    "end_rows",
    "logged_entropy",
    "pooled_shares",
    "side_shares",
    "update_counts",
]

_ENDS = 0.2  # of the rows, at either end
ASSUMED_UPDATES = 16  # of a rollout, where one number has to stand for those that are possible
MOST_UPDATES = 64  # beyond it nothing changes


@dataclass(frozen=True)
class SideShares:
    """Sign-gated shares, means over the rows; low and high None where the log merges them. error: of the total."""

    low: float | None
    high: float | None
    total: float
    error: float | None
    rows: int


@dataclass(frozen=True)
class Course:
    """Entropy at the start and the end of a log: means of the first and the last fifth of the rows; change and its error.

    away: of the fifths between them the mean that is farthest from both. density: whether it is that of a density, as some value
    is negative, so that halves of it mean nothing.
    """

    start: float
    end: float
    change: float
    error: float
    away: float
    density: bool

    @property
    def certain(self) -> bool:
        """Tell whether the change can be told from the scatter of the rows."""
        return abs(self.change) > 4 * self.error


def side_shares(run: Run) -> SideShares | None:
    """Return the shares of clip events where the clip acts; None where the log has none, or they are no shares."""
    sides: list[float | None] = [None, None]
    x = _total(run)
    if x is None:
        return None
    finite = x[np.isfinite(x)]
    if finite.size == 0 or finite.min() < 0 or finite.max() > 1:
        return None
    if run.has("clip_low") and run.has("clip_high"):
        sides = [run.averaged(np.where(np.isfinite(x), run.get(side), np.nan))[0] for side in ("clip_low", "clip_high")]
    mean, error = run.averaged(x)
    return SideShares(sides[0], sides[1], mean, error, int(finite.size))


def pooled_shares(run: Run) -> np.ndarray | None:
    """Return the share of both sides by rollout where rows are updates of one, else by row; None where the log has none."""
    x = _total(run)
    return None if x is None else run.rollout_means(x)


def _total(run: Run) -> np.ndarray | None:
    """Sign-gated share of both sides, by row, where the clip acts."""
    if not run.counts_bounds:
        return None
    if run.has("clip_low") and run.has("clip_high"):
        both = run.get("clip_low") + run.get("clip_high")
    elif run.has("clip_merged"):
        both = run.get("clip_merged")
    elif run.has("clip_any"):
        both = run.get("clip_any") / 2
    else:
        return None
    out: np.ndarray = np.where(run.acting, both, np.nan)
    return out


def update_counts(run: Run) -> tuple[int, ...]:
    """Return how many updates a rollout may have: one number where log or configuration tell, else the least, 16 and the most."""
    if run.updates is not None:
        return (run.updates,)
    told = None if run.config is None else run.config.updates
    most = MOST_UPDATES if told is None or told.most is None else int(min(told.most, MOST_UPDATES))
    least = min(max(run.epochs, 2 if told is None else math.ceil(told.least), 2), most)
    return tuple(sorted({least, min(max(ASSUMED_UPDATES, least), most), most}))


def logged_entropy(run: Run) -> np.ndarray | None:
    """Return the entropy of every row, None where the log has none or fewer than 5 numbers."""
    x = run.get("entropy")
    return x if np.isfinite(x).sum() >= 5 else None


def end_rows(count: int) -> int:
    """Return how many of so many rows are an end of the log: a fifth, and two at least."""
    return max(int(count * _ENDS), 2)


def course(run: Run) -> Course | None:
    """Return how entropy went over the rows."""
    x = logged_entropy(run)
    if x is None:
        return None
    x = x[np.isfinite(x)]
    ends = end_rows(len(x))
    start, end = float(x[:ends].mean()), float(x[-ends:].mean())
    between = [float(part.mean()) for part in np.array_split(x, round(1 / _ENDS))[1:-1] if part.size]
    away = max(between, key=lambda mean: min(abs(mean - start), abs(mean - end)), default=start)
    error = above_rounding(max(_jumps(x, ends), _bends(x, ends)) * math.sqrt(2 / ends), x)
    return Course(start, end, above_rounding(end - start, x), error, away, not run.library.tokens and float(x.min()) < 0)


def _jumps(x: np.ndarray, ends: int) -> float:
    """Scatter from row to row, a steady drift taken off: the usual one, and the largest at an end. One leap is no scatter."""
    steps = np.diff(x)
    usual = 1.4826 * float(np.median(np.abs(steps - np.median(steps))))  # the standard deviation of normal steps
    own = [float(np.std(part, ddof=1)) for part in (steps[: ends - 1], steps[1 - ends :]) if part.size > 1]
    return max(usual, *own, 0.0) / math.sqrt(2)


def _bends(x: np.ndarray, ends: int) -> float:
    """Scatter about a line through either end; 0 where they are too short to tell."""
    if ends < 6:
        return 0.0
    t = np.arange(ends)
    rests = [part - np.polyval(np.polyfit(t, part, 1), t) for part in (x[:ends], x[-ends:])]
    return math.sqrt(float(np.mean(np.concatenate(rests) ** 2)) * ends / (ends - 2))


def effects(run: Run) -> tuple[ClipEffect, ...] | None:
    """Return the same as `effects_at` for the updates per rollout that are known, or 16."""
    return effects_at(run, run.updates or ASSUMED_UPDATES)


@lru_cache(maxsize=16)
def effects_at(run: Run, updates: int) -> tuple[ClipEffect, ...] | None:
    """Return what each side can do to entropy in a rollout under each noise law; None where it cannot be said.

    Needs clip shares, an entropy per token of a language model, and widths of token ratios; a merged share is halved.
    """
    shares, widths, x = side_shares(run), run.widths, logged_entropy(run)
    if shares is None or widths is None or x is None or run.ratio_to != "old" or not shares.total > 0:
        return None
    there = x[run.acting & np.isfinite(x)]
    entropy = float(np.mean(there)) if there.size else float(np.nanmean(x))
    if not 0.003 < entropy <= MOST_ENTROPY or updates < 2 or not run.library.tokens:
        return None
    low = shares.low if shares.low is not None else shares.total / 2
    high = shares.high if shares.high is not None else shares.total / 2
    # A side without a single event is off, whatever its width is assumed to be.
    width_low, width_high = (widths.low if low > 0 else 1.0), (widths.high if high > 0 else math.inf)
    found = [clip_effect(entropy, low, high, width_low, width_high, updates, power) for power in POWERS]
    return tuple(effect for effect in found if effect is not None) or None
