"""The arithmetic a model runs in: whole float64, float32, or bfloat16 products over float32 weights."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Float32Head", "arithmetic"]

_CASTS = {torch.Tensor.float, torch.Tensor.to}
_EXACT = {torch.float64, torch.int64, torch.int32, torch.bool}


class _KeepDouble(TorchFunctionMode):
    """Makes casts to float32 casts to float64, of float64 tensors and of whole numbers.

    transformers computes norms and softmax in float32 whatever the model's dtype. In a float64 model that is a loss: entropy
    would be good to 1e-7 only, more than the changes that float64 is asked for to see. Positions are cast, too, since some of
    its versions multiply them with float64 frequencies in a product that takes one dtype.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        # Everything that torch does passes here, a dtype that is looked up included: what casts nothing goes on at once.
        if (func in _CASTS or "dtype" in kwargs) and args and isinstance(args[0], torch.Tensor) and args[0].dtype in _EXACT:
            if func is torch.Tensor.float:
                func = torch.Tensor.double
            elif func is torch.Tensor.to:
                args = (args[0], *(_doubled(value) for value in args[1:]))
            kwargs = {name: _doubled(value) if name == "dtype" else value for name, value in kwargs.items()}
        return func(*args, **kwargs)


def _doubled(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


class Float32Head(torch.nn.Linear):
    """An output layer that leaves autocast: a logit near 20 in bfloat16 is off by .06, and so would be its log-ratio."""

    def forward(self, hidden: Any) -> Any:
        """Return logits in the dtype of the weights."""
        with torch.autocast(hidden.device.type, enabled=False):
            return super().forward(hidden.to(self.weight.dtype))


def arithmetic(dtype: str, device: str) -> AbstractContextManager[Any]:
    """Return a context in which the model computes in this dtype."""
    if dtype == "float64":
        return _KeepDouble()
    if dtype == "bfloat16":
        # Without the cache of rounded weights: it would outlive an update, and the model after a step would be the one before.
        return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, cache_enabled=False)
    return nullcontext()
