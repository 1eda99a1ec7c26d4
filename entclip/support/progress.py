"""Progress of a long command on standard error: a bar with the time left in a terminal, one plain line a minute elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "progress"]

Advance = Callable[[], None]
_EVERY = 60.0  # seconds between plain lines
_FIRST = 5.0  # seconds until the first estimate of a plain line


@contextmanager
def progress(title: str, total: int, *, first: str = "", quiet: bool = False) -> Iterator[Advance]:
    """Yield a function to call after each of `total` parts; threads may share it.

    Args:
        title: what is being done; it may hold what a user wrote.
        first: said at once and until the first part is done: how much there is to do, or what takes long ("loading the model").
        quiet: nothing is printed.
    """
    if quiet:
        yield lambda: None
        return
    from rich.console import Console

    console = Console(stderr=True, markup=False, emoji=False, highlight=False)
    if not console.is_terminal:
        yield _Lines(title, total, first).advance
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False), BarColumn(bar_width=24), TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{title}: {first}" if first else title, total=total)

        def advance() -> None:
            bar.update(task, advance=1, description=title)

        yield advance


class _Lines:
    """The plain lines: one at once, one when the time that is left can be told, then one a minute."""

    def __init__(self, title: str, total: int, first: str) -> None:
        self.title, self.total, self.done = title, total, 0
        self.start, self.due, self.lock = time.monotonic(), _FIRST, threading.Lock()
        _say(f"{title}: {first}" if first else title)

    def advance(self) -> None:
        with self.lock:
            self.done += 1
            taken = time.monotonic() - self.start
            if taken < self.due or self.done == self.total:
                return
            self.due = taken + _EVERY
            left = taken * (self.total - self.done) / self.done
            _say(f"{self.title}: {self.done:,} of {self.total:,} in {_words(taken)}, about {_words(left)} left")


def _say(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)


def _words(seconds: float) -> str:
    """A duration for a reader.

    >>> [_words(s) for s in (0.2, 59.0, 150.0, 7300.0)]
    ['1 s', '59 s', '2 min 30 s', '2 h 2 min']
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole < 600 else "")
    return f"{whole // 3600} h {whole % 3600 // 60} min"
