"""What the processes of a distributed training say together; with one process nothing changes."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["agreed", "averaged", "distributed", "first_process", "shared"]


def distributed() -> bool:
    """Tell whether there is more than one process."""
    return torch.distributed.is_available() and torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1


def averaged(vectors: list[Any]) -> list[Any]:
    """Return means over the processes, whose losses are means over their own tokens; in place."""
    if not distributed():
        return vectors
    for vector in vectors:
        torch.distributed.all_reduce(vector)
        vector /= torch.distributed.get_world_size()
    return vectors


def agreed(reason: str | None, tokens: float, device: Any) -> str | None:
    """Return why an update cannot be accounted, the same in every process; None if it can.

    reason: of this process. tokens: of its minibatch that count.
    """
    others = 0.0
    if distributed():
        seen = torch.tensor([float(reason is not None), tokens], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(seen)
        others, tokens = seen.tolist()
    if reason is None and others:
        return "another process could not account for its part"
    return reason or (None if tokens else "no token of its minibatch counted, or minibatch() was not called")


def first_process() -> bool:
    """Tell whether this is the first process, which writes."""
    return not (torch.distributed.is_available() and torch.distributed.is_initialized()) or torch.distributed.get_rank() == 0


def shared(contexts: Any) -> Any:
    """Return the first process's contexts, in every process."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return contexts
    held = [contexts]
    torch.distributed.broadcast_object_list(held, src=0)
    return held[0]
