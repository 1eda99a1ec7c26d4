"""Memory that a torch device has left."""

from __future__ import annotations

import torch

from entclip.support.memory import available_bytes

__all__ = ["free_bytes"]


def free_bytes(device: torch.device) -> int:
    """Return the bytes that can be allocated now on a device, "cpu" or "cuda"."""
    return int(torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else available_bytes()
