"""A number that an answer rests on."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Evidence"]


@dataclass(frozen=True)
class Evidence:
    """A number and where it comes from.

    metric: name as logged, or what was computed from it. error: standard error, None where there is none. first, last: lines of
    the file (or numbers of the record) between which the rows lie; rows: how many of them.
    """

    metric: str
    value: float
    error: float | None = None
    first: int = 0
    last: int = 0
    rows: int = 0
