"""Clip widths: their limits, and which ratios lie beyond them."""

from __future__ import annotations

from entclip.objectives.base import View
from entclip.policies.softmax import Array

__all__ = ["check_widths", "nowhere", "outside"]


def check_widths(low: float, high: float) -> None:
    """ValueError unless low is in [0, 1] and high is at least 0."""
    if not 0 <= low <= 1:
        raise ValueError(
            f"clip.low must be in [0, 1], got {low}: it is the width below 1, so the interval is [1 - low, 1 + high]; "
            "1 switches it off."
        )
    if not high >= 0:
        raise ValueError(
            f"clip.high must be at least 0, got {high}: it is the width above 1, so the interval is [1 - low, 1 + high]; "
            "inf switches it off."
        )


def outside(view: View, low: Array | float, high: Array | float) -> tuple[Array, Array]:
    """r < 1 - low and r > 1 + high, both strict: a ratio exactly on a bound is not clipped. Widths may differ by action."""
    return view.ratio < 1 - low, view.ratio > 1 + high


def nowhere(view: View) -> tuple[Array, Array]:
    """Two empty sets."""
    never = view.ratio < 0
    return never, never
