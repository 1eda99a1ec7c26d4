"""Clip widths: their limits, which ratios lie beyond them, and what several objectives make of those."""

from __future__ import annotations

import math

from entclip.objectives.base import Change, Objective, View
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace
from entclip.support.rewording import dataclass

__all__ = ["Bounded", "check_widths", "nowhere", "outside", "truncated", "weighted_clip", "width_of_clip"]


def check_widths(kind: str, low: float, high: float, of: str = "") -> None:
    """Raise ValueError unless low is in [0, 1] and high is at least 0; of: what follows these words in their names."""
    interval = f"so the interval is [1 - low{of}, 1 + high{of}]"
    if not 0 <= low <= 1:
        raise ValueError(f"{kind}.low{of} must be in [0, 1], got {low}: it is the width below 1, {interval}; 1 switches it off.")
    if not high >= 0:
        above = f"it is the width above 1, {interval}; inf switches it off."
        raise ValueError(f"{kind}.high{of} must be at least 0, got {high}: {above}")


@dataclass()
class Bounded(Objective):
    """An objective that leaves ratios in [1 - low, 1 + high], both bounds included, as they are."""

    low: float = 0.2
    high: float = 0.2

    def __post_init__(self) -> None:
        check_widths(getattr(self, "kind", type(self).__name__), self.low, self.high)  # one of a user's own may have no kind

    @property
    def idle(self) -> tuple[float, float]:
        return 1 - self.low, 1 + self.high


def outside(view: View, low: Array | float, high: Array | float) -> tuple[Array, Array]:
    """Return r < 1 - low and r > 1 + high, both strict: a ratio on a bound is not clipped. Widths may differ by action."""
    return view.ratio < 1 - low, view.ratio > 1 + high


def nowhere(view: View) -> tuple[Array, Array]:
    """Return two empty sets."""
    never = view.ratio < 0
    return never, never


def width_of_clip(low: float, high: float) -> float:
    """Say how far the ratio moves until one of the two sides acts; inf where both are off."""
    return min((width for width in (low, high) if width < 1), default=math.inf)


def weighted_clip(view: View, low: float, high: float, plus: float, minus: float) -> Change:
    """Return the clip, with a factor on samples with A > 0 and one on those with A < 0."""
    xp, dtype = namespace(view.ratio), view.ratio.dtype
    below, above = outside(view, low, high)
    return Change.of(plus * xp.astype(~above, dtype), minus * xp.astype(~below, dtype), below, above)


def truncated(view: View, cap: float) -> Change:
    """Return the detached weight min(r, cap) A of either sign; nothing is below."""
    xp, ratio = namespace(view.ratio), view.ratio
    never, above = ratio < 0, ratio > cap
    # An infinite cap is passed by none; without this test the gradient of the branch not taken would be 0 times inf.
    gain = xp.where(above, cap / ratio, xp.ones_like(ratio)) if cap < math.inf else xp.ones_like(ratio)
    return Change.of(gain, gain, never, above, gated=False)
