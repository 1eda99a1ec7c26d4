"""The inner loops of the reduced engine: numpy (the reference) or compiled by numba (fused_*.py), same functions and results.

numba is optional. Its kernels read every point a few times where numpy makes dozens of passes with temporaries.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from entclip.engines.reduced import basis
from entclip.engines.reduced import point_sums as sums
from entclip.engines.reduced import searches as rows
from entclip.support.errors import SpecError
from entclip.support.extras import install

__all__ = ["NUMPY", "KernelName", "Kernels", "kernels_named"]

KernelName = Literal["numpy", "numba"]
Arrays = Callable[..., tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Kernels:
    """The functions of rows.py, basis.py and sums.py that a chunk's work is made of; their docstrings are there."""

    name: KernelName
    find: Callable[..., np.ndarray]
    insert: Callable[..., None]
    last_at_most: Callable[..., np.ndarray]
    added_up: Arrays
    leave: Arrays
    flow: Callable[..., np.ndarray]
    measure: Callable[..., tuple[sums.PolicySums, np.ndarray, np.ndarray]]
    move: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray, sums.StepSums]]
    largest_third: Arrays


def _of(name: KernelName, *modules: Any) -> Kernels:
    names = [f for f in Kernels.__dataclass_fields__ if f != "name"]
    return Kernels(name, **{f: next(getattr(m, f) for m in modules if hasattr(m, f)) for f in names})


NUMPY = _of("numpy", rows, basis, sums)


def kernels_named(name: KernelName | None) -> Kernels:
    """Return the kernels of that name; None: numba's where it is installed, else numpy's. Raises: SpecError if they cannot be
    had."""
    if name == "numpy":
        return NUMPY
    if name not in (None, "numba"):
        raise SpecError(f'kernels = {name!r}: choose "numpy" or "numba".')
    try:
        import_module("numba")
    except ImportError as error:  # not there, or not for this numpy
        if name is None:
            return NUMPY
        raise SpecError(f"kernels = 'numba' needs numba ({error}): {install('fast')}, or use kernels = 'numpy'.") from None
    return _of("numba", *(import_module(f"entclip.engines.reduced.{module}") for module in ("fused_rows", "fused_sums")))
