"""One update of a cell and its ledger columns: accounting.py with sums over columns instead of actions. Claims T2 to T8, T13."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from entclip.accounting import Scheme, check_finite
from entclip.advantage import AdvantageMoments
from entclip.objective import CAUSES, signed_gains, split_by_cause
from entclip.reduced.cell import Cell, Population
from entclip.reduced.columns import Columns, Slopes, largest_third, path_range, proved_remainder, total
from entclip.reduced.expected import Terms, View, expected_columns
from entclip.reduced.pieces import cut_view, straddling
from entclip.reduced.steps import Optimizer, Pushes
from entclip.rollout import Keep

__all__ = ["Draw", "update_cell", "view_of"]

_LIMIT = 0.975 * math.log(float(np.finfo(np.float64).max))  # of a log-ratio, as in policy.importance_ratio


@dataclass(frozen=True)
class Draw:
    """A minibatch of a cell by its D distinct actions, (D,): unit and column, sums of A+ and A- over B, counts by sign."""

    at: tuple[np.ndarray, np.ndarray]
    plus: np.ndarray
    minus: np.ndarray
    n_plus: np.ndarray
    n_minus: np.ndarray

    @classmethod
    def of(cls, columns: np.ndarray, advantages: np.ndarray, width: int) -> Draw:
        """From the column, below `width`, and the advantage of every sample, (u, B) each.

        Samples of one action are added up first: where they cancel, Adam divides by what is left.
        """
        units, batch = columns.shape
        keys, which = np.unique((np.arange(units)[:, None] * width + columns).reshape(-1), return_inverse=True)
        a = advantages.reshape(-1)
        sums = (np.bincount(which, x, minlength=len(keys)) for x in (np.maximum(a, 0), np.maximum(-a, 0), a > 0, a < 0))
        plus, minus, n_plus, n_minus = sums
        return cls(np.divmod(keys, width), plus / batch, minus / batch, n_plus, n_minus)


def view_of(cell: Cell) -> View:
    """A cell's policy beside pi_old."""
    number = cell.weight.copy()
    number[:, : cell.nodes] = cell.number
    return View(Columns.of(cell.log_probs, cell.weight, cell.probs), _ratio(cell), cell.old_probs, number)


def _ratio(cell: Cell) -> np.ndarray:
    """policy.importance_ratio from probabilities that are there already, held in the same range; 1 where neither is one."""
    out = np.ones(cell.probs.shape)
    np.divide(cell.probs, cell.old_probs, out=out, where=cell.old_probs > 0)
    out.clip(math.exp(-_LIMIT), math.exp(_LIMIT), out=out)
    return out


def update_cell(
    cell: Cell,
    population: Population,
    scheme: Scheme,
    optimizer: Optimizer,
    draw: Draw,
    moments: AdvantageMoments | None,
    *,
    rate: np.ndarray,
    keep: Keep | None = None,
) -> tuple[Cell, dict[str, np.ndarray]]:
    """The cell after one update, and the columns of accounting.account, each (u,).

    Args:
        draw: samples of tracked actions; with `keep`, the survivors of a random drop.
        moments: exact moments of the advantage; None when expectations are not defined.
        rate: eta, times d(s) for euclidean steps of weighted contexts, (u,).
    Raises: RunawayError if a column is not finite.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # judged by their result, below
        new, columns = _update(cell, population, scheme, optimizer, draw, moments, rate, keep)
    if not np.all(np.isfinite(np.stack(list(columns.values())))):
        check_finite(scheme, cell.log_probs, cell.old_log_probs, columns)
    return new, columns


def _update(
    cell: Cell,
    population: Population,
    scheme: Scheme,
    optimizer: Optimizer,
    draw: Draw,
    moments: AdvantageMoments | None,
    rate: np.ndarray,
    keep: Keep | None,
) -> tuple[Cell, dict[str, np.ndarray]]:
    objective = scheme.objective
    view = view_of(cell)
    now = view.now
    at, plus, minus = draw.at, draw.plus, draw.minus
    ratio, old_probs = view.ratio[at], view.old_probs[at]
    gains = signed_gains(objective, ratio, old_probs)
    parts = split_by_cause(objective, gains, ratio, old_probs, plus, minus)
    weights = plus * gains.plus - minus * gains.minus
    if keep is not None:
        # Survivors are what moves the policy; the unclipped step is that of all samples, estimated without bias from them.
        parts["unclipped"] = plus / keep.plus - minus / keep.minus
        parts["other"] = weights - parts["unclipped"] - parts["clip_low"] - parts["clip_high"]

    pushes = Pushes(at, weights, ratio, old_probs)
    step = optimizer.step(cell, now, pushes, rate)
    after, shift = now.moved(step.total)
    columns: dict[str, np.ndarray] = {cause: step.value(parts[cause]) for cause in CAUSES} | step.causes
    slopes = now.slopes(step.total)
    columns["curvature"] = slopes.second / 2
    columns["measured"] = after.entropy - now.entropy
    causes = sum(columns[c] for c in (*CAUSES, *step.causes))
    columns["remainder"] = columns["measured"] - causes - columns["curvature"]
    columns |= {"entropy_before": now.entropy, "entropy": after.entropy, "step_variance": slopes.variance}
    gradient = now.mass * now.excess
    gradient *= step.total
    columns["_inner"] = -np.sum(gradient, axis=1)
    columns["_scale"] = np.sum(np.abs(gradient), axis=1)
    columns["_bound"] = _remainder_bound(now, after, step.total, slopes, columns, population.laws.vocab)

    terms = Terms(objective, scheme.geometry, scheme.batch, scheme.shared_group, moments, rate, keep)
    columns |= _theory(cell, population, view, terms)
    low, high = objective.sets(ratio, old_probs)
    either = draw.n_plus + draw.n_minus
    of_low, of_high = (draw.n_minus, draw.n_plus) if objective.gated else (either, either)
    counts = {
        "clip_count_low": of_low * low,
        "clip_count_high": of_high * high,
        "count_plus": draw.n_plus,
        "count_minus": draw.n_minus,
    }
    columns |= {name: pushes.by_unit(events, len(rate)) for name, events in counts.items()}
    log_ratio = cell.log_probs - cell.old_log_probs
    old_mass = cell.weight * view.old_probs
    columns["kl"] = -total(old_mass, log_ratio)
    old_mass *= log_ratio
    columns["log_ratio_sq"] = total(old_mass, log_ratio)
    columns["ratio_max"] = np.max(view.ratio, axis=1, where=cell.weight != 0, initial=0.0)
    new = replace(cell, log_probs=after.log_probs, probs=after.probs, shift=cell.shift + shift, moments=step.moments)
    return new, columns


def _theory(cell: Cell, population: Population, view: View, terms: Terms) -> dict[str, np.ndarray]:
    """Clip sets and expectations; units whose unsampled actions straddle a bound are summed piece by piece."""
    columns = expected_columns(view, terms)
    for unit in straddling(cell, population, terms.objective, view):  # rare: one update in which a bound passes the tail
        # Nodes mean that the reward ignores the action, and then the moments are the same in all units.
        pieces = cut_view(cell, population, terms.objective, view, unit)
        for name, value in expected_columns(pieces, terms._replace(rate=terms.rate[unit : unit + 1])).items():
            columns[name][unit] = value[0]
    return columns


def _rows(columns: Columns, some: np.ndarray) -> Columns:
    return Columns(*(getattr(columns, name)[some] for name in ("log_probs", "weight", "probs", "mass", "entropy", "excess")))


def _remainder_bound(
    now: Columns, after: Columns, step: np.ndarray, slopes: Slopes, columns: dict[str, np.ndarray], vocab: int
) -> np.ndarray:
    """Bound on |remainder|: see accounting.remainder_bound, whose rule this is for sums over columns."""
    start, end = np.abs(slopes.third), np.abs(after.slopes(step).third)
    eps = float(np.finfo(np.float64).eps)
    rounding = 64 * eps * (1 + columns["entropy_before"] + columns["_scale"] + np.abs(columns["curvature"]))
    bound = (np.maximum(start, end) + np.abs(start - end)) / 6 + rounding
    size = np.abs(columns["remainder"])
    for points in (9, 257):
        beyond = np.flatnonzero(size > bound)
        if len(beyond) == 0:
            break
        moves = step[beyond]
        largest, smallest = largest_third(_rows(now, beyond), moves, points)
        seen, spread = (2 * largest - smallest) / 6, path_range(moves, now.weight[beyond])
        # A grid sees what happens within a logit. For longer paths T3's own bound is what is proved; it says little there.
        bound[beyond] = np.where(spread < points, seen, np.maximum(seen, proved_remainder(spread, vocab))) + rounding[beyond]
    return bound
