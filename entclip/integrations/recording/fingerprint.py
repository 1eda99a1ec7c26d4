"""Whether any weight of a model has changed since it was last looked at, without a copy of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["fingerprint"]

_WHOLE = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes of a number
_CHUNK = {"cpu": 2**16, "cuda": 2**22}  # numbers at a time: what fits the cache, and what is held beside the model


def fingerprint(tensors: Iterable[Any]) -> tuple[int, ...]:
    """Return sums over the bits b_i of every tensor, of b_i (2 i + 1) and of b_i^2, as whole numbers that wrap around.

    A sum of the values would not do: a step of logits adds up to 0 over the actions, so that it leaves that sum as it was. These
    change with a shift between two weights (the second one does) and with an exchange of two (the first).
    """
    sums: dict[Any, list[Any]] = {}  # by device: each of them is waited for once
    for tensor in tensors:
        flat = tensor.detach().contiguous().reshape(-1)
        bits = flat.view(_WHOLE[min(flat.element_size(), 8)])  # a complex number of 16 bytes is two
        size = _CHUNK.get(flat.device.type, _CHUNK["cuda"])
        places = 2 * torch.arange(min(size, len(bits)), device=flat.device) + 1
        for start in range(0, len(bits), size):
            part = bits[start : start + size].long()
            found = ((part * places[: len(part)]).sum() + 2 * start * part.sum(), (part * part).sum())
            sums.setdefault(part.device, []).extend(found)
    return tuple(number for found in sums.values() for number in torch.stack(found).tolist())
