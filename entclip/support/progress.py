"""Progress of a long command on standard error: a bar with the time left in a terminal, one plain line a minute elsewhere."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["Advance", "followed", "progress"]

T = TypeVar("T")
Advance = Callable[[], None]
Note = Callable[[str, float | None], None]  # what is going on, and which share of the part under way is done
_LOG = logging.getLogger(__name__)
_EVERY = 60.0  # seconds between plain lines
_FIRST = 5.0  # seconds until the first estimate of a plain line, and between what is said before any part is done
_BAR = 16  # columns
_SILENT = 2.0  # seconds without a part, after which a bar says what is going on
_STEP = 1.0  # seconds between two words on the blocks of one part


def followed(blocks: Iterable[T], what: str, *, part: bool = False) -> Iterator[T]:
    """Yield blocks of work one by one, and log once a second how many are done: `progress` shows it while a part is long.

    Args:
        what: the work that they are blocks of, in a few words.
        part: whether it is a whole part of what `progress` counts, so that the time left can be told from its blocks.
    """
    listed = list(blocks)
    told = time.monotonic()
    for index, block in enumerate(listed):
        now = time.monotonic()
        if now - told >= _STEP:
            told = now
            share = index / len(listed) if part else None
            _LOG.info("%s, block %s of %s", what, f"{index + 1:,}", f"{len(listed):,}", extra={"share": share})
        yield block


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
        task, done = bar.add_task(shown(title), total=total), _Done()
        moved = time.monotonic()

        def advance() -> None:
            nonlocal moved
            moved = time.monotonic()
            done.end()
            bar.update(task, completed=done.count, description=shown(title))

        def note(text: str, share: float | None) -> None:
            done.note(share)
            if time.monotonic() - moved > _SILENT:
                bar.update(task, completed=done.count, description=shown(text))

        with _listening(note):
            yield advance


@contextmanager
def _listening(note: Note) -> Iterator[None]:
    """Pass on what the package logs as information."""

    class _Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(record.getMessage(), getattr(record, "share", None))

    log, handler = logging.getLogger("entclip"), _Notes()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)


class _Done:
    """How many parts are done, with the shares of those that threads are at."""

    def __init__(self) -> None:
        self.whole, self.shares = 0, dict[int, float]()

    @property
    def count(self) -> float:
        return self.whole + sum(self.shares.values())

    def end(self) -> None:
        self.whole += 1
        self.shares.pop(threading.get_ident(), None)

    def note(self, share: float | None) -> None:
        if share is not None:
            self.shares[threading.get_ident()] = share


class _Lines:
    """The plain lines: one at once, one after a long first part, one when the time left can be told, then one a minute."""

    def __init__(self, title: str, total: int, first: str) -> None:
        self.title, self.total, self.done = title, total, _Done()
        self.start, self.due, self.lock = time.monotonic(), _FIRST, threading.Lock()
        self.moved = self.said = 0.0  # seconds after the start
        self.base: tuple[float, float] | None = None  # when counting began, and what was done then
        _say(f"{title}: {first}" if first else title)

    def _left(self, taken: float) -> float | None:
        """Seconds that remain, once five of them tell."""
        if self.base is None or taken - self.base[0] < _FIRST or self.done.count <= self.base[1]:
            return None
        return (taken - self.base[0]) * (self.total - self.done.count) / (self.done.count - self.base[1])

    def advance(self) -> None:
        with self.lock:
            self.done.end()
            self.moved = taken = time.monotonic() - self.start
            first = self.base is None
            if self.base is None:
                # It may have loaded a model, and threads end their first parts together: the others are measured from here.
                self.base, self.due = (taken, self.done.count), max(self.due, taken)
            if taken < self.due or self.done.whole == self.total:
                return
            left = self._left(taken)
            if left is None and not first:
                self.due = self.base[0] + _FIRST
                return
            self.said, self.due = taken, taken + (_FIRST if left is None else _EVERY)
            _say(f"{self.title}: {self.done.whole:,} of {self.total:,} in {_words(taken)}{_ahead(left)}")

    def note(self, text: str, share: float | None) -> None:
        """Say what is going on while no part gets done: after five seconds, then ever less often, down to once a minute."""
        with self.lock:
            taken = time.monotonic() - self.start
            self.done.note(share)
            if share is not None and self.base is None:
                self.base = (taken, self.done.count)
            least = _EVERY if self.done.whole else min(max(_FIRST, taken / 8), _EVERY)
            if taken - max(self.said, self.moved) >= least:
                self.said = taken
                _say(f"{self.title}: {text} ({_words(taken)} so far{_ahead(self._left(taken))})")


def _ahead(left: float | None) -> str:
    return "" if left is None else f", about {_words(left)} left"


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
