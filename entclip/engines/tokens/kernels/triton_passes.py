# mypy: disable-error-code="no-untyped-def,untyped-decorator"
"""The triton kernels that fused.py launches: a dense pass over tiles of one row, and the slots of one row."""

from __future__ import annotations

import triton
import triton.language as tl

__all__ = ["dense", "sparse"]


@triton.jit
def _gains(kind: tl.constexpr, ratio, p0, scalars):
    """Gains for A > 0 and A < 0 and the sets LOW and HIGH of objective.py; scalars: float64 scalars in its dtype."""
    a = tl.load(scalars).to(ratio.dtype)
    b = tl.load(scalars + 1).to(ratio.dtype)
    c = tl.load(scalars + 2).to(ratio.dtype)
    d = tl.load(scalars + 3).to(ratio.dtype)
    one = tl.full(ratio.shape, 1.0, ratio.dtype)
    zero = tl.zeros(ratio.shape, ratio.dtype)
    if kind == 0 or kind == 4:
        low = ratio < 0
        high = ratio < 0
    elif kind == 6:
        change = p0 * (ratio - 1)
        low = change < -a
        high = change > a
    else:
        low = ratio < 1 - a
        high = ratio > 1 + b
    plus = one
    minus = one
    if kind == 1 or kind == 6:
        plus = tl.where(high, zero, one)
        minus = tl.where(low, zero, one)
    elif kind == 2:
        plus = tl.where(high, zero, one)
        minus = tl.where(low | (ratio > c), zero, one)
    elif kind == 3:
        plus = tl.minimum(tl.maximum(ratio, 1 - a), 1 + b) / ratio
        minus = plus
    elif kind == 4:
        away = tl.abs(ratio - 1)
        grow = tl.exp(-a * away)
        fall = tl.exp(-b * away)
        plus = 4 * grow / ((1 + grow) * (1 + grow))
        minus = 4 * fall / ((1 + fall) * (1 + fall))
    elif kind == 5:
        plus = tl.where(high, d * (1 + b) / ratio, one)
        minus = tl.where(low, c * (1 - a) / ratio, one)
    return plus, minus, low, high


@triton.jit
def _less(theta, log_z):
    """theta - log Z with a float64 log Z in two parts: casting it would shift every x by half an ulp of log Z."""
    head = log_z.to(theta.dtype)
    return (theta - head) - (log_z - head.to(tl.float64)).to(theta.dtype)


@triton.jit
def dense(
    logits,
    old,
    m_table,
    v_table,
    rows,
    scalars,
    partials,
    extremes,
    limit,
    V: tl.constexpr,
    BLOCK: tl.constexpr,
    TILES: tl.constexpr,
    ROW: tl.constexpr,
    SUMS: tl.constexpr,
    STEP: tl.constexpr,
    VIEW: tl.constexpr,
    KIND: tl.constexpr,
    GATED: tl.constexpr,
    NATURAL: tl.constexpr,
    COUPLED: tl.constexpr,
):
    """Run one program: TILES tiles of one row. STEP 0 none, 1 euclidean, 2 adam; VIEW 0 none, 1 RATIO, 2 RATIO and EXPECTED.

    rows (T, ROW) float64: log Z, H, pull, log Z_old, eta/(1 - b1^t), decay factor. scalars float64: four of the objective, four
    moments, then b1, b2, 1/(1 - b2^t), eps, decay. partials (T, programs, SUMS) float64, extremes (T, programs, 4).
    """
    row = tl.program_id(0).to(tl.int64)
    part = tl.program_id(1)
    log_z = tl.load(rows + row * ROW)
    dtype = logits.dtype.element_ty
    entropy = tl.load(rows + row * ROW + 1).to(dtype)
    pull = tl.load(rows + row * ROW + 2).to(dtype)
    lanes = tl.arange(0, BLOCK)
    zero = tl.zeros((BLOCK,), dtype)
    s0, s1, p2, p3, c2, c3, ca = zero, zero, zero, zero, zero, zero, zero
    pl, ph, vl, vh, kl, sq = zero, zero, zero, zero, zero, zero
    gl, gvl, gh, gvh, ta, tb, tc, td = zero, zero, zero, zero, zero, zero, zero, zero
    hp, hm, ep, em, lp, lm = zero, zero, zero, zero, zero, zero
    qpp, qpm, qmm, wpp, wpm, wmm = zero, zero, zero, zero, zero, zero
    xp, xm, yp, ym = zero, zero, zero, zero
    d1, d2, l1, l2, ia, pp, mo, wd = zero, zero, zero, zero, zero, zero, zero, zero
    top = zero - float("inf")
    step_max = zero - float("inf")
    step_min = zero + float("inf")
    for tile in range(TILES):
        at = (part * TILES + tile) * BLOCK + lanes
        inside = at < V
        where = row * V + at
        theta = tl.load(logits + where, mask=inside, other=0.0)
        x = _less(theta, log_z)
        p = tl.where(inside, tl.exp(x), 0.0)
        k = x + entropy
        square = p * p
        c2 += square * k
        if STEP != 2:
            p2 += square
            p3 += square * p
            c3 += square * p * k
            ca += square * tl.abs(k)
        if VIEW > 0:
            x0 = _less(tl.load(old + where, mask=inside, other=0.0), tl.load(rows + row * ROW + 3))
            p0 = tl.where(inside, tl.exp(x0), 0.0)
            log_ratio = x - x0
            ratio = tl.exp(tl.minimum(tl.maximum(log_ratio, -limit), limit))
            top = tl.maximum(top, tl.where(inside, log_ratio, -float("inf")))
            kl -= p0 * log_ratio
            sq += p0 * log_ratio * log_ratio
            plus, minus, low, high = _gains(KIND, ratio, p0, scalars)
            p_low = tl.where(low, p, 0.0)
            p_high = tl.where(high, p, 0.0)
            pl += p_low
            ph += p_high
            b = p
            if NATURAL:
                b = zero + 1.0
            value = -b * k
            vl += p_low * value
            vh += p_high * value
            if VIEW == 2:
                m_plus = tl.load(scalars + 4).to(dtype)
                m_minus = tl.load(scalars + 5).to(dtype)
                gp = plus - 1
                gm = minus - 1
                up = m_plus * gp
                down = -m_minus * gm
                if GATED:
                    by_low = p_low * down
                    by_high = p_high * up
                else:
                    by_low = p_low * (up + down)
                    by_high = p_high * (up + down)
                gl += by_low
                gh += by_high
                gvl += by_low * value
                gvh += by_high * value
                energy = tl.load(scalars + 6).to(dtype) * plus * plus + tl.load(scalars + 7).to(dtype) * minus * minus
                diagonal = k + 1 - p * (2 * k + 1)
                eu = b * gp
                ed = b * gm
                pu = p * eu
                pd = p * ed
                ep += pu
                em += pd
                lp += pu * k
                lm += pd * k
                qpp += pu * eu
                qpm += pu * ed
                qmm += pd * ed
                wpp += pu * eu * k
                wpm += pu * ed * k
                wmm += pd * ed * k
                if NATURAL:
                    hp += pu
                    hm += pd
                    ta -= tl.where(inside, ratio * diagonal * energy, 0.0)
                else:
                    hp += p * gp
                    hm += p * gm
                    omega = p * ratio * energy
                    ta += omega * (2 * p * p * (k + 1) - p * diagonal)
                    tb += omega * p * (k + 1)
                    tc += omega * p
                    td += omega
                    xp += p * pu
                    xm += p * pd
                    yp += p * pu * k
                    ym += p * pd * k
        if STEP == 1:
            moved = theta + pull * p
            tl.store(logits + where, moved, mask=inside)
        if STEP == 2:
            b1 = tl.load(scalars + 8).to(dtype)
            b2 = tl.load(scalars + 9).to(dtype)
            rest1 = tl.load(scalars + 13).to(dtype)
            rest2 = tl.load(scalars + 14).to(dtype)
            rate = tl.load(rows + row * ROW + 4).to(dtype)
            m = tl.load(m_table + where, mask=inside, other=0.0)
            v = tl.load(v_table + where, mask=inside, other=0.0)
            drag = -tl.load(scalars + 12).to(dtype) * theta
            g = pull * p
            if COUPLED:
                g += drag
            new_m = b1 * m + rest1 * g
            new_v = b2 * v + rest2 * g * g
            scale = rate / (tl.sqrt(new_v * tl.load(scalars + 10).to(dtype)) + tl.load(scalars + 11).to(dtype))
            if COUPLED:
                shrink = rest1 * scale * drag
                d = scale * new_m
            else:
                shrink = tl.load(rows + row * ROW + 5).to(dtype) * drag
                d = scale * new_m + shrink
            slope = -p * k
            d1 += p * d
            d2 += p * d * d
            l1 += p * k * d
            l2 += p * k * d * d
            ia += tl.abs(slope * d)
            pp += rest1 * scale * slope * p
            mo += scale * slope * b1 * m
            wd += slope * shrink
            step_max = tl.maximum(step_max, tl.where(inside, d, -float("inf")))
            step_min = tl.minimum(step_min, tl.where(inside, d, float("inf")))
            moved = theta + d
            tl.store(logits + where, moved, mask=inside)
            tl.store(m_table + where, new_m, mask=inside)
            tl.store(v_table + where, new_v, mask=inside)
        if STEP > 0:
            y = _less(moved, log_z)
            q = tl.where(inside, tl.exp(y), 0.0)
            s0 += q
            s1 += q * y
    out = partials + (row * tl.num_programs(1) + part) * SUMS
    f = tl.float64
    # In the order of fused._sum_names: NEXT, then POWERS or ADAM, RATIO, EXPECTED.
    n: tl.constexpr = 0 if STEP == 0 else 2
    if STEP > 0:
        tl.store(out, tl.sum(s0.to(f), 0))
        tl.store(out + 1, tl.sum(s1.to(f), 0))
    if STEP == 2:
        tl.store(out + n, tl.sum(d1.to(f), 0))
        tl.store(out + n + 1, tl.sum(d2.to(f), 0))
        tl.store(out + n + 2, tl.sum(l1.to(f), 0))
        tl.store(out + n + 3, tl.sum(l2.to(f), 0))
        tl.store(out + n + 4, tl.sum(ia.to(f), 0))
        tl.store(out + n + 5, tl.sum(pp.to(f), 0))
        tl.store(out + n + 6, tl.sum(mo.to(f), 0))
        tl.store(out + n + 7, tl.sum(wd.to(f), 0))
        tl.store(out + n + 8, tl.sum(c2.to(f), 0))
    else:
        tl.store(out + n, tl.sum(p2.to(f), 0))
        tl.store(out + n + 1, tl.sum(p3.to(f), 0))
        tl.store(out + n + 2, tl.sum(c2.to(f), 0))
        tl.store(out + n + 3, tl.sum(c3.to(f), 0))
        tl.store(out + n + 4, tl.sum(ca.to(f), 0))
    w: tl.constexpr = n + 9 if STEP == 2 else n + 5
    if VIEW > 0:
        tl.store(out + w, tl.sum(pl.to(f), 0))
        tl.store(out + w + 1, tl.sum(ph.to(f), 0))
        tl.store(out + w + 2, tl.sum(vl.to(f), 0))
        tl.store(out + w + 3, tl.sum(vh.to(f), 0))
        tl.store(out + w + 4, tl.sum(kl.to(f), 0))
        tl.store(out + w + 5, tl.sum(sq.to(f), 0))
    if VIEW == 2:
        tl.store(out + w + 6, tl.sum(gl.to(f), 0))
        tl.store(out + w + 7, tl.sum(gvl.to(f), 0))
        tl.store(out + w + 8, tl.sum(gh.to(f), 0))
        tl.store(out + w + 9, tl.sum(gvh.to(f), 0))
        tl.store(out + w + 10, tl.sum(ta.to(f), 0))
        tl.store(out + w + 11, tl.sum(tb.to(f), 0))
        tl.store(out + w + 12, tl.sum(tc.to(f), 0))
        tl.store(out + w + 13, tl.sum(td.to(f), 0))
        tl.store(out + w + 14, tl.sum(hp.to(f), 0))
        tl.store(out + w + 15, tl.sum(hm.to(f), 0))
        tl.store(out + w + 16, tl.sum(ep.to(f), 0))
        tl.store(out + w + 17, tl.sum(em.to(f), 0))
        tl.store(out + w + 18, tl.sum(lp.to(f), 0))
        tl.store(out + w + 19, tl.sum(lm.to(f), 0))
        tl.store(out + w + 20, tl.sum(qpp.to(f), 0))
        tl.store(out + w + 21, tl.sum(qpm.to(f), 0))
        tl.store(out + w + 22, tl.sum(qmm.to(f), 0))
        tl.store(out + w + 23, tl.sum(wpp.to(f), 0))
        tl.store(out + w + 24, tl.sum(wpm.to(f), 0))
        tl.store(out + w + 25, tl.sum(wmm.to(f), 0))
        tl.store(out + w + 26, tl.sum(xp.to(f), 0))
        tl.store(out + w + 27, tl.sum(xm.to(f), 0))
        tl.store(out + w + 28, tl.sum(yp.to(f), 0))
        tl.store(out + w + 29, tl.sum(ym.to(f), 0))
    edge = extremes + (row * tl.num_programs(1) + part) * 3
    if VIEW > 0:
        tl.store(edge, tl.max(top, 0).to(f))
    if STEP == 2:
        tl.store(edge + 1, tl.max(step_max, 0).to(f))
        tl.store(edge + 2, tl.max(-step_min, 0).to(f))


@triton.jit
def sparse(logits, actions, push, count, norms, out, V: tl.constexpr, B: tl.constexpr, BLOCK: tl.constexpr):
    """Run one program: the slots of one row, in float64. norms (T, 3): log Z, H, error; out likewise, of the new policy."""
    row = tl.program_id(0).to(tl.int64)
    log_z = tl.load(norms + row * 3)
    entropy = tl.load(norms + row * 3 + 1)
    error = tl.load(norms + row * 3 + 2)
    used = tl.load(count + row)
    change = tl.zeros((BLOCK,), tl.float64)
    first = tl.zeros((BLOCK,), tl.float64)
    size = tl.zeros((BLOCK,), tl.float64)
    for start in range(0, B, BLOCK):
        at = start + tl.arange(0, BLOCK)
        mine = at < used
        where = row * V + tl.load(actions + row * B + at, mask=mine, other=0)
        stored = tl.load(logits + where, mask=mine, other=0.0)
        before = stored.to(tl.float64)
        after = (before + tl.load(push + row * B + at, mask=mine, other=0.0)).to(stored.dtype)
        tl.store(logits + where, after, mask=mine)
        delta = tl.where(mine, after.to(tl.float64) - before, 0.0)
        x = before - log_z
        p = tl.where(mine, tl.exp(x), 0.0)
        # expm1: the series below 1e-5, where subtracting 1 would lose digits; its error there is below 1e-17 / 1e-5.
        series = delta * (1 + delta * (0.5 + delta * (1.0 / 6 + delta / 24)))
        grown = p * tl.where(tl.abs(delta) < 1e-3, series, tl.exp(delta) - 1)
        added = grown * (x + delta) + p * delta
        change += grown
        first += added
        size += tl.abs(grown) + tl.abs(added)
    s0 = tl.sum(change, 0)
    s1 = tl.sum(first, 0) - entropy
    log_s0 = tl.log(1 + s0)
    rounding = 8 * 2.220446049250313e-16 * (1 + entropy + tl.sum(size, 0))
    tl.store(out + row * 3, log_z + log_s0)
    tl.store(out + row * 3 + 1, log_s0 - s1 / (1 + s0))
    tl.store(out + row * 3 + 2, (error + rounding) / tl.minimum(1 + s0, 1.0))
