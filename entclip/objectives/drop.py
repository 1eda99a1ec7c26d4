"""A random drop of samples, sign by sign: what its survivors weigh and how their books are kept. Claims T4, T5, T8.

A control run removes samples at random in the share that another arm's clip removed. What the drop does is booked beside what
the control's own objective does, once for realised sums and once for expectations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from entclip.objectives.base import Change, SignedGains, split_by_cause
from entclip.policies.softmax import Array

__all__ = ["Keep", "split_survivors", "surviving"]


class Keep(NamedTuple):
    """Probabilities that a sample with A > 0, with A < 0, survives a random drop."""

    plus: float
    minus: float


def surviving(change: Change, keep: Keep | None) -> Change:
    """Mean and mean square of gain times a survival coin: E[x^2] = E[x] for a coin, so the squares carry one factor, too."""
    if keep is None:
        return change
    g = change.gains
    kept = SignedGains(g.plus * keep.plus, g.minus * keep.minus, g.plus_sq * keep.plus, g.minus_sq * keep.minus)
    return replace(change, gains=kept)


def split_survivors(change: Change, plus: Array, minus: Array, keep: Keep | None) -> dict[str, Array]:
    """Weights c/r by cause from what a random drop left of A+ (plus) and A- (minus) per action, each (..., V). Claims T4, T5.

    unclipped: the step of all samples, estimated without bias from the survivors, A+/k+ - A-/k-. clip_low, clip_high: what the
    objective changes of the survivors. other: the drop, and every other change. They add up to the survivors' c/r.

    Args:
        plus, minus: sums over the survivors, or their expectations k+ E[A+] and k- E[A-].
        keep: k+ and k-; None where nothing is dropped, which is `split_by_cause`. Of a sign that is dropped whole nothing is
            left to estimate from, and neither `unclipped` nor `other` has it.
    """
    parts = split_by_cause(change, plus, minus)
    if keep is None:
        return parts
    unclipped = _before(plus, keep.plus) - _before(minus, keep.minus)
    total = plus * change.gains.plus - minus * change.gains.minus
    return parts | {"unclipped": unclipped, "other": total - unclipped - parts["clip_low"] - parts["clip_high"]}


def _before(survived: Array, chance: float) -> Array:
    """The sum before the drop, estimated from what survived it."""
    return survived / chance if chance > 0 else survived
