"""The kernels in triton: one pass per row and update, on CUDA, or anywhere under the interpreter (TRITON_INTERPRET=1).

A program reads `_TILES` tiles of one row, keeps one partial sum per lane in the tables' dtype, adds the lanes up in float64 and
writes its partials; those of a row are added in float64. So a float32 sum carries at most (_TILES + 1)/2 ulps of rounding
however long the row, next to that of its terms. Error bound for float32 tables, eps = 2^-23: a term e^x is exact to
eps (|x| + 4), where x = theta - log Z uses log Z in two parts, hence

    |error of log Z|, |error of H|  <=  eps E_pi[(|x| + 8)(|x| + 1 + H)].

Every pass starts from stored logits, so errors do not add up over updates. With float64 tables the same holds for 2^-52.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from entclip.drift.adam import Adam
from entclip.engines.tokens.kernels.passes import ADAM, EXPECTED, POWERS, RATIO, Comparison, Norm, Slots, Tensor
from entclip.engines.tokens.kernels.reference import Terms, adam_terms, next_norm
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import kinds
from entclip.support.extras import install

try:
    import triton

    from entclip.engines.tokens.kernels.triton_passes import dense, sparse
except ImportError as error:
    raise ImportError(f"the fused kernels need triton: {install('triton')} (Linux), or use the eager kernels.") from error

__all__ = ["INTERPRETED", "SHAPES", "Shape", "adam_step", "euclidean_step", "knows", "look", "measure", "sparse_step"]

_TILES = 8


class Shape(NamedTuple):
    """How wide a tile is, and how many warps read it."""

    block: int
    warps: int


# By bytes of a number, step and view of `triton_passes.dense`. Each lane of a tile keeps each sum in a register, and wider tiles
# spill them to memory, which tests/engines/tokens/compiled.py counts. Those of float32 were the fastest that spill nothing
# on one H100, of the passes that `python -m benchmarks.kernels --sweep` times.
SHAPES = {
    **{(4, step, 0): Shape(1024, 8) for step in (0, 1)},
    **{(4, step, 1): Shape(256, 4) for step in (0, 1)},
    **{(4, step, 2): Shape(512, 4) for step in (0, 1)},
    **{(4, 2, view): Shape(512, 4) for view in (0, 1, 2)},
    **{(8, step, view): Shape(512, 8) for step in (0, 1) for view in (0, 1)},
    **{(8, step, 2): Shape(256, 8) for step in (0, 1)},
    **{(8, 2, view): Shape(256, 8) for view in (0, 1, 2)},
}


class _Held(NamedTuple):
    """A kind of objective in triton_passes._gains: its number, the parameters that it reads, whether its sets are gated."""

    number: int
    parameters: tuple[str, ...]
    gated: bool = True


_PARAMETERS = {
    "none": _Held(0, ()),
    "clip": _Held(1, ("low", "high")),
    "dual_clip": _Held(2, ("low", "high", "cap")),
    "cispo": _Held(3, ("low", "high"), gated=False),
    "sapo": _Held(4, ("tau_pos", "tau_neg")),
    "ce_gppo": _Held(5, ("low", "high", "beta_low", "beta_high")),
    "dppo_tv": _Held(6, ("delta",)),
}
_KNOWN = {kinds()[kind]: entry for kind, entry in _PARAMETERS.items()}

INTERPRETED = not isinstance(dense, triton.JITFunction)


def _check(table: Tensor) -> None:
    if not table.is_cuda and not INTERPRETED:
        raise ValueError(
            f"the fused kernels run on CUDA tensors, got one on {table.device}: use entclip.engines.tokens.kernels.reference, or "
            "set TRITON_INTERPRET=1 before triton is imported to interpret them."
        )
    if not table.is_contiguous():
        raise ValueError("the fused kernels need contiguous tables: call .contiguous() first.")


def _sum_names(step: int, view: int) -> tuple[str, ...]:
    body = ADAM if step == 2 else POWERS
    return (*(("s0", "s1") if step else ()), *body, *(RATIO if view else ()), *(EXPECTED if view == 2 else ()))


def _parameters(view: Comparison | None, adam: Adam | None) -> tuple[int, list[float]]:
    """The objective's number and the kernel's float64 parameters."""
    kind, values = 0, [0.0] * 15
    if view is not None:
        kind, names, _ = _kind_of(view.objective)
        values[: len(names)] = [float(getattr(view.objective, name)) for name in names]
        values[4:8] = view.moments or (0.0,) * 4
    if adam is not None:
        correction = 1 / (1 - adam.beta2**adam.update)
        values[8:] = [adam.beta1, adam.beta2, correction, adam.eps, adam.decay, 1 - adam.beta1, 1 - adam.beta2]
    return kind, values


def knows(objective: Objective) -> bool:
    """Tell whether the kernels hold this very class of objective."""
    return type(objective) in _KNOWN


def _kind_of(objective: Objective) -> _Held:
    if not knows(objective):
        raise ValueError(
            f"the fused kernels know {', '.join(_PARAMETERS)}, not {type(objective).__name__}: use "
            "entclip.engines.tokens.kernels.reference."
        )
    return _KNOWN[type(objective)]


def _run_dense(
    logits: Tensor, norm: Norm, pull: Tensor | None, view: Comparison | None, adam: Adam | None, m: Tensor, v: Tensor
) -> Terms:
    """One pass of `triton_passes.dense`: its sums (T,), with s0 and s1 if it stepped."""
    _check(logits)
    total, vocab = logits.shape
    step = 2 if adam is not None else 1 if pull is not None else 0
    depth = 0 if view is None else 1 if view.moments is None else 2
    names = _sum_names(step, depth)
    kind, values = _parameters(view, adam)
    zero = torch.zeros_like(norm.log_z)
    rate = zero if adam is None else adam.learning_rate
    correction = 1.0 if adam is None else 1 - adam.beta1**adam.update
    columns = [norm.log_z, norm.entropy, zero if pull is None else pull, zero if view is None else view.old_log_z]
    rows = torch.stack([*columns, rate / correction, rate], dim=1)
    # Without non_blocking the host would wait here until the device has done all that was asked of it before.
    scalars = torch.tensor(values, dtype=torch.float64).to(logits.device, non_blocking=True)
    block, warps = SHAPES[logits.element_size(), step, depth]
    programs = triton.cdiv(vocab, block * _TILES)
    partials = torch.empty((total, programs, len(names)), dtype=torch.float64, device=logits.device)
    extremes = torch.empty((total, programs, 3), dtype=torch.float64, device=logits.device)
    old = logits if view is None else view.old_logits
    _check(old)
    limit = 0.975 * math.log(torch.finfo(logits.dtype).max)
    dense[(total, programs)](
        logits,
        old,
        m,
        v,
        rows,
        scalars,
        partials,
        extremes,
        limit,
        V=vocab,
        BLOCK=block,
        TILES=_TILES,
        ROW=rows.shape[1],
        SUMS=len(names),
        STEP=step,
        VIEW=depth,
        KIND=kind,
        GATED=view is None or _kind_of(view.objective).gated,
        NATURAL=view is not None and view.geometry == "natural",
        COUPLED=adam is not None and adam.coupled,
        num_warps=warps,
        enable_fp_fusion=True,
    )
    sums = dict(zip(names, partials.sum(1).unbind(1), strict=True))
    if depth:
        sums["log_ratio_max"] = extremes[:, :, 0].amax(1)
    if step == 2:
        sums |= {"step_max": extremes[:, :, 1].amax(1), "step_min": -extremes[:, :, 2].amax(1)}
    return sums


def measure(logits: Tensor) -> Norm:
    """Return log Z and H of each row of (T, V): a pass that moves nothing, against the row's largest logit."""
    top = logits.amax(1).double()
    zero = torch.zeros_like(top)
    sums = _run_dense(logits, Norm(top, zero, zero), zero, None, None, logits, logits)
    return next_norm(Norm(top, zero, zero), sums)


def look(logits: Tensor, norm: Norm, view: Comparison) -> Terms:
    """Return POWERS and the sums of a view."""
    return _run_dense(logits, norm, None, view, None, logits, logits)


def euclidean_step(logits: Tensor, norm: Norm, slots: Slots, pull: Tensor, view: Comparison | None = None) -> tuple[Norm, Terms]:
    """Add pull pi_a + push_a to theta_a in place: one pass for the pull, then the slots' push in a second, tiny kernel."""
    sums = _run_dense(logits, norm, pull, view, None, logits, logits)
    return sparse_step(logits, next_norm(norm, sums, torch.finfo(logits.dtype).eps), slots), sums


def sparse_step(logits: Tensor, norm: Norm, slots: Slots) -> Norm:
    """Add push_a to theta_a for the slots' actions in place; see reference.sparse_step."""
    _check(logits)
    norms = torch.stack(norm, dim=1)
    out = torch.empty_like(norms)
    width = slots.actions.shape[1]
    block = min(1024, triton.next_power_of_2(width))
    tables = (slots.actions.contiguous(), slots.push.contiguous(), slots.count)
    sparse[(len(logits),)](
        logits, *tables, norms, out, V=logits.shape[1], B=width, BLOCK=block, num_warps=1, enable_fp_fusion=True
    )
    return Norm(*out.unbind(1))


def adam_step(
    logits: Tensor, m: Tensor, v: Tensor, norm: Norm, slots: Slots, pull: Tensor, adam: Adam, view: Comparison | None = None
) -> tuple[Norm, Terms, Tensor]:
    """Make one update of Adam or AdamW in place: one pass with the pull alone, then the slots' own update in its place.

    What the pass did to a slot is computed again in float64 and taken out of the sums; step_max and step_min still count it, so
    that they bound the steps and need not be reached. See reference.adam_step.
    """
    for table in (m, v):
        _check(table)
    tables = (logits, m, v)
    theta, first, second = (table.gather(1, slots.actions).double() for table in tables)
    sums = _run_dense(logits, norm, pull, view, adam, m, v)
    pulled = pull[:, None] * (theta - norm.log_z[:, None]).exp()
    alone, own = (
        adam_terms(theta, first, second, norm.log_z, norm.entropy, gradient, adam) for gradient in (pulled, pulled + slots.push)
    )
    for table, new in zip(tables, own[:3], strict=True):
        table.scatter_(1, slots.actions, new.to(table.dtype))
    used = slots.used
    for name in ADAM:
        sums[name] = sums[name] + ((own[3][name] - alone[3][name]) * used).sum(-1)
    steps = own[3]["step"]
    sums["step_max"] = torch.maximum(sums["step_max"], steps.amax(1))
    sums["step_min"] = torch.minimum(sums["step_min"], steps.amin(1))
    y, y0 = ((new.to(logits.dtype).double() - norm.log_z[:, None]) for new in (own[0], alone[0]))
    q, q0 = y.exp() * used, y0.exp() * used
    sums["s0"] = sums["s0"] + (q - q0).sum(-1)
    sums["s1"] = sums["s1"] + (q * y - q0 * y0).sum(-1)
    return next_norm(norm, sums), sums, own[4]
