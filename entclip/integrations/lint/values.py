"""Values of a configuration: numbers, text, and what only a shell or another file could supply."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Unresolved", "is_number", "shown"]


@dataclass(frozen=True)
class Unresolved:
    """A value that is not in the configuration itself. why: what it may be, where that is known; among: its numbers then."""

    text: str
    why: str = field(default="", compare=False)
    among: tuple[float, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        return self.why or self.text


def is_number(value: Any) -> bool:
    """Tell whether a value is a number, finite or infinite, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """Return a value as people write it: whole numbers without a point, None as unset, lists in brackets."""
    if value is None:
        return "unset"
    return f"{value:g}" if is_number(value) else str(value)
