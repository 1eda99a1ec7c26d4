"""The arithmetic a model runs in: whole float64, float32, or bfloat16 products over float32 weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Float32Head", "arithmetic"]


class _KeepDouble(TorchFunctionMode):
    """Skips casts of float64 tensors to float32.

    transformers computes norms and softmax in float32 whatever the model's dtype. In a float64 model that is a loss: entropy
    would be good to 1e-7 only, more than the changes that float64 is asked for to see.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].dtype == torch.float64:
            if func is torch.Tensor.float or (func is torch.Tensor.to and torch.float32 in (*args[1:], kwargs.get("dtype"))):
                return args[0]
            if kwargs.get("dtype") is torch.float32:
                kwargs = {**kwargs, "dtype": torch.float64}
        return func(*args, **kwargs)


class Float32Head(torch.nn.Linear):
    """An output layer that leaves autocast: a logit near 20 in bfloat16 is off by .06, and so would be its log-ratio."""

    def forward(self, hidden: Any) -> Any:
        """Logits in the dtype of the weights."""
        with torch.autocast(hidden.device.type, enabled=False):
            return super().forward(hidden.to(self.weight.dtype))


def arithmetic(dtype: str, device: str) -> AbstractContextManager[Any]:
    """A context in which the model computes in this dtype."""
    if dtype == "float64":
        return _KeepDouble()
    if dtype == "bfloat16":
        # Without the cache of rounded weights: it would outlive an update, and the model after a step would be the one before.
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, cache_enabled=False)
    return nullcontext()
