"""numba's compiler as the reduced engine uses it. Importing this needs numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["compiled"]


def compiled(function: Callable[..., Any]) -> Any:
    """Return the function compiled when it is first called, without the interpreter's lock, and with numpy's rules for division.

    Kept on disk by its own file's date: after a change of a constant that it imports, touch that file. No fast-math: the same
    machine gives the same bits.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder that compiled functions could be kept in
        return numba.njit(nogil=True, error_model="numpy")(function)
