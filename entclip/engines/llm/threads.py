"""How many threads a model's arithmetic is spread over."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

__all__ = ["is_small", "threads_for"]

_SMALL = 10**7  # parameters: below it no operation is large enough to be shared


def is_small(model: Any) -> bool:
    """Tell whether the time of a pass through the model goes into starting its operations rather than into arithmetic."""
    return bool(sum(p.numel() for p in model.parameters()) < _SMALL)


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """Keep a small model on one thread, and leave a large one as it is.

    An operation of a small model takes microseconds; to share it out takes longer, and twenty times longer where another process
    holds a core, since torch's threads wait for each other at every operation. The ledger does not depend on the number either.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1 if is_small(model) else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
