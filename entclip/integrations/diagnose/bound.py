"""How entropy moved over a log, in a word, and the most that each side of the clip can have done to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.integrations.diagnose.effect import Course, course, effects_at, logged_entropy, side_shares, update_counts
from entclip.integrations.diagnose.noise_sizes import widths_doubted
from entclip.integrations.diagnose.run import Run

__all__ = ["Most", "course_per_token", "most_of", "moved"]

_COLLAPSE = 0.5  # of the entropy at the start
_SMALL = 0.03  # of the entropy: a change that nobody asks about
_AWAY = 0.2  # of the entropy at the start: how far it must have been in between to have gone and returned
_TOKEN = 12.5  # nats: no entropy of one token is larger


@dataclass(frozen=True)
class Most:
    """What each side can have done over the whole log, nats, from the least to the most of the stated laws and of the updates
    that a rollout may have, each two standard errors of the logged share further out.

    The low side can only raise entropy by it, the high side lower it, where their gaps are positive (T6). rollouts: in which the
    clip acted, None where nobody knows how many updates a rollout has; updates: the numbers that were taken.
    """

    low: tuple[float, float]
    high: tuple[float, float]
    rollouts: float | None
    merged: bool
    updates: tuple[int, ...]

    def tells(self, side: str, change: float) -> bool:
        """Tell whether the bound of a side excludes anything: one that is no smaller than the change itself does not."""
        return float(getattr(self, side)[1]) < abs(change)


def most_of(run: Run) -> Most | None:
    """Return the bounds on both sides; None where the log lacks what they take (`effects_at`)."""
    shares, counts = side_shares(run), update_counts(run)
    found = {count: effects_at(run, count) for count in counts}
    if shares is None or widths_doubted(run) or not all(found.values()):
        return None
    each_side: list[list[float]] = [[], []]
    acting = float(run.acting.mean())
    for count, laws in found.items():
        rollouts = (run.rollouts if run.rollouts is not None else run.log.rows * run.stride / count) * acting
        for effect in laws or ():
            if min(effect.low, effect.high) < 0:
                return None  # a gap below 0 turns a side's effect round: no bound has the sign that is claimed here
            # Of a merged share either side may have all of it.
            for side, value in zip(each_side, (effect.low, effect.high), strict=True):
                side.append(value * rollouts * (2 if shares.low is None else 1))
    wide = min(2 * (shares.error or 0.0) / shares.total, 1.0)
    low, high = ((min(side) * (1 - wide), max(side) * (1 + wide)) for side in each_side)
    return Most(low, high, None if run.rollouts is None else run.rollouts * acting, shares.low is None, counts)


def moved(course: Course) -> str:
    """Say how entropy went: steady, returns, unclear, rises, collapses or falls."""
    size = max(abs(course.start), 1.0) if course.density else abs(course.start)
    small = _SMALL * size
    if abs(course.change) < small and course.error < 2 * small:
        gone = min(abs(course.away - course.start), abs(course.away - course.end))
        return "returns" if gone > max(_AWAY * size, 5 * course.error) else "steady"
    if not course.certain:
        return "unclear"
    if course.change > 0:
        return "rises"
    return "collapses" if not course.density and course.end < _COLLAPSE * course.start else "falls"


def course_per_token(run: Run) -> Course | None:
    """Return the course of an entropy per token; None where the log has none, or a sum over tokens in its place."""
    x = logged_entropy(run)
    if x is None or np.nanmedian(x) > _TOKEN:
        return None
    return course(run)
