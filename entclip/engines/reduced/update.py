"""One update of a chunk and its ledger columns: accounting.py with sums over points instead of actions. Claims T2 to T8, T13."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from entclip.drift.cumulants import proved_remainder
from entclip.engines.accounting import Scheme, check_finite
from entclip.engines.reduced.chunk import Chunk, Population
from entclip.engines.reduced.cut_panels import cut, straddling
from entclip.engines.reduced.expected import Changed, Conditions, expected_columns, idle_range
from entclip.engines.reduced.kernels import Kernels
from entclip.engines.reduced.point_policy import path_range, ratio_of, whole_weight
from entclip.engines.reduced.point_sums import Policies, StepSums
from entclip.engines.reduced.sight import Sight
from entclip.engines.reduced.steps import Optimizer, Pushes
from entclip.objectives.base import CAUSES, Keep, sample_counts, weights_of
from entclip.objectives.drop import both_survived, split_survivors
from entclip.rewards.advantage import AdvantageMoments

__all__ = ["Draw", "policies_of", "update_chunk"]


@dataclass(frozen=True)
class Draw:
    """A minibatch of a chunk by its D distinct actions, (D,): unit and point, sums of A+ and A- over B, counts by sign.

    Samples of one action are added up first: where they cancel, Adam divides by what is left.
    """

    at: tuple[np.ndarray, np.ndarray]
    plus: np.ndarray
    minus: np.ndarray
    n_plus: np.ndarray
    n_minus: np.ndarray

    @classmethod
    def of(cls, points: np.ndarray, advantages: np.ndarray, kernels: Kernels) -> Draw:
        """Make from the point and the advantage of every sample, (u, B) each."""
        unit, point, *sums = kernels.added_up(points, advantages)
        return cls((unit, point), *sums)


def policies_of(chunk: Chunk) -> Policies:
    """Return a chunk's policy beside pi_old."""
    return Policies(chunk.log_probs, chunk.probs, chunk.old_log_probs, chunk.old_probs, chunk.weight, chunk.number, chunk.count)


def update_chunk(
    chunk: Chunk,
    population: Population,
    scheme: Scheme,
    optimizer: Optimizer,
    draw: Draw,
    moments: AdvantageMoments | None,
    *,
    rate: np.ndarray,
    keep: Keep | None = None,
    sight: Sight,
) -> tuple[Chunk, dict[str, np.ndarray]]:
    """Return the chunk after one update, and the columns of accounting.account, each (u,).

    Args:
        draw: samples of tracked actions; with `keep`, the survivors of a random drop.
        moments: exact moments of the advantage; None when expectations are not defined.
        rate: eta, times d(s) for euclidean steps of weighted contexts, (u,).
        sight: what the objective sees of the units beside their points.
    Raises: RunawayError if a column is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # judged by their result, below
        new, columns = _update(chunk, population, scheme, optimizer, draw, moments, rate, keep, sight)
    if not np.all(np.isfinite(np.stack(list(columns.values())))):
        check_finite(scheme, chunk.log_probs, chunk.old_log_probs, columns)
    return new, columns


def _update(
    chunk: Chunk,
    population: Population,
    scheme: Scheme,
    optimizer: Optimizer,
    draw: Draw,
    moments: AdvantageMoments | None,
    rate: np.ndarray,
    keep: Keep | None,
    sight: Sight,
) -> tuple[Chunk, dict[str, np.ndarray]]:
    objective, kernels, policies = scheme.objective, population.kernels, policies_of(chunk)
    conditions = Conditions(objective, scheme.geometry, scheme.batch, scheme.shared_group, moments, rate, keep)
    standing, *found = kernels.measure(*policies, scheme.geometry == "euclidean", idle_range(conditions))
    changed, sight = Changed(policies, standing, *found), sight.standing_at(objective, standing.entropy)
    at, plus, minus = draw.at, draw.plus, draw.minus
    old_probs = chunk.old_probs[at]
    ratio = ratio_of(chunk.probs[at], old_probs)
    # Of the drawn and of the changed actions at once: an update of few units is made of calls, not of numbers.
    drawn = (ratio, old_probs, chunk.log_probs[at], *at)
    of_changed = (changed.ratio, changed.old_probs, changed.log_probs, changed.unit, changed.point)
    ratios, old, logs, units, where = (np.append(*pair) for pair in zip(drawn, of_changed, strict=True))
    both = objective.change(sight.view(ratios, old, logs, (units, where)))
    change, of_all = both.at(slice(len(ratio))), both.at(slice(len(ratio), None))
    shares = (draw.n_plus / scheme.batch, draw.n_minus / scheme.batch)
    parts = split_survivors(change, plus, minus, both_survived(change.survival, keep), *shares)
    weights = weights_of(change, plus, minus, *shares)

    pushes = Pushes(at, weights, ratio, old_probs)
    step = optimizer.step(chunk, standing, pushes, rate, changed.spread_out(of_all.bonus, chunk.probs.shape))
    log_probs, probs, shift, along = kernels.move(
        chunk.log_probs, chunk.probs, step.total, chunk.weight, chunk.count, standing.entropy
    )
    by_cause = np.stack([parts[cause] for cause in CAUSES])
    values = step.value(by_cause)
    columns: dict[str, np.ndarray] = dict(zip(CAUSES, values, strict=True)) | step.causes
    columns["curvature"] = along.second / 2
    columns["measured"] = along.entropy - standing.entropy
    causes = sum(columns[c] for c in (*CAUSES, *step.causes))
    columns["remainder"] = columns["measured"] - causes - columns["curvature"]
    columns |= {"entropy_before": standing.entropy, "entropy": along.entropy, "step_variance": along.variance}
    columns |= {"_inner": along.inner, "_scale": along.scale + step.size(by_cause) + step.bonus_size}
    columns["_bound"] = _remainder_bound(chunk, step.total, along, columns, kernels, population.laws.vocab)
    columns |= expected_columns(standing, changed, of_all, conditions)
    if changed.has_nodes:
        _cut_expectations(chunk, population, conditions, sight, columns)
    counts = sample_counts(change, draw.n_plus, draw.n_minus)
    columns |= dict(zip(counts, pushes.by_unit(np.stack(list(counts.values())), len(rate)), strict=True))
    columns |= {"kl": standing.kl, "log_ratio_sq": standing.log_ratio_sq, "ratio_max": standing.ratio_max}
    new = replace(chunk, log_probs=log_probs, probs=probs, shift=chunk.shift + shift, averages=step.averages)
    return new, columns


def _cut_expectations(
    chunk: Chunk, population: Population, conditions: Conditions, sight: Sight, columns: dict[str, np.ndarray]
) -> None:
    """Clip sets and expectations again, piece by piece, of units whose unsampled actions straddle a bound."""
    objective, kernels = conditions.objective, population.kernels
    for unit in straddling(chunk, population, objective, sight):  # rare: one update in which a bound passes the tail
        # Nodes mean that the reward ignores the action, and then the moments are the same in all units.
        own = conditions._replace(rate=conditions.rate[unit : unit + 1])
        pieces, seen = cut(chunk, population, objective, unit, sight)
        standing, *found = kernels.measure(*pieces, conditions.geometry == "euclidean", idle_range(own))
        changed = Changed(pieces, standing, *found)
        at = (changed.unit, changed.point)
        change = objective.change(seen.view(changed.ratio, changed.old_probs, changed.log_probs, at))
        for name, value in expected_columns(standing, changed, change, own).items():
            columns[name][unit] = value[0]


def _remainder_bound(
    chunk: Chunk, step: np.ndarray, along: StepSums, columns: dict[str, np.ndarray], kernels: Kernels, vocab: int
) -> np.ndarray:
    """Bound on |remainder|: see accounting.remainder_bound, whose rule this is for sums over points."""
    start, end = np.abs(along.third), np.abs(along.end_third)
    eps = float(np.finfo(np.float64).eps)
    rounding = 64 * eps * (1 + columns["entropy_before"] + columns["_scale"] + np.abs(columns["curvature"]))
    bound = (np.maximum(start, end) + np.abs(start - end)) / 6 + rounding
    size = np.abs(columns["remainder"])
    for points in (9, 257):
        beyond = np.flatnonzero(size > bound)
        if len(beyond) == 0:
            break
        moves, weight, count = step[beyond], chunk.weight[beyond], chunk.count[beyond]
        largest, smallest = kernels.largest_third(chunk.log_probs[beyond], moves, weight, count, points)
        seen, spread = (2 * largest - smallest) / 6, path_range(moves, whole_weight(weight, count, moves.shape[1]))
        # A grid sees what happens within a logit. For longer paths T3's own bound is what is proved; it says little there.
        bound[beyond] = np.where(spread < points, seen, np.maximum(seen, proved_remainder(spread, vocab))) + rounding[beyond]
    return bound
