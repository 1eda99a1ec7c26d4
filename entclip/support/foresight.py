"""What a piece of work will take: what cannot end is refused before it begins, what takes long or much memory is announced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from entclip.support.errors import SpecError
from entclip.support.memory import gib

__all__ = ["Size", "announced", "duration", "refuse_oversize"]

_LONG, _LONGEST = 60, 30 * 86_400  # seconds
_LARGE = 2**30  # bytes


@dataclass(frozen=True)
class Size:
    """Bytes held at the peak and seconds on an idle machine with two cores. Both are rough: within a factor of about five.

    held: what takes the memory, bytes by words with numbers.   work: what takes the time, in words with numbers.
    """

    held: Mapping[str, float]
    seconds: float
    work: str

    @property
    def memory(self) -> float:
        """Return the bytes at the peak."""
        return sum(self.held.values())

    @property
    def largest(self) -> str:
        """Say what takes most of the memory."""
        return max(self.held, key=lambda words: self.held[words])


def duration(seconds: float) -> str:
    """Say a time as a reader does: one figure and a unit."""
    for unit, name in ((31_557_600, "year"), (86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 0.95 * unit:
            number = float(f"{seconds / unit:.1g}")
            return f"{number:,.0f} {name}{'' if number == 1 else 's'}" if number < 1e6 else f"{number:.0e} {name}s"
    return f"{max(seconds, 1):.0f} second{'' if seconds < 1.5 else 's'}"


def announced(size: Size) -> str:
    """Say what a reader should know of beforehand: "about 2 hours, about 1.9 GiB of memory"; "" below a minute and a GiB."""
    time = f"about {duration(size.seconds)}" if size.seconds >= _LONG else ""
    memory = f"about {gib(size.memory)} of memory" if size.memory >= _LARGE else ""
    return ", ".join(filter(None, (time, memory)))


def refuse_oversize(size: Size, available: float, subject: str, fix: str, place: str = "") -> None:
    """Raise SpecError if the work needs more memory than is available, or over a month.

    subject: what would take it; fix: what makes it smaller; place: where the memory is, such as " on cuda".
    """
    if size.memory > available:
        raise SpecError(
            f"{subject} would take about {gib(size.memory)} of memory, most of it for {size.largest}, but {gib(available)} are "
            f"free{place}: {fix}."
        )
    if size.seconds > _LONGEST:
        raise SpecError(
            f"{subject} would take about {duration(size.seconds)} ({size.work}), over the limit of {duration(_LONGEST)}: {fix}."
        )
