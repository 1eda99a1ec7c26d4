"""The kernels of point_sums.py compiled by numba: one unit after the other, a few passes over its points, none over its room.

Central moments come from raw ones, which one pass finds: what cancels costs ulps of the entropy, which bound every column.
Sums are sums of blocks of 128 points, so that a sum of C terms is off by at most 128 + C/128 ulps of its absolute terms.
Results do not depend on the units beside. Exponentials of whole tables are numpy's, which are vectorised.
"""

from __future__ import annotations

import math

import numpy as np

from entclip.engines.reduced.compiled import compiled
from entclip.engines.reduced.point_policy import LEAST, MOST, PADDING
from entclip.engines.reduced.point_sums import PolicySums, StepSums

__all__ = ["largest_third", "measure", "move"]

_BLOCK = 128


@compiled
def _ratios(p, old_p, w, end, ratio, least, most, found, points):
    """Ratios of one unit; the points outside of [least, most] are listed from `found` on. The largest ratio, and the new end."""
    for c in range(end):
        ratio[c] = min(max(p[c] / old_p[c], LEAST), MOST) if old_p[c] > 0 else 1.0
    top = 0.0
    for c in range(end):
        r = ratio[c]
        if not least <= r <= most:
            points[found] = c
            found += 1
        if r > top and w[c] != 0:
            top = r
    return top, found


@compiled
def _euclidean(l, p, old, old_p, w, ratio, end, out):
    """PolicySums but for ratio_max into `out`, from the sums of m pi^k l^j and m pi^k l^j r, m the mass of a point."""
    one = own = q1 = own1 = q2 = own2 = r0 = r1 = r1_own = r2 = r2_own = kl = square = 0.0
    for start in range(0, end, _BLOCK):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = a8 = a9 = a10 = a11 = a12 = 0.0
        for c in range(start, min(start + _BLOCK, end)):
            q, r = p[c], ratio[c]
            m = w[c] * q
            a0 += m
            a1 += m * l[c]
            m1 = m * q
            a2 += m1
            a3 += m1 * l[c]
            m2 = m1 * q
            a4 += m2
            a5 += m2 * l[c]
            a6 += m * r
            m1 *= r
            a7 += m1
            a8 += m1 * l[c]
            m2 *= r
            a9 += m2
            a10 += m2 * l[c]
            log_ratio = l[c] - old[c]
            moved = w[c] * old_p[c] * log_ratio
            a11 -= moved
            a12 += moved * log_ratio
        one += a0
        own += a1
        q1 += a2
        own1 += a3
        q2 += a4
        own2 += a5
        r0 += a6
        r1 += a7
        r1_own += a8
        r2 += a9
        r2_own += a10
        kl += a11
        square += a12
    h = -own
    y = h + 1  # x + 1 = l + y
    s0, s1, s2 = own + y * one, own1 + y * q1, own2 + y * q2
    first = s1 - q1 * s0
    second = s2 - 2 * q1 * s1 + q1 * q1 * s0
    kappa = -(own1 + h * q1)
    spread = -kappa - q1 * (own + h * one)
    form = s2 - q1 * s1 - spread * q1
    # pi (2x + 1) - (x + 1) + 2 (s (x + 1) - E[s x]) is (4 pi - 1 - 2 P2)(x + 1) - pi - 2 E[s x].
    trace = 4 * (r2_own + y * r2) - (1 + 2 * q1) * (r1_own + y * r1) - r2 - 2 * spread * r1 - form * r0
    out[0], out[1], out[2], out[3], out[4], out[5] = h, s0, q1, kappa, first, second
    out[6], out[7], out[8], out[9], out[10] = spread, form, trace, kl, square


@compiled
def _natural(l, p, old, old_p, w, number, ratio, end, out):
    """The same for natural steps."""
    one = own = r0 = r_own = n0 = n_own = kl = square = 0.0
    for start in range(0, end, _BLOCK):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = 0.0
        for c in range(start, min(start + _BLOCK, end)):
            m, r = w[c] * p[c], ratio[c]
            a0 += m
            a1 += m * l[c]
            a2 += m * r
            a3 += m * r * l[c]
            a4 += number[c] * r
            a5 += number[c] * r * l[c]
            log_ratio = l[c] - old[c]
            moved = w[c] * old_p[c] * log_ratio
            a6 -= moved
            a7 += moved * log_ratio
        one += a0
        own += a1
        r0 += a2
        r_own += a3
        n0 += a4
        n_own += a5
        kl += a6
        square += a7
    h = -own
    trace = 2 * (r_own + h * r0) + r0 - n_own - (h + 1) * n0
    out[:] = 0.0
    out[0], out[1], out[8], out[9], out[10] = h, own + (h + 1) * one, trace, kl, square


@compiled
def _measure(log_probs, probs, old_log_probs, old_probs, weight, number, count, euclidean, least, most, out, units, points):
    n, width, found = weight.shape[1], probs.shape[1], 0
    w, numbers, ratio = np.ones(width), np.ones(width), np.empty(width)
    for i in range(len(count)):
        end, before = n + count[i], found
        l, p, old, old_p = log_probs[i], probs[i], old_log_probs[i], old_probs[i]
        for c in range(n):
            w[c] = weight[i, c]
        top, found = _ratios(p, old_p, w, end, ratio, least, most, found, points)
        for c in range(before, found):
            units[c] = i
        if euclidean:
            _euclidean(l, p, old, old_p, w, ratio, end, out[i])
        else:
            for c in range(n):
                numbers[c] = number[i, c]
            _natural(l, p, old, old_p, w, numbers, ratio, end, out[i])
        out[i, 11] = top
    return found


def measure(
    log_probs: np.ndarray,
    probs: np.ndarray,
    old_log_probs: np.ndarray,
    old_probs: np.ndarray,
    weight: np.ndarray,
    number: np.ndarray,
    count: np.ndarray,
    euclidean: bool,
    idle: tuple[float, float],
) -> tuple[PolicySums, np.ndarray, np.ndarray]:
    out = np.empty((len(count), len(PolicySums._fields)))
    unit, point = np.empty((2, probs.size), dtype=np.int64)
    found = _measure(
        log_probs, probs, old_log_probs, old_probs, weight, number, count, euclidean, idle[0], idle[1], out, unit, point
    )
    return PolicySums(*np.ascontiguousarray(out.T)), unit[:found], point[:found]


@compiled
def _start(l, p, d, w, end, entropy):
    """E d, <grad H, d> and the sum of the absolute terms of that."""
    mean = inner = scale = 0.0
    for start in range(0, end, _BLOCK):
        a0 = a1 = a2 = 0.0
        for c in range(start, min(start + _BLOCK, end)):
            moved = w[c] * p[c] * d[c]
            own = moved * (l[c] + entropy)
            a0 += moved
            a1 -= own
            a2 += abs(own)
        mean += a0
        inner += a1
        scale += a2
    return mean, inner, scale


@compiled
def _slopes(l, p, d, w, end, middle):
    """Z, H, its second and third derivative along d, and Var d, at logits l (c,) with p = e^l, from moments of d - middle.

    The nearer to E d the middle is, the less cancels.
    """
    z = own = m1 = own1 = m2 = own2 = m3 = own3 = 0.0
    for start in range(0, end, _BLOCK):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = 0.0
        for c in range(start, min(start + _BLOCK, end)):
            e, m = d[c] - middle, w[c] * p[c]
            a0 += m
            a1 += m * l[c]
            m *= e
            a2 += m
            a3 += m * l[c]
            m *= e
            a4 += m
            a5 += m * l[c]
            m *= e
            a6 += m
            a7 += m * l[c]
        z += a0
        own += a1
        m1 += a2
        own1 += a3
        m2 += a4
        own2 += a5
        m3 += a6
        own3 += a7
    own, m1, own1, m2, own2, m3, own3 = own / z, m1 / z, own1 / z, m2 / z, own2 / z, m3 / z, own3 / z
    # E[(e - m1)^k (l - own)] from E[e^k l] and E[e^k].
    c1 = own1 - own * m1
    c2 = own2 - own * m2 - 2 * m1 * c1
    c3 = own3 - own * m3 - 3 * m1 * (own2 - own * m2) + 3 * m1 * m1 * c1
    variance, cube = m2 - m1 * m1, m3 - 3 * m1 * m2 + 2 * m1 * m1 * m1
    return z, math.log(z) - own, -c2 - variance, -(c3 - 3 * c1 * variance) - 2 * cube, variance


@compiled
def _mean(p, w, x, end):
    total = 0.0
    for start in range(0, end, _BLOCK):
        a = 0.0
        for c in range(start, min(start + _BLOCK, end)):
            a += w[c] * p[c] * x[c]
        total += a
    return total


@compiled
def _lower(logits, probs, w, end):
    """Take the largest off logits (c,) and their exponentials (c,), and return it: for a logit beyond float64's exp."""
    top = -math.inf
    for c in range(end):
        if w[c] != 0:
            top = max(top, logits[c])
    for c in range(end):
        logits[c] -= top
        probs[c] = math.exp(min(logits[c], 0.0))  # points without weight may lie above
    return top


@compiled
def _move(log_probs, probs, step, weight, count, entropy, logits, new, shift, out):
    n, width = weight.shape[1], probs.shape[1]
    w = np.ones(width)
    for i in range(len(count)):
        end, l, p = n + count[i], logits[i], new[i]
        for c in range(n):
            w[c] = weight[i, c]
        mean, inner, scale = _start(log_probs[i], probs[i], step[i], w, end, entropy[i])
        _, _, second, third, variance = _slopes(log_probs[i], probs[i], step[i], w, end, mean)
        z, after, _, end_third, _ = _slopes(l, p, step[i], w, end, mean)
        shift[i] = 0.0
        if not 1e-200 < z < 1e200:
            shift[i] = _lower(l, p, w, end)
            z, after, _, end_third, _ = _slopes(l, p, step[i], w, end, mean)
        log_z = math.log(z)
        shift[i] += log_z
        for c in range(end):
            l[c] -= log_z
            p[c] /= z
        for c in range(end, width):
            l[c], p[c] = PADDING, 0.0
        out[0, i], out[1, i], out[2, i], out[3, i] = after, second, third, end_third
        out[4, i], out[5, i], out[6, i] = variance, inner, scale


def move(
    log_probs: np.ndarray, probs: np.ndarray, step: np.ndarray, weight: np.ndarray, count: np.ndarray, entropy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, StepSums]:
    logits = log_probs + step
    new, shift, out = np.exp(logits), np.empty(len(count)), np.empty((len(StepSums._fields), len(count)))
    _move(log_probs, probs, step, weight, count, entropy, logits, new, shift, out)
    return logits, new, shift, StepSums(*out)


@compiled
def largest_third(
    log_probs: np.ndarray, step: np.ndarray, weight: np.ndarray, count: np.ndarray, points: int
) -> tuple[np.ndarray, np.ndarray]:
    n, width = weight.shape[1], step.shape[1]
    largest, smallest = np.zeros(len(count)), np.full(len(count), np.inf)
    l, p, w, ones = np.empty(width), np.empty(width), np.ones(width), np.ones(width)
    for i in range(len(count)):
        end = n + count[i]
        for c in range(n):
            w[c] = weight[i, c]
        for k in range(points):
            for c in range(end):
                l[c] = log_probs[i, c] + k / (points - 1) * step[i, c]
                p[c] = math.exp(l[c])
            z = _mean(p, w, ones, end)
            if not 1e-200 < z < 1e200:
                _lower(l, p, w, end)
                z = _mean(p, w, ones, end)
            third = abs(_slopes(l, p, step[i], w, end, _mean(p, w, step[i], end) / z)[3])
            largest[i], smallest[i] = max(largest[i], third), min(smallest[i], third)
    return largest, smallest
