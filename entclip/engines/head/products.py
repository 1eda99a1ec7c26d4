"""Matrix products of a stated precision, and blocks over the vocabulary: what keeps T x V from ever being stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Products", "batched", "blocks"]


@dataclass(frozen=True)
class Products:
    """a b for matrices; with `bfloat16` the factors are rounded to it and the sum is kept in float32."""

    bfloat16: bool = False

    def __call__(self, a: Tensor, b: Tensor) -> Tensor:
        """(..., m, k) times (..., k, n), leading axes broadcast."""
        if not self.bfloat16:
            return a @ b
        if a.is_cuda:
            # Without out_dtype the sum would come back rounded to bfloat16, and log-probabilities with it.
            return batched(lambda left, right: torch.bmm(left, right, out_dtype=torch.float32), a.bfloat16(), b.bfloat16())
        # Products of two bfloat16 numbers are exact in float32: rounding the factors gives the device's result, not its speed.
        return batched(torch.bmm, self.rounded(a), self.rounded(b))

    def rounded(self, a: Tensor) -> Tensor:
        """Return a factor as the product sees it."""
        return a.bfloat16().to(a.dtype) if self.bfloat16 else a

    @property
    def eps(self) -> float:
        """Return the rounding of a factor, 0 where it is that of the dtype."""
        return float(torch.finfo(torch.bfloat16).eps) if self.bfloat16 else 0.0


def batched(product: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Return (..., m, k) times (..., k, n) by a product of (B, m, k) and (B, k, n): leading axes are broadcast, then made one."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])  # one factor may lack the axis of replicas, or have 1
    left, right = (x.expand(*lead, -1, -1).reshape(-1, *x.shape[-2:]) for x in (a, b))
    return product(left, right).reshape(*lead, a.shape[-2], b.shape[-1])


def blocks(vocab: int, width: int) -> Iterator[slice]:
    """Yield ranges of actions, `width` at a time."""
    return (slice(a, min(a + width, vocab)) for a in range(0, vocab, width))
