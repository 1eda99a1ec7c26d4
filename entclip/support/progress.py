"""Progress of a long command on standard error: a bar with the time left in a terminal, one plain line a minute elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Advance", "progress"]

Advance = Callable[[], None]
_EVERY = 60.0  # seconds between plain lines
_FIRST = 5.0  # seconds until the first estimate of a plain line, and between what is said before any part is done
_BAR = 16  # columns
_SILENT = 2.0  # seconds without a part, after which a bar says what is going on


@contextmanager
def progress(title: str, total: int, *, first: str = "", quiet: bool = False) -> Iterator[Advance]:
    """Yield a function to call after each of `total` parts; threads may share it.

    What the package logs meanwhile ("generating 256 responses") is shown while a part is long in coming.

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
        lines = _Lines(title, total, first)
        with _listening(lines.note):
            yield lines.advance
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    if first:  # too long for the line of the bar
        console.print(f"{title}: {first}")
    room = max(8, console.width - _BAR - 29)

    def shown(text: str) -> str:
        """The text in what the bar and the times leave of a line: rich would cut those first."""
        return text if len(text) <= room else f"{text[: room - 1]}…"

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=_BAR),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(shown(title), total=total)
        moved = time.monotonic()

        def advance() -> None:
            nonlocal moved
            moved = time.monotonic()
            bar.update(task, advance=1, description=shown(title))

        def note(text: str) -> None:
            if time.monotonic() - moved > _SILENT:
                bar.update(task, description=shown(text))

        with _listening(note):
            yield advance


@contextmanager
def _listening(note: Callable[[str], None]) -> Iterator[None]:
    """Pass on what the package logs as information."""

    class _Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage())

    log, handler = logging.getLogger("entclip"), _Notes()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Lines:
    """The plain lines: one at once, one after a long first part, one when the time left can be told, then one a minute."""

    def __init__(self, title: str, total: int, first: str) -> None:
        self.title, self.total, self.done = title, total, 0
        self.start, self.due, self.lock = time.monotonic(), _FIRST, threading.Lock()
        self.moved = self.said = self.begun = 0.0  # seconds after the start; begun: when the first part was done
        _say(f"{title}: {first}" if first else title)

    def advance(self) -> None:
        with self.lock:
            self.done += 1
            self.moved = taken = time.monotonic() - self.start
            if self.done == 1:
                # It may have loaded a model, and threads end their first parts together: the others are measured from here.
                self.begun, self.due = taken, max(self.due, taken)
            if taken < self.due or self.done == self.total:
                return
            words, since = f"{self.title}: {self.done:,} of {self.total:,} in {_words(taken)}", taken - self.begun
            if since >= _FIRST:
                words += f", about {_words(since * (self.total - self.done) / (self.done - 1))} left"
            elif self.done > 1:
                self.due = self.begun + _FIRST
                return
            self.said, self.due = taken, taken + (_EVERY if since else _FIRST)
            _say(words)

    def note(self, text: str) -> None:
        """Say what is going on while no part gets done: after five seconds, then ever less often, down to once a minute."""
        with self.lock:
            taken = time.monotonic() - self.start
            least = _EVERY if self.done else min(max(_FIRST, taken / 8), _EVERY)
            if taken - max(self.said, self.moved) >= least:
                self.said = taken
                _say(f"{self.title}: {text} ({_words(taken)} so far)")


def _say(line: str) -> None:
    import sys

    print(line, file=sys.stderr, flush=True)


def _words(seconds: float) -> str:
    """A duration for a reader.

    >>> [_words(s) for s in (0.2, 59.0, 150.0, 3000.0, 3580.0, 7300.0)]
    ['1 s', '59 s', '2 min 30 s', '50 min', '1 h 0 min', '2 h 2 min']
    """
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
