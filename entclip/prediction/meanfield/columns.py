"""The ledger's columns of one predicted update: T5, T6 and T8 with sums over the population."""

from __future__ import annotations

from typing import Any

import numpy as np

from entclip.policies.softmax import Geometry
from entclip.prediction.meanfield.law import SampleLaw
from entclip.prediction.meanfield.paths import Paths
from entclip.prediction.meanfield.population import Population

__all__ = ["columns_of"]

State = Population | Paths
Array = Any  # a number, or one for each path, (Q, 1)


def columns_of(p: State, new: State, law: SampleLaw, geometry: Geometry, rate: float, batch: int) -> dict[str, float]:
    """Compute the expected parts of the entropy change from p to new; clip sets and fractions before the update. Means over
    paths."""
    x = p.log_probs + p.entropy  # l + H
    kappa = -x if geometry == "natural" else -p.probs * x
    kappa = kappa - p.mean(kappa)
    half = law.moment("plus")  # = E[A-]: the mean of A is 0 and does not depend on the action (T6)
    causes: dict[str, Array] = {"unclipped": 0.0} | {
        name: p.mean(kappa * getattr(p.cells, name)) for name in ("clip_low", "clip_high", "other")
    }
    out: dict[str, Array] = {f"expected_{cause}": rate * half * value for cause, value in causes.items()}
    out["expected_curvature"] = _curvature(p, law, geometry, rate, batch)
    change = new.level - p.level
    out["expected_remainder"] = change - sum(out.values())
    out["expected_measured"] = change
    low, high = p.cells.low, p.cells.high
    # Weights of a set may be slightly negative beside its bound; far out in a tail so may their sum.
    out |= {f"pi_{side}": np.maximum(p.mean(share), 0.0) for side, share in (("low", low), ("high", high))}
    out |= {"mass_low": p.mean(kappa * low), "mass_high": p.mean(kappa * high)}
    acting = {"low": law.chance_minus, "high": law.chance_plus}
    if not p.gated:
        acting = dict.fromkeys(acting, law.chance_minus + law.chance_plus)
    for side, share in (("low", low), ("high", high)):
        out[f"clip_fraction_{side}"] = acting[side] * np.maximum(p.total(p.old_probs * share), 0.0)
    out["kl"] = -p.total(p.old_probs * p.log_ratio)
    out |= {"entropy_before": p.level, "entropy": new.level}
    return {name: float(np.mean(value)) for name, value in out.items()}


def _form(p: State, u: np.ndarray, v: np.ndarray) -> Array:
    """u' Hess(H) v of T1: -E[(u - E u)(v - E v)(l + H + 1)]."""
    return -p.mean((u - p.mean(u)) * (v - p.mean(v)) * (p.log_probs + p.entropy + 1))


def _curvature(p: State, law: SampleLaw, geometry: Geometry, rate: float, batch: int) -> Array:
    """T8 for whole groups: eta^2/2 { T_S/B + (G - 1)/B T_C + (1 - G/B) Q }."""
    g = p.cells
    square = g.plus_sq * law.moment("plus_sq") + g.minus_sq * law.moment("minus_sq")
    x = p.log_probs + p.entropy
    diagonal = x + 1 - p.probs * (2 * x + 1)  # of -Hess, over pi
    up, down = g.plus, g.minus
    if geometry == "natural":
        trace = -p.total(p.ratio * square * diagonal)
    else:
        centred = p.probs - p.mean(p.probs)
        by_probs = -p.probs * (centred * (x + 1) - p.mean(centred * x))
        trace = p.mean(p.ratio * square * (-p.probs * diagonal - 2 * by_probs + p.total(p.probs * by_probs)))
        up, down = (p.probs * (w - p.mean(w)) for w in (up, down))
    mean = law.moment("plus") * up - law.moment("minus") * down
    out = trace / batch + (1 - law.size / batch) * _form(p, mean, mean)
    pair = law.moments.pair
    if pair is not None:
        pp, mm, pm = (float(np.squeeze(m)) for m in (pair.plus_plus, pair.minus_minus, pair.plus_minus))
        shared = pp * _form(p, up, up) + mm * _form(p, down, down) - 2 * pm * _form(p, up, down)
        out += (law.size - 1) / batch * shared
    return rate**2 / 2 * out
