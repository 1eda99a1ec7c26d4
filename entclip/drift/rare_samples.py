"""How far single samples make the curvature of natural steps scatter: an error that theory knows and a run may not see. Claim T8.

A natural step divides by the probability of the sampled action. Where that is small, the expected curvature is carried by samples
that a run may never draw: what it has drawn then scatters little, about a value far from the mean.
"""

from __future__ import annotations

import math

from entclip.drift.actions import single_bend
from entclip.drift.first_order import GivenAction, _like
from entclip.objectives.base import Change
from entclip.policies.softmax import Array
from entclip.support.namespace import namespace

__all__ = ["LARGEST", "fourth_moment", "rare_sample_variance"]

LARGEST = 1e300  # stands for every variance that float64 cannot hold
_STEEPEST = 1e100  # of a squared gain; beyond it the variance is the largest anyway


def rare_sample_variance(
    log_probs: Array,
    old_log_probs: Array,
    entropy: Array,
    fourth: Array,
    *,
    learning_rate: float,
    batch: int,
    visits: Array | None = None,
    number: Array | None = None,
) -> Array:
    """Return the variance that single samples give the curvature of one natural step, (...), nats^2.

    A sample of action a moves its logit by eta A g/(B pi0_a), which is worth y_a = (eta A g)^2 Hess_aa/(2 B^2 pi0_a^2) nats of
    curvature (T8's trace is the mean of their sum). About B pi0_a such samples are drawn, nearly a Poisson number, so that

        sum_a B pi0_a E[y_a^2] = eta^4/(4 B^3) sum_a r_a^2 [x + 1 - pi (2 x + 1)]^2 g^4 E[A^4 | a] / pi0_a,   x = log pi + H.

    This is E[y^2] of one sample where B = 1, and less than the whole variance otherwise: products of two samples add to it.

    Args:
        log_probs, old_log_probs, entropy: log pi and log pi_old, (..., V), and H, (...).
        fourth: E[(c/r)^4 | a] of one sample, g^4 E[A^4 | a], (..., V); see `fourth_moment`.
        visits: d(s), the probability that a sample visits this prefix, (...): its steps are divided by it. None: 1.
        number: how many actions each entry of the last axis stands for, (..., V). None: 1.
    Returns: at most 1e300, which stands for every larger value.
    """
    xp = namespace(log_probs)
    probs, x = xp.exp(log_probs), log_probs + entropy[..., None]
    # In logarithms: pi_old below 1e-308 is no float, and its inverse is what counts.
    form = xp.abs(single_bend(x, probs))
    tiny = xp.finfo(log_probs.dtype).tiny
    size = 2 * (log_probs - old_log_probs + xp.log(xp.maximum(form, tiny))) - old_log_probs + xp.log(xp.maximum(fourth, tiny))
    many = xp.ones_like(size) if number is None else number
    size = xp.where(many != 0, size, -math.inf)
    top = xp.max(size, axis=-1, keepdims=True)
    total = top[..., 0] + xp.log(xp.maximum(xp.sum(many * xp.exp(size - top), axis=-1), tiny))
    total = total + (4 * math.log(learning_rate) - math.log(4) - 3 * math.log(batch))
    if visits is not None:
        total = total - 3 * xp.log(xp.maximum(visits, tiny))
    return xp.exp(xp.clip(total, -700.0, math.log(LARGEST)))


def fourth_moment(change: Change, moments: GivenAction) -> Array:
    """Return E[(c/r)^4 | a], or what bounds it, (..., V).

    With extra weights x the bound (|A g|_4 + |x|_4)^4 is taken, |.|_4 the fourth root of a mean fourth power.
    """
    xp, gains = namespace(change.gains.plus), change.gains
    up, down = (xp.clip(g, 0.0, _STEEPEST) ** 2 for g in (gains.plus_sq, gains.minus_sq))
    up, down = up * _like(moments.by_action("plus_fourth"), up), down * _like(moments.by_action("minus_fourth"), down)
    if change.extra_plus is not None:
        extra = (xp.clip(xp.abs(x), 0.0, _STEEPEST**0.5) for x in (change.extra_plus, change.extra_minus))
        shares = (_like(moments.by_action(name), up) ** 0.25 for name in ("share_plus", "share_minus"))
        up, down = ((x**0.25 + e * p) ** 4 for x, e, p in zip((up, down), extra, shares, strict=True))
    return up + down if change.survival is None else up * change.survival.plus + down * change.survival.minus
