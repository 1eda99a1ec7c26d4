"""How entropy moved over a log, in a word, and the most that each side of the clip can have done to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.integrations.diagnose.effect import ASSUMED_UPDATES, Course, course, effects, logged_entropy, side_shares
from entclip.integrations.diagnose.noise_sizes import widths_doubted
from entclip.integrations.diagnose.run import Run

__all__ = ["Most", "course_per_token", "most_of", "moved"]

_COLLAPSE = 0.5  # of the entropy at the start
_SMALL = 0.03  # of the entropy: a change that nobody asks about
_AWAY = 0.2  # of the entropy at the start: how far it must have been in between to have gone and returned
_TOKEN = 12.5  # nats: no entropy of one token is larger


@dataclass(frozen=True)
class Most:
    """What each side can have done over the whole log, nats, from the least to the most of the stated laws, each two standard
    errors of the logged share further out.

    The low side can only raise entropy by it, the high side lower it, where their gaps are positive (T6).
    """

    low: tuple[float, float]
    high: tuple[float, float]
    rollouts: float
    merged: bool

    def tells(self, side: str, change: float) -> bool:
        """Tell whether the bound of a side excludes anything: one that is no smaller than the change itself does not."""
        return float(getattr(self, side)[1]) < abs(change)


def most_of(run: Run) -> Most | None:
    """Return the bounds on both sides; None where the log lacks what they take (`effects`)."""
    found, shares = effects(run), side_shares(run)
    if not found or shares is None or widths_doubted(run):
        return None
    if min(each for effect in found for each in (effect.low, effect.high)) < 0:
        return None  # a gap below 0 turns a side's effect round: no bound has the sign that is claimed here
    # Of a merged share either side may have all of it.
    merged = shares.low is None
    rollouts = run.rollouts if run.rollouts is not None else run.log.rows * run.stride / ASSUMED_UPDATES
    times = rollouts * (2 if merged else 1)
    low, high = ([getattr(effect, side) * times for effect in found] for side in ("low", "high"))
    wide = min(2 * (shares.error or 0.0) / shares.total, 1.0)
    ends = [(min(side) * (1 - wide), max(side) * (1 + wide)) for side in (low, high)]
    return Most(ends[0], ends[1], rollouts, merged)


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
