"""A log as columns: what every reader fills, row by row, in memory that grows with the numbers kept and not with the file."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from entclip.integrations.logs.lines import NoNumber, RoundedZero
from entclip.support.errors import SpecError

__all__ = ["MOST_NUMBERS", "Log", "Table"]

MOST_NUMBERS = 12_000_000  # kept of one log: 96 MB
_MOST_NAMES = 5_000
_LARGEST = 1e15  # a count of tokens is below it, and no metric is above
_MISSING = float("nan")
_RANKS = ("rank", "global_rank", "local_rank", "process_index", "process_rank")  # which process wrote a row


@dataclass(frozen=True)
class Log:
    """Numbers of a log, one array for each name that a library logs: float64, NaN where a row has no such number.

    Attributes:
        columns: name as logged, without the prefix of a run; every array has a number for each row.
        lines: line of the file (or number of the record) that each row came from, from 1.
        source: file or folder; form: how it was written.
        unknown: names that no library's table here has, not kept.
        skipped: lines that look like rows and cannot be read.
        superseded: rows that were left out because a later row goes back to their step or before it, as a resumed run does.
        other_ranks: rows that were left out because another process than that of the first row wrote them.
        unread: names that have text which is no number and never a number, with such a text.
        decimals: to how many a 0 of a name is printed, the most of them, where it is more than one (0.000).
        infinite: lines at which the number of a name is NaN, infinite or over 1e15 in the log itself.
    """

    columns: Mapping[str, np.ndarray]
    lines: np.ndarray
    source: str
    form: str
    unknown: tuple[str, ...] = ()
    skipped: int = 0
    infinite: Mapping[str, np.ndarray] = field(default_factory=dict)
    superseded: int = 0
    other_ranks: int = 0
    decimals: Mapping[str, int] = field(default_factory=dict)
    unread: Mapping[str, str] = field(default_factory=dict)

    @property
    def unit(self) -> str:
        """Name what `lines` counts: lines of the file, or records where a file has no line for each."""
        return "line" if self.form in ("CSV", "JSON lines", "console") else "record"

    @property
    def rows(self) -> int:
        """Say how many rows the log has."""
        return len(self.lines)


class Table:
    """Rows in, columns out."""

    def __init__(self, known: Callable[[str], bool], metric: Callable[[str], bool]) -> None:
        """known: which names to keep; metric: which of them make a row worth keeping."""
        self._known, self._metric = known, metric
        self._columns: dict[str, array[float]] = {}
        self._lines: array[int] = array("q")
        self._unknown: dict[str, None] = {}
        self._passed: dict[str, None] = {}  # names of rows without a metric
        self._infinite: dict[str, array[int]] = {}
        self._decimals: dict[str, int] = {}
        self._texts: dict[str, str] = {}
        self._numbers = 0
        self._rank: float | None = None
        self.skipped = self.other_ranks = 0

    def add(self, line: int, row: Mapping[str, float]) -> None:
        """Append a row; one without any metric (evaluations, timings) is left out.

        Raises: SpecError beyond MOST_NUMBERS.
        """
        texts = {name: value.text for name, value in row.items() if isinstance(value, NoNumber)}
        if texts:
            self._texts = {name: text for name, text in texts.items() if self._metric(name)} | self._texts
            row = {name: value for name, value in row.items() if name not in texts}
        if not any(self._metric(name) for name in row):
            if len(self._unknown) < _MOST_NAMES:
                self._unknown |= {name: None for name in row if not self._known(name)}
                self._passed |= dict.fromkeys(row)
            return
        # Processes that each write their share of a step's numbers are no updates of one rollout.
        rank = next((row[name] for name in _RANKS if name in row), None)
        if rank is not None:
            self._rank = rank if self._rank is None else self._rank
            if rank != self._rank:
                self.other_ranks += 1
                return
        for name, value in row.items():
            column = self._columns.get(name)
            if column is None:
                if name in self._unknown or not self._known(name):
                    if len(self._unknown) < _MOST_NAMES:
                        self._unknown[name] = None
                    continue
                column = self._columns[name] = array("d")
            if not -_LARGEST < value < _LARGEST:  # NaN, too
                self._infinite.setdefault(name, array("q")).append(line)
                value = _MISSING
            if isinstance(value, RoundedZero):
                self._decimals[name] = max(value.decimals, self._decimals.get(name, 0))
            column.extend([_MISSING] * (len(self._lines) - len(column)))
            column.append(value)
            self._numbers += 1
        self._lines.append(line)
        # Columns that lack a number in every other row are filled up with it: count what they will hold.
        if self._numbers > MOST_NUMBERS or len(self._lines) * len(self._columns) > 2 * MOST_NUMBERS:
            raise SpecError(f"the log has over {MOST_NUMBERS:,} numbers by line {line:,}: give a part of it.")

    def log(self, source: str, form: str) -> Log:
        """Return what was added as a Log; the table must not be added to any more."""
        rows = len(self._lines)
        columns = {}
        for name, column in self._columns.items():
            column.extend([_MISSING] * (rows - len(column)))
            columns[name] = np.frombuffer(column, dtype=np.float64)
        lines = np.frombuffer(self._lines, dtype=np.int64) if rows else np.zeros(0, dtype=np.int64)
        infinite = {name: np.frombuffer(at, dtype=np.int64) for name, at in self._infinite.items()}
        unread = {name: text for name, text in self._texts.items() if name not in columns}
        unknown = tuple(self._unknown if columns else self._unknown | self._passed)
        return Log(columns, lines, source, form, unknown, self.skipped, infinite, 0, self.other_ranks, self._decimals, unread)
