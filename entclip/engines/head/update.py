"""One update of the head and its books, in one pass over blocks of actions. Claims T2 to T5, T13.

Each block is read once: log pi_old and the log-ratio by two matrix products, the rows' gradient and step, the log-ratio after
the step by a third, and every sum that the ledger needs. Nothing of size T x V outlives its block.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from entclip.drift.cumulants import directional_derivatives
from entclip.engines.accounting import RunawayError, remainder_bound
from entclip.engines.head.causes import Adjoint, Expectation, Explicit
from entclip.engines.head.expected_curvature import ExpectedCurvature, MeanGains
from entclip.engines.head.gradient import Gradient, logit_gradient
from entclip.engines.head.optimizer import Optimizer, RowStep
from entclip.engines.head.path_sums import PathSums, path_sums, realised
from entclip.engines.head.products import blocks
from entclip.engines.head.state import Block, HeadState, block_from, block_of, displacement, old_logits
from entclip.ledger.columns import causes_in
from entclip.objectives.base import Change, Keep, Objective, View
from entclip.objectives.drop import surviving
from entclip.policies.softmax import importance_ratio, log_softmax
from entclip.rewards.advantage import AdvantageMoments
from entclip.support.progress import followed

__all__ = ["BlockSums", "block_sums", "update"]

Columns = dict[str, Tensor]
BlockSums = Callable[..., tuple[Tensor, PathSums, Columns]]


def update(
    state: HeadState,
    gradient: Gradient,
    rate: float,
    moments: AdvantageMoments | None,
    keep: Keep | None,
    sums_of: BlockSums,
    *,
    shared_group: float | None = None,
) -> tuple[HeadState, Columns]:
    """Return the state after one update and its columns, each (R, T) float64.

    moments: of the advantage, for the expectations of a plain step; None where they are not defined.
    sums_of: `block_sums`, or the same compiled.
    shared_group: probability that two samples of a context are of one group, for the expected curvature; None leaves it out.
    Raises: RunawayError if a column is not finite.
    """
    optimizer = Optimizer(state.experiment.update, rate, state.updates + 1)
    plain = optimizer.spec.optimizer == "sgd"
    pricing: Adjoint | Explicit = Adjoint(state, gradient, rate) if plain else Explicit(state, gradient)
    expectation = None if moments is None or not isinstance(pricing, Adjoint) else Expectation(pricing, moments, keep)
    moved = torch.empty_like(state.moved)
    first, second = (None if x is None else torch.empty_like(x) for x in (state.first, state.second))
    curvature = None
    if expectation is not None and moments is not None and shared_group is not None:
        curvature = ExpectedCurvature(state, gradient, rate, moments, _mean_gains(state, gradient, keep), shared_group)
    path: PathSums | None = None
    sums: Columns = {}
    for rows in followed(blocks(state.vocab, state.width), "an update", part=True):
        logits, displaced = old_logits(state, rows), displacement(state, state.moved, rows)
        chosen = gradient.contexts
        of_minibatch = block_from(logits[:, chosen], displaced[:, chosen], state.old_log_z[:, chosen], state.log_z[:, chosen])
        own = of_minibatch.log_probs.exp()
        made = _row_step(state, gradient, optimizer, rows, own)
        moved[:, rows] = state.moved[:, rows] + made.step
        if first is not None and second is not None and made.first is not None and made.second is not None:
            first[:, rows], second[:, rows] = made.first, made.second
        slope, part, found = sums_of(
            state.objective,
            logits,
            displaced,
            displacement(state, moved, rows),
            state.old_log_z,
            state.log_z,
            state.entropy,
            state.old_entropy,
        )
        path = part if path is None else PathSums(*(a + b for a, b in zip(path, part, strict=True)))
        _add(sums, found)
        pricing.add(rows, slope, own, made)
        if expectation is not None:
            change, ratio = _change(state, of_minibatch, chosen)
            expectation.add(change, slope, own)
            if curvature is not None:
                probs = block_from(logits, displaced, state.old_log_z, state.log_z).log_probs.exp()
                curvature.add(surviving(change, keep).gains, ratio, probs, slope, own)
    assert path is not None
    columns = _columns(state, path, sums, pricing.columns())
    if expectation is not None:
        columns |= expectation.columns()
    if curvature is not None:
        columns["expected_curvature"] = curvature.column()
    columns |= _counts(state, gradient)
    _check_finite(columns)
    if not plain:
        columns["_scale"] = _scale(state, gradient, optimizer, columns)
    columns["_bound"] = _bound(state, moved, columns)
    done = realised(path)
    new = dataclasses.replace(
        state,
        moved=moved,
        first=first,
        second=second,
        updates=state.updates + 1,
        log_z=state.log_z + done.log_z,
        entropy=columns["entropy"],
    )
    return new, columns


def _row_step(state: HeadState, gradient: Gradient, optimizer: Optimizer, rows: slice, probs: Tensor) -> RowStep:
    """The step of some rows; probs: pi of the minibatch's contexts, (R, n, v)."""
    return optimizer(
        state.products(logit_gradient(gradient, gradient.total, probs, rows).mT, state.hidden[gradient.contexts]),
        state.head[:, rows] + state.moved[:, rows],
        None if state.first is None else state.first[:, rows],
        None if state.second is None else state.second[:, rows],
    )


def _scale(state: HeadState, gradient: Gradient, optimizer: Optimizer, columns: Columns) -> Tensor:
    """What rounding of the books is relative to under Adam, (R, T): the absolute terms of <grad H, step>, by cause if need be.

    Causes cancel before the preconditioner sees them, and its size near a gradient of 0 is eta/eps: then each cause's terms are
    far larger than the step's. Where the books of the step alone do not close, those are added up, in a pass of their own.
    """
    terms = 1 + columns["entropy_before"] + columns["_scale"]
    causes = sum((columns[name] for name in causes_in(columns)), torch.zeros_like(terms))
    if bool(((causes - columns["_inner"]).abs() <= 32 * state.eps * terms).all()):
        return columns["_scale"]
    total, chosen = columns["_scale"], gradient.contexts
    pushed = torch.stack([u.abs() for u in gradient.causes.values()]).sum(0)
    for rows in blocks(state.vocab, state.width):
        block = block_of(state, rows)
        probs, own = block.log_probs.exp(), block.log_probs[:, chosen].exp()
        slope = probs * (block.log_probs + state.entropy[..., None].to(probs.dtype)).abs()
        size = logit_gradient(gradient, pushed, own, rows) + 2 * pushed.sum(-1, keepdim=True) * own
        scale = _row_step(state, gradient, optimizer, rows, own).scale
        part = scale * state.products(size.mT, state.hidden[chosen].abs())
        total = total + torch.linalg.vecdot(state.products(slope, part), state.hidden.abs()).double()
    return total


def _view(block: Block, entropy: Tensor, old_entropy: Tensor) -> View:
    ratio = importance_ratio(block.log_ratio, 0.0)
    now, old = (x[..., None].to(ratio.dtype) for x in (entropy, old_entropy))
    return View(ratio, block.old_log_probs.exp().expand_as(ratio), block.log_probs, now, old)


def _change(state: HeadState, block: Block, contexts: Tensor) -> tuple[Change, Tensor]:
    """What the objective does in the contexts of a minibatch, and the ratio, (R, n, v) each."""
    view = _view(block, state.entropy[:, contexts], state.old_entropy[:, contexts])
    return state.objective.change(view), view.ratio


def _mean_gains(state: HeadState, gradient: Gradient, keep: Keep | None) -> MeanGains:
    """The mean gains of a minibatch's contexts, in a pass of their own over blocks: n d V products beside T d V."""
    chosen, means = gradient.contexts, MeanGains()
    some = dataclasses.replace(state, hidden=state.hidden[chosen])
    for rows in followed(blocks(state.vocab, state.width), "what the clip removes"):
        logits, displaced = old_logits(some, rows), displacement(some, state.moved, rows)
        block = block_from(logits, displaced, state.old_log_z[:, chosen], state.log_z[:, chosen])
        means.add(surviving(_change(state, block, chosen)[0], keep).gains, block.log_probs.exp())
    return means


def block_sums(
    objective: Objective,
    logits: Tensor,
    displaced: Tensor,
    after: Tensor,
    old_log_z: Tensor,
    log_z: Tensor,
    entropy: Tensor,
    old_entropy: Tensor,
) -> tuple[Tensor, PathSums, Columns]:
    """Return dH/dlogits (R, T, v) and all sums of a block of actions, from the three products: a pure function, one kernel if
    compiled.

    The logit step is the difference of two displacements' products, as the next update will see it.
    """
    block = block_from(logits, displaced, old_log_z, log_z)
    probs = block.log_probs.exp()
    x = block.log_probs + entropy[..., None].to(probs.dtype)
    slope, step = -probs * x, after - displaced  # T1
    found = _set_sums(objective, _view(block, entropy, old_entropy), block, probs, x)
    found["_scale"] = torch.linalg.vecdot(slope.abs(), step.abs())
    return slope, path_sums(probs, x, step), found


def _set_sums(objective: Objective, view: View, block: Block, probs: Tensor, x: Tensor) -> Columns:
    """Sums of a block over the clip sets, and what describes pi against pi_old. Claim T6, euclidean entropy value."""
    old, change = view.old_probs, objective.change(view)
    surprise = -probs * x
    value = probs * surprise
    out = {"_value": value.sum(-1), "kl": -torch.linalg.vecdot(old, block.log_ratio)}
    out |= {"log_ratio_sq": torch.linalg.vecdot(old, block.log_ratio**2), "ratio_max": view.ratio.amax(-1)}
    for side, inside in (("low", change.low), ("high", change.high)):
        held = inside.to(probs.dtype)
        out[f"pi_{side}"] = torch.linalg.vecdot(probs, held)
        out[f"mass_{side}"] = torch.linalg.vecdot(value, held)
        out[f"surprise_{side}"] = torch.linalg.vecdot(surprise, held)
    return out


def _add(sums: Columns, part: Columns) -> None:
    """Add a block's sums in float64; ratio_max is a maximum."""
    for name, value in part.items():
        if name in sums:
            new = value.double()
            sums[name] = torch.maximum(sums[name], new) if name == "ratio_max" else sums[name] + new
        else:
            sums[name] = value.double()


def _columns(state: HeadState, path: PathSums, sums: Columns, causes: Columns) -> Columns:
    done = realised(path)
    mean_value = sums.pop("_value")
    columns = dict(causes)
    columns["curvature"] = done.second / 2
    columns["measured"] = done.entropy
    columns["remainder"] = done.entropy - sum(causes.values(), torch.zeros_like(done.entropy)) - columns["curvature"]
    columns |= {"entropy_before": state.entropy, "entropy": state.entropy + done.entropy}
    columns |= {"step_variance": done.variance, "_inner": done.first}
    columns["_third"] = torch.maximum(*(t.abs() for t in done.thirds)) + (done.thirds[0].abs() - done.thirds[1].abs()).abs()
    columns |= sums
    for side in ("low", "high"):
        columns[f"mass_{side}"] = sums[f"mass_{side}"] - sums[f"pi_{side}"] * mean_value
    return columns


def _counts(state: HeadState, gradient: Gradient) -> Columns:
    """Samples per context and how many were clipped; 0 outside the minibatch."""
    out: Columns = {}
    for name, value in gradient.counts.items():
        out[name] = torch.zeros_like(state.log_z)
        out[name][:, gradient.contexts] = value
    return out


def _check_finite(columns: Columns) -> None:
    bad = [name for name, value in columns.items() if not bool(torch.isfinite(value).all())]
    if bad:
        raise RunawayError(
            f"{', '.join(bad[:3])} is no finite number: a step moves logits further than its exponential can be held. Use a "
            "smaller update.learning_rate (every context of a minibatch adds to the step), or a larger update.batch."
        )


def _bound(state: HeadState, moved: Tensor, columns: Columns) -> Tensor:
    """Bound on |remainder| as in accounting.py: both ends of the path settle nearly every unit, few are looked at whole."""
    third = columns.pop("_third")
    terms = 1 + columns["entropy_before"] + columns["_scale"] + columns["curvature"].abs()
    bound = third / 6 + 64 * state.eps * terms
    beyond = columns["remainder"].abs() > bound
    if not bool(beyond.any()):
        return bound
    replica, context = torch.nonzero(beyond, as_tuple=True)
    size = max(1, (len(beyond) * beyond.shape[1] * state.width) // state.vocab)
    for k in range(0, len(replica), size):  # as many rows of V as a block holds
        some = (replica[k : k + size], context[k : k + size])
        log_probs, step = _rows(state, moved, *some)
        part = {name: columns[name][some] for name in ("entropy_before", "_scale", "curvature", "remainder")}
        after, at_start = log_softmax(log_probs + step), directional_derivatives(log_probs, step).third
        bound[some] = torch.maximum(bound[some], remainder_bound(log_probs, after, step, at_start, part))
    return bound


def _rows(state: HeadState, moved: Tensor, replica: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """log pi and the logit step of a few units over all actions, (n, V) float64."""
    log_probs, step = [], []
    for rows in blocks(state.vocab, state.width):
        log_probs.append(block_of(state, rows).log_probs[replica, context].double())
        change = displacement(state, moved, rows) - displacement(state, state.moved, rows)
        step.append(change[replica, context].double())
    return torch.cat(log_probs, -1), torch.cat(step, -1)
