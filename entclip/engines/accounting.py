"""The books of one update: each cause's realised and expected part of the entropy change, per unit. Claims T2 to T8.

One function serves every engine with a logit step, and a user's own arrays: from log pi, log pi_old and a minibatch's sums it
makes the step, the new log pi and all ledger columns, each (..., ) over units; it holds no state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from entclip.drift.cumulants import directional_derivatives, entropy_gradient, largest_third_derivative, remainder_bounds
from entclip.drift.first_order import expected_first_order
from entclip.drift.second_order import curvature_of
from entclip.drift.sequences import SeenSequences
from entclip.drift.steps import expected_step, logit_step, step_adjoint
from entclip.drift.weighing import SeenLevels, Weighing, weighing_of
from entclip.objectives.base import CAUSES, Keep, Objective, View
from entclip.policies.softmax import Array, Geometry, entropy, log_softmax
from entclip.rewards.advantage import AdvantageMoments
from entclip.support.namespace import namespace

__all__ = ["RunawayError", "Scheme", "account", "check_finite", "remainder_bound"]


@dataclass(frozen=True)
class Scheme:
    """How samples become a step: what the update section and the arm fix."""

    objective: Objective
    geometry: Geometry
    batch: int
    shared_group: float


class RunawayError(ValueError):
    """The policy has left what float64 can hold: a property of the configuration, not of the books."""


def account(
    scheme: Scheme,
    log_probs: Array,
    old_log_probs: Array,
    sums: Any,
    moments: AdvantageMoments | None,
    *,
    learning_rate: Array | float,
    visits: Array | None = None,
    keep: Keep | None = None,
    statistics: Mapping[str, Array] | None = None,
    reference: Array = None,
    levels: SeenLevels | None = None,
    sequences: SeenSequences | None = None,
    by_sign: bool = False,
) -> tuple[Array, dict[str, Array]]:
    """Return the new log pi (..., V) and the columns of this update, each (...).

    Args:
        sums: rollout.Sums of the minibatch, each (..., V). With `keep` they are the survivors of a random drop.
        moments: exact moments of the advantage; None when the expectations are not defined (reused samples).
        learning_rate: eta, or eta d(s) as an array (..., 1) for euclidean steps of weighted contexts.
        visits: d(s) of autoregressive prefixes, (...): natural steps are divided by it, expectations carry it.
        keep: survival probabilities of samples with A > 0 and A < 0 in a control run.
        statistics: those of this update that the objective looks at, each one number or (..., 1).
        reference: log-probabilities of the reference policy, (..., V), where the objective looks at one.
        levels: the values of the advantage, where the objective goes by them; `sums` then counts samples by them.
        sequences: where the objective goes by whole sequences; `sums` are then those of sequences.
        by_sign: whether to add what the samples of either sign of the advantage did.
    Raises: RunawayError if a column is not finite.
    """
    view = View.of(log_probs, old_log_probs, scheme.objective.needs, statistics, reference)
    weighing = weighing_of(scheme.objective, view, keep, levels, sequences)
    books = _Books(scheme, view, _Rates.of(learning_rate, visits, scheme.geometry), weighing)
    with np.errstate(over="ignore", invalid="ignore"):  # judged by their result, below
        new, columns = books.realised(old_log_probs, sums)
        if moments is not None:
            columns |= books.expected(moments, 1.0 if visits is None else visits)
        columns |= books.clips(sums) | _distances(view, old_log_probs)
        columns |= books.by_sign(sums, columns) if by_sign else {}
    check_finite(scheme, log_probs, old_log_probs, columns)
    return new, columns


def check_finite(scheme: Scheme, log_probs: Array, old_log_probs: Array, columns: dict[str, Array]) -> None:
    """Raise RunawayError with its cause if a column is not finite."""
    xp = namespace(log_probs)
    bad = [name for name, value in columns.items() if not bool(xp.all(xp.isfinite(value)))]
    if not bad:
        return
    least = float(xp.min(log_probs - old_log_probs))
    runaway = scheme.geometry == "natural" and scheme.objective.pushes_at_zero
    why = ""
    if runaway:
        why = (
            f" {type(scheme.objective).__name__} keeps a bounded weight on actions below the band, and a natural step divides by "
            "their probability: a falling action falls ever faster."
        )
    raise RunawayError(
        f"{', '.join(bad[:3])} is no finite number: the smallest log-ratio is {least:.4g}.{why} "
        "Use a smaller update.learning_rate, a larger update.batch, a policy with a floor, or euclidean steps."
    )


class _Rates(NamedTuple):
    """Learning rates: of the step (a number or (..., 1)), of its mean and of what scatters about it (numbers or (...))."""

    step: Array | float
    mean: Array | float
    scatter: Array | float

    @classmethod
    def of(cls, learning_rate: Array | float, visits: Array | None, geometry: Geometry) -> _Rates:
        flat = learning_rate if isinstance(learning_rate, float) else learning_rate[..., 0]
        # A natural step is divided by the visit probability, which cancels in its mean; a euclidean mean step carries it.
        if visits is None:
            return cls(learning_rate, flat, flat)
        if geometry == "natural":
            return cls(learning_rate / visits[..., None], flat, flat)
        return cls(learning_rate, flat * visits, flat)


class _Books:
    """One update of some units: what the objective makes of their policies, and the columns that follow."""

    def __init__(self, scheme: Scheme, view: View, rates: _Rates, weighing: Weighing) -> None:
        self.scheme, self.view, self.rates, self.weighing = scheme, view, rates, weighing
        self.change = weighing.change
        self.price: Array = None  # of a unit weight on each action, once the step is made

    def realised(self, old_log_probs: Array, sums: Any) -> tuple[Array, dict[str, Array]]:
        """Return the new log pi, and the causes, curvature and remainder of the step that the samples make."""
        log_probs, geometry, rate = self.view.log_probs, self.scheme.geometry, self.rates.step
        xp, change = namespace(log_probs), self.change
        weights, total = self.weighing.realised(sums, self.scheme.batch)
        step = logit_step(total, log_probs, old_log_probs, learning_rate=rate, geometry=geometry)
        bonus = self._bonus()
        if bonus is not None:
            step = step + bonus
        new = log_softmax(log_probs + step)
        gradient = entropy_gradient(log_probs)
        # Causes are priced by the adjoint of the step and the total by the step itself: identity (b) compares two computations.
        self.price = price = step_adjoint(gradient, log_probs, old_log_probs, learning_rate=rate, geometry=geometry)
        columns = {cause: xp.sum(price * weights[cause], axis=-1) for cause in CAUSES}
        columns |= expected_first_order(dict(change.bonus), log_probs, learning_rate=self.rates.mean, geometry=geometry)
        causes = sum(columns.values())
        slope = directional_derivatives(log_probs, step)
        before, after = entropy(log_probs), entropy(new)
        columns["curvature"] = slope.second / 2
        columns["measured"] = after - before
        columns["remainder"] = columns["measured"] - causes - columns["curvature"]
        columns |= {"entropy_before": before, "entropy": after, "step_variance": slope.variance}
        columns["_inner"] = xp.sum(gradient * step, axis=-1)
        columns["_scale"] = xp.sum(xp.abs(gradient * step), axis=-1)
        if bonus is not None:  # where the bonus and the samples cancel, rounding is relative to either
            columns["_scale"] = columns["_scale"] + xp.sum(xp.abs(gradient * bonus), axis=-1)
        columns["_bound"] = remainder_bound(log_probs, new, step, slope.third, columns)
        return new, columns

    def by_sign(self, sums: Any, columns: dict[str, Array]) -> dict[str, Array]:
        """Return the first-order effect of the samples with A > 0, and of those with A < 0, from the causes that are realised."""
        up = namespace(self.price).sum(self.price * self.weighing.of_positive(sums, self.scheme.batch), axis=-1)
        return {"from_plus": up, "from_minus": sum(columns[cause] for cause in CAUSES) - up}

    def _bonus(self) -> Array | None:
        """Return the part of the step that does not depend on samples, (..., V); None if there is none."""
        if not self.change.bonus:
            return None
        rate = self.rates.mean if isinstance(self.rates.mean, float) else self.rates.mean[..., None]
        return rate * expected_step(self.change.bonus_weights, self.view.log_probs, geometry=self.scheme.geometry)

    def expected(self, moments: AdvantageMoments, visits: Array | float) -> dict[str, Array]:
        """Return T5 and T8, given the policies before the update."""
        log_probs, geometry, rates = self.view.log_probs, self.scheme.geometry, self.rates
        first = expected_first_order(self.weighing.expected(moments), log_probs, learning_rate=rates.mean, geometry=geometry)
        curvature = curvature_of(
            log_probs,
            self.view.ratio,
            self.weighing.of_a_sample(moments),
            learning_rate=rates.scatter,
            geometry=geometry,
            batch=self.scheme.batch,
            shared_group=self.scheme.shared_group,
            visits=visits,
        )
        return {f"expected_{cause}": value for cause, value in first.items()} | {"expected_curvature": curvature}

    def clips(self, sums: Any) -> dict[str, Array]:
        """Return the probability and entropy value of the clip sets, and the samples that a side acted on."""
        xp, log_probs = namespace(self.view.log_probs), self.view.log_probs
        columns = self.weighing.sets(log_probs, self.scheme.geometry)._asdict()
        return columns | {name: xp.sum(value, axis=-1) for name, value in self.weighing.counts(sums).items()}


def _distances(view: View, old_log_probs: Array) -> dict[str, Array]:
    """How far pi is from pi_old."""
    xp, log_ratio = namespace(view.log_probs), view.log_probs - old_log_probs
    kl, square = -xp.sum(view.old_probs * log_ratio, axis=-1), xp.sum(view.old_probs * log_ratio**2, axis=-1)
    return {"kl": kl, "log_ratio_sq": square, "ratio_max": xp.max(view.ratio, axis=-1)}


def _range(step: Array) -> Array:
    xp = namespace(step)
    return xp.max(step, axis=-1) - xp.min(step, axis=-1)


def remainder_bound(log_probs: Array, new: Array, step: Array, third: Array, columns: dict[str, Array]) -> Array:
    """Bound on |remainder|: the largest third derivative on the path over 6, and the rounding of what it is a residual of.

    The two ends of the path settle nearly every unit; the few that exceed what they allow are looked at on a grid, then a finer
    one. The distance between the largest and smallest value seen stands for what a grid can miss between two points.
    """
    xp = namespace(log_probs)
    start, end = xp.abs(third), xp.abs(directional_derivatives(new, step).third)
    eps = float(xp.finfo(log_probs.dtype).eps)
    rounding = 64 * eps * (1 + columns["entropy_before"] + columns["_scale"] + xp.abs(columns["curvature"]))
    bound = (xp.maximum(start, end) + xp.abs(start - end)) / 6 + rounding
    flat = xp.reshape(bound, (-1,))  # one context alone has no axis to select units on
    starts, moves = (xp.reshape(x, (-1, x.shape[-1])) for x in (log_probs, step))
    size, slack = (xp.reshape(x, (-1,)) for x in (xp.abs(columns["remainder"]), rounding))
    for nodes in (9, 257):
        beyond = size > flat
        if not bool(xp.any(beyond)):
            break
        largest, smallest = largest_third_derivative(starts[beyond], moves[beyond], nodes=nodes)
        # A grid sees what happens within a logit. For longer paths T3's own bound is what is proved; it says little there.
        _, proved = remainder_bounds(moves[beyond])
        seen = (2 * largest - smallest) / 6
        flat[beyond] = xp.where(_range(moves[beyond]) < nodes, seen, xp.maximum(seen, proved)) + slack[beyond]
    return xp.reshape(flat, bound.shape)
