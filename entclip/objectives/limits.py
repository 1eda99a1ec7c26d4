"""The limit that most parameters of objectives have: finite and not negative."""

from __future__ import annotations

import math

__all__ = ["check_not_negative"]


def check_not_negative(kind: str, meaning: str, **values: float) -> None:
    """Raise ValueError unless each value of an objective's parameters is finite and at least 0; `meaning` says what it is."""
    for name, value in values.items():
        if not 0 <= value < math.inf:
            raise ValueError(f"{kind}.{name} must be finite and at least 0, got {value}: {meaning}.")
