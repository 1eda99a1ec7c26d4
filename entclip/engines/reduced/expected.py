"""What the theory expects of one update, as sums over points: T5, T6, T8 and the clip sets.

A gain differs from 1 for few actions, and a constant gain drops out of every covariance. So each sum is one over all points that
does not depend on the objective, and one over the points whose gain has changed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import mul
from typing import NamedTuple

import numpy as np

from entclip.drift.actions import Actions, covariance
from entclip.drift.first_order import ActionMoments, mean_square_weights, mean_weights, weights_by_cause
from entclip.drift.rare_samples import fourth_moment, rare_sample_variance
from entclip.drift.second_order import SampleWeights, expected_step_variance, pair_sum, second_order, weights_by_sign
from entclip.engines.accounting import Scheme
from entclip.engines.reduced.point_policy import Points, ratio_of, total, whole_weight
from entclip.engines.reduced.point_sums import Policies, PolicySums, trace_terms
from entclip.engines.reduced.sight import Sight
from entclip.objectives.base import CAUSES, Change, Keep, Objective
from entclip.objectives.drop import both_survived, surviving
from entclip.policies.softmax import Geometry
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["Changed", "Conditions", "expected_columns", "idle_range", "rare_variance", "step_variance"]


class Conditions(NamedTuple):
    """The part of an update's settings that expectations depend on; rate: eta d(s) for euclidean steps, (u,)."""

    objective: Objective
    geometry: Geometry
    batch: int
    shared_group: float
    moments: AdvantageMoments | None
    rate: np.ndarray
    keep: Keep | None


def idle_range(conditions: Conditions) -> tuple[float, float]:
    """Return the ratios between which, both included, a point may be left out of the changed ones; NaN where none may."""
    by_action = conditions.keep is not None or (conditions.moments is not None and conditions.moments.action_dependent)
    by_action = by_action or not conditions.objective.needs.isdisjoint(("bonus", "penalty", "survival"))
    return (math.nan, math.nan) if by_action else conditions.objective.idle


class Changed:
    """The points whose gain may not be 1 or that may lie in a clip set, (D,) each: unit and point; their log pi, pi, l + H,
    mass, ratio, pi_old and number; sums over each unit's."""

    def __init__(self, policies: Policies, standing: PolicySums, unit: np.ndarray, point: np.ndarray) -> None:
        self.unit, self.point, self.units = unit, point, len(policies.tracked)
        at, n = (unit, point), policies.weight.shape[1]
        self.probs, self.old_probs = policies.probs[at], policies.old_probs[at]
        self.log_probs = policies.log_probs[at]
        self.excess = self.log_probs + standing.entropy[unit]
        self.ratio = ratio_of(self.probs, self.old_probs)
        self.mass, self.number = self.probs.copy(), np.ones(len(unit))
        of_nodes = np.flatnonzero(point < n)
        node = (unit[of_nodes], point[of_nodes])
        self.mass[of_nodes] *= policies.weight[node]
        self.number[of_nodes] = policies.number[node]
        self.has_nodes = len(of_nodes) > 0

    def moments(self, moments: AdvantageMoments) -> ActionMoments:
        """Return the moments of the advantage given the actions of these points."""
        return ActionMoments(*(self.by_action(moments.by_action(name)) for name in ActionMoments._fields))  # type: ignore[arg-type]

    def levels(self, moments: AdvantageMoments) -> np.ndarray:
        """Return the chances of the reward levels at these points, (D, L)."""
        point = self.point if moments.action_dependent else np.zeros_like(self.point)
        return moments.level_probs[point]

    def by_action(self, x: np.ndarray) -> np.ndarray | float:
        """Return a moment by action, (u, V) or (V,), or the same for all actions, (..., 1), at these points."""
        if x.shape[-1] == 1:
            return float(x[0]) if x.ndim == 1 else x[self.unit, 0]
        return x[self.point] if x.ndim == 1 else x[self.unit, self.point]

    def spread_out(self, values: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return values at these points, (D,) each, as tables (u, c), 0 elsewhere."""
        out = {name: np.zeros(shape) for name in values}
        for name, value in values.items():
            out[name][self.unit, self.point] = value
        return out

    def total(self, x: np.ndarray) -> np.ndarray:
        """Return sums over the points of each unit, (u,)."""
        return np.bincount(self.unit, x, minlength=self.units)


class _MeanStep(NamedTuple):
    """A centred step: own - mean at the changed points and -mean at all others, less pull (pi - P2) everywhere; own and own
    times the form's weight (D,), sums of the latter and of its product with pi - P2, mean and pull (u,)."""

    own: np.ndarray
    weighted: np.ndarray
    total: np.ndarray
    tilt: np.ndarray
    mean: np.ndarray
    pull: np.ndarray


class _Form:
    """u' Hess(H) v (T1) of mean steps, for weights w (D,) that are 0 elsewhere up to a constant; see update.expected_step.

    natural: the step is w. euclidean: it is pi (w - E w), that is pi w at these points and -E[w] pi at all.
    """

    def __init__(self, standing: PolicySums, changed: Changed, geometry: Geometry) -> None:
        self.changed, self.geometry, self.standing = changed, geometry, standing
        self.mass, self.probs = changed.mass, changed.probs
        self.weight = changed.mass * (changed.excess + 1)
        self.spread = changed.probs - standing.p2[changed.unit]

    def step(self, w: np.ndarray) -> _MeanStep:
        """The mean step of weights w (D,), less its mean under pi."""
        t, mean = self.changed.total, self.changed.total(self.mass * w)
        if self.geometry == "natural":
            weighted, zero = self.weight * w, np.zeros_like(mean)
            return _MeanStep(w, weighted, t(weighted), zero, mean, zero)
        x = self.probs * w
        weighted = self.weight * x
        return _MeanStep(x, weighted, t(weighted), t(weighted * self.spread), t(self.mass * x), mean)

    def __call__(self, u: _MeanStep, v: _MeanStep) -> np.ndarray:
        """u' Hess(H) v, (u,)."""
        out = (
            self.changed.total(u.weighted * v.own)
            - v.mean * u.total
            - u.mean * v.total
            + u.mean * v.mean * self.standing.excess_0
        )
        if self.geometry == "euclidean":
            first, second = self.standing.excess_1, self.standing.excess_2
            out += u.pull * (v.mean * first - v.tilt) + v.pull * (u.mean * first - u.tilt) + u.pull * v.pull * second
        return -out


def _pair(form: _Form, changed: Changed, change: Change, moments: AdvantageMoments, shared: float) -> np.ndarray:
    """(1 - c) g' Hess g + c tr(Hess C) for mean step g and samples of one group, c = shared; see drift.second_order."""
    gains, at, pair = change.gains, changed.moments(moments), moments.pair
    if not moments.action_dependent and change.extra_plus is None:
        # A mean weight that is the same for all actions moves nothing.
        plus, minus = form.step(gains.plus - 1), form.step(gains.minus - 1)
        a, b = (moments.by_action(name)[..., 0] for name in ("plus", "minus"))
        none = np.zeros((1, 1))
        tables = (none, none, none) if pair is None else (pair.plus_plus, pair.minus_minus, pair.plus_minus)
        up, down, cross = ((1 - shared) * x + (shared * y[..., 0, 0]) for x, y in zip((a * a, b * b, a * b), tables, strict=True))
        return up * form(plus, plus) + down * form(minus, minus) - 2 * cross * form(plus, minus)
    mean = form.step(mean_weights(change, at))
    out = (1 - shared) * form(mean, mean)
    if shared == 0:
        return out
    assert pair is not None
    share = changed.levels(moments)
    steps = {name: [form.step(w * share[:, k]) for k in range(share.shape[1])] for name, w in weights_by_sign(change).items()}
    return out + shared * pair_sum(pair, steps, form)


def expected_columns(standing: PolicySums, changed: Changed, change: Change, conditions: Conditions) -> dict[str, np.ndarray]:
    """Return clip sets (T6), and where the moments are defined expected_CAUSE (T5) and expected_curvature (T8), (u,) each.

    change: the objective's at the changed points.
    """
    moments, unit, euclidean = conditions.moments, changed.unit, conditions.geometry == "euclidean"
    kappa = -changed.excess * changed.probs if euclidean else -changed.excess
    value = changed.mass * (kappa - standing.kappa[unit])
    out: dict[str, np.ndarray] = {}
    for side, members in (("low", change.low), ("high", change.high)):
        out |= {f"pi_{side}": changed.total(changed.mass * members), f"mass_{side}": changed.total(value * members)}
    if moments is None:
        return out
    at, keep = changed.moments(moments), both_survived(change.survival, conditions.keep)
    parts = weights_by_cause(change, at, keep)
    means = (standing.p2[unit], standing.surplus[unit], standing.probs_form[unit])
    trace = trace_terms(euclidean, changed.probs, changed.excess, changed.mass, changed.number, changed.ratio, means)
    square = mean_square_weights(change, at, keep)
    if moments.action_dependent:  # all points are changed
        trace_part = changed.total(trace * square)
    else:
        # What is the same for all actions: no drift, and the whole trace.
        parts["unclipped"] = np.zeros(len(unit))
        one = (moments.by_action("plus_sq") + moments.by_action("minus_sq"))[..., 0]
        trace_part = standing.trace * one + changed.total(trace * (square - (at.plus_sq + at.minus_sq)))
    for cause in CAUSES:
        out[f"expected_{cause}"] = conditions.rate * changed.total(value * parts[cause])
    form, kept = _Form(standing, changed, conditions.geometry), surviving(change, keep)
    pairs = (1 - 1 / conditions.batch) * _pair(form, changed, kept, moments, conditions.shared_group)
    if change.bonus:
        mean, bonus = form.step(mean_weights(kept, at)), form.step(change.bonus_weights)
        pairs = pairs + 2 * form(mean, bonus) + form(bonus, bonus)
    out["expected_curvature"] = conditions.rate**2 / 2 * (trace_part / conditions.batch + pairs)
    return out


def rare_variance(
    policies: Policies, objective: Objective, moments: AdvantageMoments, sight: Sight, *, learning_rate: float, batch: int
) -> np.ndarray:
    """Return the variance that rare samples give a natural step's curvature, (u,); see drift.rare_samples."""
    width, n = policies.probs.shape[1], policies.weight.shape[1]
    weight = whole_weight(policies.weight, policies.tracked, width)
    now = Points.of(policies.log_probs, weight, policies.probs)
    ratio = ratio_of(policies.probs, policies.old_probs)
    change = objective.change(sight.standing_at(objective, now.entropy).view(ratio, policies.old_probs, policies.log_probs))
    number = np.concatenate([policies.number, weight[:, n:]], axis=1)
    out: np.ndarray = rare_sample_variance(
        policies.log_probs,
        policies.old_log_probs,
        now.entropy,
        fourth_moment(change, moments),
        learning_rate=learning_rate,
        batch=batch,
        number=number,
    )
    return out


def step_variance(policies: Policies, moments: AdvantageMoments, scheme: Scheme, sight: Sight) -> np.ndarray:
    """Return E Var_pi(step) per squared learning rate, (u,); see drift.second_order.expected_step_variance."""
    width, n = policies.probs.shape[1], policies.weight.shape[1]
    weight, ratio = whole_weight(policies.weight, policies.tracked, width), ratio_of(policies.probs, policies.old_probs)
    now = Points.of(policies.log_probs, weight, policies.probs)
    seen = sight.standing_at(scheme.objective, now.entropy).view(ratio, policies.old_probs, policies.log_probs)
    change = scheme.objective.change(seen)
    if moments.action_dependent:  # then every point is an action
        out: np.ndarray = expected_step_variance(
            policies.log_probs,
            ratio,
            change,
            moments,
            geometry=scheme.geometry,
            batch=scheme.batch,
            shared_group=scheme.shared_group,
            keep=change.survival,
        )
        return out
    at = ActionMoments(*(moments.by_action(name)[..., :1] for name in ActionMoments._fields))  # type: ignore[arg-type]
    kept, pair = surviving(change, change.survival), moments.pair
    weights = SampleWeights(
        mean=mean_weights(kept, at),
        square=mean_square_weights(change, at, change.survival),
        by_sign={name: [w] for name, w in weights_by_sign(kept).items()},
        pair=None if pair is None else pair.map(lambda x: x[..., None, :, :]),
        bonus=change.bonus_weights if change.bonus else None,
    )
    variance = second_order(
        _Weighted(now, np.concatenate([policies.number, weight[:, n:]], axis=1)),
        ratio,
        weights,
        _single_variance,
        covariance,
        geometry=scheme.geometry,
        batch=scheme.batch,
        shared_group=scheme.shared_group,
    )
    return variance[:, 0]


@dataclass(frozen=True)
class _Weighted:
    """Points as the theory's sums over actions have them, (u, 1); number: weights of sums without a factor of pi, (u, c)."""

    points: Points
    number: np.ndarray

    @property
    def log_probs(self) -> np.ndarray:
        return self.points.log_probs

    @property
    def probs(self) -> np.ndarray:
        return self.points.probs

    def mean(self, *factors: np.ndarray) -> np.ndarray:
        return self.points.mean(reduce(mul, factors))[:, None]

    def total(self, *factors: np.ndarray) -> np.ndarray:
        return total(self.number, reduce(mul, factors))[:, None]


def _single_variance(p: Actions, ratio: np.ndarray, square: np.ndarray, geometry: Geometry) -> np.ndarray:
    """drift's `single_variance` with every factor of pi in a mean: nodes stand for sums of polynomials otherwise."""
    out: np.ndarray
    if geometry == "natural":
        out = p.total(ratio, square) - p.mean(ratio, square)
        return out
    p2, p3 = p.mean(p.probs), p.mean(p.probs**2)
    out = p.mean(ratio, square, p.probs - 2 * p.probs**2 + p3 - (p.probs - p2) ** 2)
    return out
