"""The ledger's columns of one predicted update: T5, T6 and T8 with sums over the population."""

from __future__ import annotations

from typing import Any

import numpy as np

from entclip.drift.actions import curvature_form, step_value
from entclip.drift.second_order import SampleWeights, second_order, single_curvature
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
    kappa = step_value(p, geometry)
    half = law.moment("plus")  # = E[A-]: the mean of A is 0 and does not depend on the action (T6)
    causes: dict[str, Array] = {"unclipped": 0.0} | {
        name: p.mean(kappa, getattr(p.binned, name)) for name in ("clip_low", "clip_high", "other")
    }
    out: dict[str, Array] = {f"expected_{cause}": rate * half * value for cause, value in causes.items()}
    out["expected_curvature"] = _curvature(p, law, geometry, rate, batch)
    change = new.level - p.level
    out["expected_remainder"] = change - sum(out.values())
    out["expected_measured"] = change
    low, high = p.binned.low, p.binned.high
    # Weights of a set may be slightly negative beside its bound; far out in a tail so may their sum.
    out |= {f"pi_{side}": np.maximum(p.mean(share), 0.0) for side, share in (("low", low), ("high", high))}
    out |= {"mass_low": p.mean(kappa, low), "mass_high": p.mean(kappa, high)}
    acting = {"low": law.chance_minus, "high": law.chance_plus}
    if not p.gated:
        acting = dict.fromkeys(acting, law.chance_minus + law.chance_plus)
    for side, share in (("low", low), ("high", high)):
        out[f"clip_fraction_{side}"] = acting[side] * np.maximum(p.total(p.old_probs, share), 0.0)
    out["kl"] = -p.total(p.old_probs, p.log_ratio)
    out |= {"entropy_before": p.level, "entropy": new.level}
    return {name: float(np.mean(value)) for name, value in out.items()}


def _curvature(p: State, law: SampleLaw, geometry: Geometry, rate: float, batch: int) -> Array:
    """T8 for whole groups."""
    g, size = p.binned, law.size
    weights = SampleWeights(
        mean=law.moment("plus") * g.plus - law.moment("minus") * g.minus,
        square=g.plus_sq * law.moment("plus_sq") + g.minus_sq * law.moment("minus_sq"),
        by_sign={"plus": [g.plus], "minus": [g.minus]},
        pair=law.moments.pair,
    )
    shared = (size - 1) / (batch - 1) if size > 1 else 0.0
    out = second_order(p, p.ratio, weights, single_curvature, curvature_form, geometry=geometry, batch=batch, shared_group=shared)
    return rate**2 / 2 * out
