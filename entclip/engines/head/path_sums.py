"""Entropy along a step from sums over actions that arrive block by block. Claims T2, T3.

With x = log pi + H and the step d in one context: sums of p d^k and p x d^k give the derivatives of the entropy at pi; the same
sums with weights p (e^d - 1) give what the step changes, hence log Z, the entropy and its derivatives after the step. No
difference of two entropies is taken, so a small change is exact to rounding of its own size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PathSums", "Realised", "path_sums", "realised"]

_ORDER = 4  # highest power of d


class PathSums(NamedTuple):
    """Sums over actions, (..., 5) for k = 0..4: p d^k, p x d^k, and the same with p (e^d - 1)."""

    plain: Tensor
    mixed: Tensor
    change_plain: Tensor
    change_mixed: Tensor


class Realised(NamedTuple):
    """One step of every context, each (...): change of log Z and of entropy, first and second derivative and Var_pi(d) at its
    start, third derivative at both ends."""

    log_z: Tensor
    entropy: Tensor
    first: Tensor
    second: Tensor
    variance: Tensor
    thirds: tuple[Tensor, Tensor]


def path_sums(probs: Tensor, x: Tensor, step: Tensor) -> PathSums:
    """Return the sums of one block (..., v), in float64; blocks add up."""
    sums = []
    for weight in (probs, probs * torch.expm1(step)):
        plain, mixed = [], []
        for k in range(_ORDER + 1):  # powers of d
            if k:
                weight = weight * step
            plain.append(weight.sum(-1).double())
            mixed.append(torch.linalg.vecdot(weight, x).double())
        sums += [torch.stack(plain, -1), torch.stack(mixed, -1)]
    return PathSums(*sums)


def _derivatives(plain: Tensor, mixed: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """H', H'', H''' and Var(d) from raw moments of d and of d with l, by joint cumulants (T3); l up to a constant."""
    total = plain[..., 0]
    (d1, d2, d3), (m0, m1, m2, m3) = ((x / total[..., None]).unbind(-1) for x in (plain[..., 1:4], mixed[..., :4]))
    c1 = m1 - m0 * d1
    c2 = m2 - 2 * d1 * m1 - m0 * (d2 - 2 * d1**2)
    c3 = m3 - 3 * d1 * m2 + 3 * d1**2 * m1 - d1**3 * m0 - m0 * (d3 - 3 * d1 * d2 + 2 * d1**3)
    variance, skew = d2 - d1**2, d3 - 3 * d1 * d2 + 2 * d1**3
    return -c1, -c2 - variance, -(c3 - 3 * c1 * variance) - 2 * skew, variance


def realised(sums: PathSums) -> Realised:
    """Return what the step did, from the sums over all actions."""
    plain, mixed, extra_plain, extra_mixed = sums
    growth = extra_plain[..., 0]  # sum p (e^d - 1) = Z'/Z - 1
    # sum p e^d (x + d) with the terms that cancel left out: sum p x = 0.
    surprise = extra_mixed[..., 0] + extra_plain[..., 1] + plain[..., 1]
    log_z = torch.log1p(growth)
    first, second, third, variance = _derivatives(plain, mixed)
    # After the step the weights are p e^d and the log-probability is x + d up to a constant.
    after_plain = plain + extra_plain
    after_mixed = (mixed + extra_mixed)[..., :4] + after_plain[..., 1:]
    return Realised(
        log_z, log_z - surprise / (1 + growth), first, second, variance, (third, _derivatives(after_plain, after_mixed)[2])
    )
