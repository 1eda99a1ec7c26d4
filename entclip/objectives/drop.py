"""A random drop of samples, sign by sign: what its survivors weigh and how their books are kept. Claims T4, T5, T8.

A control run removes samples at random in the share that another arm's clip removed; an objective may drop samples itself, with
chances that differ by action. What the drop does is booked beside what the objective does of the survivors, once for realised
sums and once for expectations.
"""

from __future__ import annotations

from dataclasses import replace

from entclip.objectives.base import Change, Keep, SignedGains, split_by_cause, weights_of
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace

__all__ = ["both_survived", "split_survivors", "surviving"]


def both_survived(own: Keep | None, keep: Keep | None) -> Keep | None:
    """Return the chances that a sample survives both the objective's own drop and a control's; None where nothing is dropped."""
    if own is None or keep is None:
        return keep if own is None else own
    return Keep(own.plus * keep.plus, own.minus * keep.minus)


def surviving(change: Change, keep: Keep | None) -> Change:
    """Return the change with the means of gains and extra weights times a survival coin, and the mean squares of such gains.

    E[x^2] = E[x] for a coin, so the squares carry one factor, too.
    """
    if keep is None:
        return change
    g = change.gains
    kept = SignedGains(g.plus * keep.plus, g.minus * keep.minus, g.plus_sq * keep.plus, g.minus_sq * keep.minus)
    if change.extra_plus is None:
        return replace(change, gains=kept)
    return replace(change, gains=kept, extra_plus=change.extra_plus * keep.plus, extra_minus=change.extra_minus * keep.minus)


def split_survivors(
    change: Change, plus: Array, minus: Array, keep: Keep | None, n_plus: Array = None, n_minus: Array = None
) -> dict[str, Array]:
    """Return the weights c/r by cause from what random drops left of the samples of each action, each (..., V). Claims T4, T5.

    unclipped: the step of all samples, estimated without bias from the survivors, A+/k+ - A-/k-. clip_low, clip_high: what the
    objective changes of the survivors. other: the drop, and every other change. They add up to the survivors' c/r.

    Args:
        plus, minus, n_plus, n_minus: sums over the survivors (see `weights_of`), or their expectations k+ E[A+] and k- E[A-].
        keep: k+ and k-; None where nothing is dropped, which is `split_by_cause`. An objective's own chances are above 0
            (`Change.with_drops`); of samples that a control never keeps nothing is left to estimate from, and neither
            `unclipped` nor `other` has them.
    """
    parts = split_by_cause(change, plus, minus, n_plus, n_minus)
    if keep is None:
        return parts
    unclipped = _before(plus, keep.plus) - _before(minus, keep.minus)
    return parts | {
        "unclipped": unclipped,
        "other": weights_of(change, plus, minus, n_plus, n_minus) - unclipped - parts["clip_low"] - parts["clip_high"],
    }


def _before(survived: Array, chance: Array | float) -> Array:
    """The sum before the drop, estimated from what survived it."""
    if isinstance(chance, float):
        return survived / chance if chance > 0 else survived
    xp = namespace(survived)
    return survived / xp.where(chance > 0, chance, xp.ones_like(chance))
