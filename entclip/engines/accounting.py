"""The books of one update: each cause's realised and expected part of the entropy change, per unit. Claims T2 to T8.

One function serves every engine with a logit step, and a user's own arrays: from log pi, log pi_old and a minibatch's sums it
makes the step, the new log pi and all ledger columns, each (..., ) over units; it holds no state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from entclip.drift.cumulants import directional_derivatives, entropy_gradient, largest_third_derivative, remainder_bounds
from entclip.drift.first_order import clip_set_stats, expected_first_order, expected_weights
from entclip.drift.second_order import expected_curvature
from entclip.drift.steps import logit_step, step_adjoint
from entclip.objectives.base import CAUSES, Objective, View, sample_counts
from entclip.objectives.drop import Keep, split_survivors, surviving
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
) -> tuple[Array, dict[str, Array]]:
    """Return the new log pi (..., V) and the columns of this update, each (...).

    Args:
        sums: rollout.Sums of the minibatch, each (..., V). With `keep` they are the survivors of a random drop.
        moments: exact moments of the advantage; None when the expectations are not defined (reused samples).
        learning_rate: eta, or eta d(s) as an array (..., 1) for euclidean steps of weighted contexts.
        visits: d(s) of autoregressive prefixes, (...): natural steps are divided by it, expectations carry it.
        keep: survival probabilities of samples with A > 0 and A < 0 in a control run.
    Raises: RunawayError if a column is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # judged by their result, below
        new, columns = _account(scheme, log_probs, old_log_probs, sums, moments, learning_rate, visits, keep)
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


def _account(
    scheme: Scheme,
    log_probs: Array,
    old_log_probs: Array,
    sums: Any,
    moments: AdvantageMoments | None,
    learning_rate: Array | float,
    visits: Array | None,
    keep: Keep | None,
) -> tuple[Array, dict[str, Array]]:
    xp = namespace(log_probs)
    geometry, objective = scheme.geometry, scheme.objective
    view = View.of(log_probs, old_log_probs)
    ratio, old_probs, change = view.ratio, view.old_probs, objective.change(view)
    gains = change.gains
    flat_rate = learning_rate if isinstance(learning_rate, float) else learning_rate[..., 0]
    # A natural step is divided by the visit probability, which cancels in its mean; a euclidean mean step carries it.
    if visits is None:
        rate, mean_rate = learning_rate, flat_rate
    elif geometry == "natural":
        rate, mean_rate = learning_rate / visits[..., None], flat_rate
    else:
        rate, mean_rate = learning_rate, flat_rate * visits

    plus, minus = sums.plus, sums.minus
    realised = split_survivors(change, plus, minus, keep)
    total = plus * gains.plus - minus * gains.minus
    step = logit_step(total, log_probs, old_log_probs, learning_rate=rate, geometry=geometry)
    new = log_softmax(log_probs + step)

    gradient = entropy_gradient(log_probs)
    columns: dict[str, Array] = {}
    # Causes are priced by the adjoint of the step and the total by the step itself: identity (b) compares two computations.
    price = step_adjoint(gradient, log_probs, old_log_probs, learning_rate=rate, geometry=geometry)
    for cause in CAUSES:
        columns[cause] = xp.sum(price * realised[cause], axis=-1)
    slope = directional_derivatives(log_probs, step)
    before, after = entropy(log_probs), entropy(new)
    columns["curvature"] = slope.second / 2
    columns["measured"] = after - before
    columns["remainder"] = columns["measured"] - sum(columns[c] for c in CAUSES) - columns["curvature"]
    columns |= {"entropy_before": before, "entropy": after, "step_variance": slope.variance}
    columns["_inner"] = xp.sum(gradient * step, axis=-1)
    columns["_scale"] = xp.sum(xp.abs(gradient * step), axis=-1)
    columns["_bound"] = remainder_bound(log_probs, new, step, slope.third, columns)

    if moments is not None:
        weights = expected_weights(change, moments, keep)
        expected = expected_first_order(weights, log_probs, learning_rate=mean_rate, geometry=geometry)
        columns |= {f"expected_{cause}": value for cause, value in expected.items()}
        columns["expected_curvature"] = expected_curvature(
            log_probs,
            ratio,
            surviving(change, keep),
            moments,
            learning_rate=flat_rate,
            geometry=geometry,
            batch=scheme.batch,
            shared_group=scheme.shared_group,
            visits=1.0 if visits is None else visits,
        )

    stats = clip_set_stats(change, log_probs, geometry)
    columns |= {"pi_low": stats.pi_low, "pi_high": stats.pi_high, "mass_low": stats.mass_low, "mass_high": stats.mass_high}
    counts = sample_counts(change, sums.n_plus, sums.n_minus)
    columns |= {name: xp.sum(value, axis=-1) for name, value in counts.items()}
    log_ratio = log_probs - old_log_probs
    columns["kl"] = -xp.sum(old_probs * log_ratio, axis=-1)
    columns["log_ratio_sq"] = xp.sum(old_probs * log_ratio**2, axis=-1)
    columns["ratio_max"] = xp.max(ratio, axis=-1)
    return new, columns


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
