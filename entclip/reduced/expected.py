"""What the theory expects of one update, as sums over columns: T5, T6, T8 and the clip sets.

A gain differs from 1 for few actions, and a constant gain drops out of every covariance. So each sum is one over all columns that
does not depend on the objective, and one over the columns whose gain has changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from entclip.accounting import with_drop
from entclip.advantage import AdvantageMoments
from entclip.objective import Objective, SignedGains, signed_gains, split_by_cause
from entclip.policy import Geometry
from entclip.reduced.columns import Columns, total
from entclip.rollout import Keep

__all__ = ["Terms", "View", "expected_columns", "step_variance"]


class View(NamedTuple):
    """A policy beside the old one: columns, ratio and pi_old (u, c), and weights of sums without a factor of pi (u, c)."""

    now: Columns
    ratio: np.ndarray
    old_probs: np.ndarray
    number: np.ndarray


class Terms(NamedTuple):
    """The part of an update's settings that expectations depend on; rate: eta d(s) for euclidean steps, (u,)."""

    objective: Objective
    geometry: Geometry
    batch: int
    shared_group: float
    moments: AdvantageMoments | None
    rate: np.ndarray
    keep: Keep | None


@dataclass(frozen=True)
class _Changed:
    """Columns whose gains are not 1 or that lie in a clip set, flat (D,): unit and column, and sums over each unit's."""

    unit: np.ndarray
    column: np.ndarray
    units: int

    def of(self, x: np.ndarray) -> np.ndarray:
        """x (u, c) at these columns."""
        out: np.ndarray = x[self.unit, self.column]
        return out

    def by_action(self, x: np.ndarray) -> np.ndarray | float:
        """A moment by action, (u, V) or (V,), or the same for all actions, (..., 1), at these columns."""
        if x.shape[-1] == 1:
            return float(x[0]) if x.ndim == 1 else x[self.unit, 0]
        return x[self.column] if x.ndim == 1 else x[self.unit, self.column]

    def total(self, x: np.ndarray) -> np.ndarray:
        """Sums over the columns of each unit, (u,)."""
        return np.bincount(self.unit, x, minlength=self.units)


def _changed(view: View, terms: Terms) -> _Changed:
    moments, ratio = terms.moments, view.ratio
    if terms.keep is not None or (moments is not None and moments.action_dependent):
        change = np.ones(ratio.shape, dtype=bool)
    else:
        low, high = terms.objective.sets(ratio, view.old_probs)
        change = low | high
        for sign in ("plus", "minus"):
            change |= terms.objective.gain(sign, ratio, view.old_probs) != 1
    flat = np.flatnonzero(change)
    return _Changed(*np.divmod(flat, ratio.shape[1]), len(ratio))


class _MeanStep(NamedTuple):
    """A centred step: own - mean at the changed columns and -mean at all others, less pull (pi - P2) everywhere; own and own
    times the form's weight (D,), mean and pull (u,)."""

    own: np.ndarray
    weighted: np.ndarray
    mean: np.ndarray
    pull: np.ndarray


class _Form:
    """u' Hess(H) v (T1) of mean steps, for weights w (D,) that are 0 elsewhere up to a constant; see update.expected_step.

    natural: the step is w. euclidean: it is pi (w - E w), that is pi w at these columns and -E[w] pi at all.
    """

    def __init__(self, view: View, changed: _Changed, geometry: Geometry) -> None:
        now = view.now
        self.changed, self.geometry = changed, geometry
        self.mass, self.probs = changed.of(now.mass), changed.of(now.probs)
        weight = now.mass * (now.excess + 1)
        self.weight, self.whole = changed.of(weight), np.sum(weight, axis=1)
        if geometry == "euclidean":
            p2 = now.mean(now.probs)
            spread = now.probs - p2[:, None]
            self.p2, self.spread = p2, changed.of(spread)
            pushed = weight * spread
            self.first, self.second = np.sum(pushed, axis=1), total(pushed, spread)

    def step(self, w: np.ndarray) -> _MeanStep:
        """The mean step of weights w (D,), less its mean under pi."""
        mean = self.changed.total(self.mass * w)
        if self.geometry == "natural":
            return _MeanStep(w, self.weight * w, mean, np.zeros_like(mean))
        x = self.probs * w
        return _MeanStep(x, self.weight * x, self.changed.total(self.mass * x), mean)

    def __call__(self, u: _MeanStep, v: _MeanStep) -> np.ndarray:
        """u' Hess(H) v, (u,)."""
        t = self.changed.total
        out = t(u.weighted * v.own) - v.mean * t(u.weighted) - u.mean * t(v.weighted) + u.mean * v.mean * self.whole
        if self.geometry == "euclidean":
            out += u.pull * (v.mean * self.first - t(v.weighted * self.spread))
            out += v.pull * (u.mean * self.first - t(u.weighted * self.spread)) + u.pull * v.pull * self.second
        return -out


def _kappa(now: Columns, geometry: Geometry) -> np.ndarray:
    """kappa - E kappa of T5, (u, c)."""
    return -now.excess if geometry == "natural" else now.centred(-now.probs * now.excess)


def _trace(view: View, geometry: Geometry) -> np.ndarray:
    """What each column's mean squared (c/r)^2 adds to tr(Hess S), (u, c); see drift.second_order.noise_trace."""
    now, x = view.now, view.now.excess
    if geometry == "natural":
        out: np.ndarray = view.ratio * (now.mass * (2 * x + 1) - view.number * (x + 1))
        return out
    p = now.probs
    spread = now.centred(p)
    # Hess pi = -pi b with b = (pi - P2)(l + H + 1) - Cov(l, pi); the form is Hess_aa - 2 (Hess pi)_a + pi' Hess pi.
    b = spread * x
    b += spread - now.mean(b)[:, None]
    form = p * (2 * x + 1)
    form -= x + 1
    form += 2 * b
    form *= p
    form -= total(now.mass, p * b)[:, None]
    form *= now.mass
    form *= view.ratio
    return form


def _pair(form: _Form, changed: _Changed, gains: SignedGains, moments: AdvantageMoments) -> np.ndarray:
    """tr(Hess C) over reward levels; see drift.second_order."""
    assert moments.pair is not None
    pp, mm, pm = moments.pair.plus_plus, moments.pair.minus_minus, moments.pair.plus_minus
    out, levels = np.zeros(changed.units), range(moments.level_probs.shape[-1])
    if not moments.action_dependent:
        up, down = [form.step(gains.plus - 1)], [form.step(gains.minus - 1)]
    else:
        share = moments.level_probs[changed.column]
        up, down = ([form.step(g * share[:, k]) for k in levels] for g in (gains.plus, gains.minus))
    for i in levels:  # reward levels: one when the reward ignores the action
        for j in levels:
            out += pp[..., i, j] * form(up[i], up[j]) + mm[..., i, j] * form(down[i], down[j])
            out -= 2 * pm[..., i, j] * form(up[i], down[j])
    return out


def expected_columns(view: View, terms: Terms) -> dict[str, np.ndarray]:
    """Clip sets (T6), and where the moments are defined expected_CAUSE (T5) and expected_curvature (T8), (u,) each."""
    now, objective, moments = view.now, terms.objective, terms.moments
    changed = _changed(view, terms)
    ratio, old_probs, mass = (changed.of(x) for x in (view.ratio, view.old_probs, now.mass))
    value = _kappa(now, terms.geometry)
    value *= now.mass
    out: dict[str, np.ndarray] = {}
    for side, members in zip(("low", "high"), objective.sets(ratio, old_probs), strict=True):
        out |= {f"pi_{side}": changed.total(mass * members), f"mass_{side}": changed.total(changed.of(value) * members)}
    if moments is None:
        return out
    gains = signed_gains(objective, ratio, old_probs)
    if terms.keep is not None:
        gains = with_drop(gains, *terms.keep)
    plus, minus, plus_sq, minus_sq = (moments.by_action(name) for name in ("plus", "minus", "plus_sq", "minus_sq"))
    up, down = changed.by_action(plus), changed.by_action(minus)
    parts = split_by_cause(objective, gains, ratio, old_probs, up, down)
    out["expected_unclipped"] = terms.rate * total(value, np.broadcast_to(plus - minus, value.shape))
    for cause in ("clip_low", "clip_high", "other"):
        out[f"expected_{cause}"] = terms.rate * changed.total(changed.of(value) * parts[cause])

    trace = _trace(view, terms.geometry)
    one = plus_sq + minus_sq
    square = gains.plus_sq * changed.by_action(plus_sq) + gains.minus_sq * changed.by_action(minus_sq) - changed.by_action(one)
    noise = total(trace, np.broadcast_to(one, trace.shape)) + changed.total(changed.of(trace) * square)
    form = _Form(view, changed, terms.geometry)
    # A mean weight that is the same for all actions moves nothing.
    shift = up - down if not moments.action_dependent else 0.0
    mean = form.step(gains.plus * up - gains.minus * down - shift)
    c = terms.shared_group
    pair = (1 - c) * form(mean, mean)
    if c > 0:
        pair += c * _pair(form, changed, gains, moments)
    out["expected_curvature"] = terms.rate**2 / 2 * (noise / terms.batch + (1 - 1 / terms.batch) * pair)
    return out


def step_variance(view: View, gains: SignedGains, moments: AdvantageMoments, *, geometry: Geometry, batch: int) -> np.ndarray:
    """E Var_pi(step) per squared learning rate, (u,); see drift.second_order.expected_step_variance."""
    now = view.now
    plus, minus, plus_sq, minus_sq = (moments.by_action(name) for name in ("plus", "minus", "plus_sq", "minus_sq"))
    square, w = gains.plus_sq * plus_sq + gains.minus_sq * minus_sq, gains.plus * plus - gains.minus * minus
    if geometry == "natural":
        single = total(view.number, view.ratio * square) - now.mean(view.ratio * square)
        d = now.centred(w)
    else:
        p2, p3 = now.mean(now.probs)[:, None], now.mean(now.probs**2)[:, None]
        spread = now.probs - 2 * now.probs**2 + p3 - (now.probs - p2) ** 2
        single = total(now.mass * view.ratio * square, spread)
        d = now.centred(now.probs * now.centred(w))
    out: np.ndarray = single / batch + (1 - 1 / batch) * total(now.mass * d, d)
    return out
