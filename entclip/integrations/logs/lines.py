"""Lines of a file of any size, and numbers in them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from typing import Any

from entclip.support.errors import SpecError

__all__ = [
    "LONGEST",
    "NUMBER",
    "NoNumber",
    "OneRun",
    "RoundedZero",
    "check_header",
    "flat",
    "lines_of",
    "number_of",
    "number_or_text",
]

LONGEST = 4_000_000  # bytes of a line; longer ones are passed over
_DEEPEST = 6
_LEDGER = {"unclipped", "clip_low", "clip_high", "expected_clip_low"}
_OF_STEPS = "global_step/max_steps"
_MOST_RUNS = 8  # that are named in a message
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|inf|Infinity)"
_ZERO = re.compile(r"[-+]?0*\.(0{2,})")
_LONGEST_TEXT = 40  # of what stands where a number is expected
_NOTHING = frozenset(("", "none", "null", "n/a", "na", "-", "--"))  # what is written where there is no number
_WRAPPED = re.compile(rf"(?:np\.)?(?:float|int)\d*\(({NUMBER})\)|tensor\(({NUMBER})[^)]*\)|({NUMBER})s?|({NUMBER})\s?(%)")


class RoundedZero(float):
    """A 0 that is printed to a number of decimals, 0.000: what it stands for may be up to half of the last one."""

    decimals: int

    def __new__(cls, decimals: int) -> RoundedZero:
        zero = super().__new__(cls, 0.0)
        zero.decimals = decimals
        return zero


class NoNumber(float):
    """NaN in the place of a text that is no number, such as "abc", which it keeps."""

    text: str

    def __new__(cls, text: str) -> NoNumber:
        nan = super().__new__(cls, "nan")
        nan.text = text
        return nan


def lines_of(file: BufferedReader) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, from 1; a line beyond LONGEST bytes is passed over."""
    number = 0
    while data := file.readline(LONGEST):
        number += 1
        if len(data) == LONGEST and not data.endswith(b"\n"):
            while (data := file.readline(LONGEST)) and not data.endswith(b"\n"):
                pass
            continue
        text = data.decode("utf-8", errors="replace").rstrip("\r\n")
        if "\r" in text:
            # A progress bar overwrites its line: what stands last is what was shown. Rows in between were printed beside it.
            *before, text = text.split("\r")
            yield from ((number, part) for part in before if "{'" in part or '{"' in part)
        yield number, text


def number_of(text: str) -> float | None:
    """Return the number that a text stands for, as loggers print it (np.float64(.5), 12.5s, 3 % as .03); None for other text."""
    found = _WRAPPED.fullmatch(text.strip()) if len(text) < 100 else None
    if found is None:
        return None
    digits = found[1] or found[2] or found[3] or found[4]
    if (zero := _ZERO.fullmatch(digits)) is not None:
        return RoundedZero(len(zero[1]) + (2 if found[5] else 0))
    return float(digits) / 100 if found[5] else float(digits)


def number_or_text(text: str) -> float | None:
    """Return the number that a text stands for, a NoNumber for other text that is short; None where nothing is written."""
    number = number_of(text)
    if number is not None or len(text) > _LONGEST_TEXT or text.strip().lower() in _NOTHING:
        return number
    return NoNumber(text.strip())


def flat(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row, those of tables in it by names joined with a slash; text that is a number counts as one.

    Other text is a NoNumber, which a table takes for a name only.
    """
    for key, value in row.items():
        name = f"{prefix}{key}"
        if isinstance(value, bool):
            continue
        if isinstance(value, float):
            yield name, value
        elif isinstance(value, int):
            try:
                yield name, float(value)
            except OverflowError:
                yield name, float("inf")
        elif isinstance(value, str):
            # Of "3/60", as ms-swift writes a step with the last one.
            number = number_or_text(value.partition("/")[0] if key == _OF_STEPS else value)
            if number is not None:
                yield name, number
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from flat(value, f"{name}/", depth + 1)


def check_header(names: Iterable[str]) -> None:
    """Refuse a table that has nothing to infer. Raises: SpecError for a ledger of entclip's own."""
    if set(names) >= _LEDGER:
        raise SpecError("it is a ledger of entclip's own, which has each cause measured: entclip ledger FOLDER reads it.")


class OneRun:
    """The rows of one run, of a table in which a column says whose a row is."""

    # The last three: W&B's, MLflow's and Ray's tables of runs, of which each row is another.
    COLUMNS = ("case", "arm", "run", "run_name", "run_id", "Name", "Run ID", "trial_id")

    def __init__(self, wanted: str | None) -> None:
        """wanted: whose rows to keep; None: those of the only run that there is."""
        self.wanted = wanted
        self._seen: dict[str, None] = {}

    def keeps(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is to be read. Raises: SpecError at the second run where none was chosen."""
        told = [str(row[name]) for name in self.COLUMNS if row.get(name) not in (None, "")]
        if not told:
            return True
        name = "/".join(told)
        if len(self._seen) < _MOST_RUNS:
            self._seen[name] = None
        if self.wanted is None and len(self._seen) > 1:
            raise SpecError(
                f"the table has rows of several runs ({', '.join(self._seen)}, ...): choose one with --run NAME. If each row "
                "is a run of its own, with its last values, no history is here: give the log of one run."
            )
        return self.wanted in (None, name)

    def check(self, rows: int) -> None:
        """Check that the run that was chosen has a row. Raises: SpecError if it has none."""
        if not rows and self.wanted is not None and self._seen:
            raise SpecError(f"no row is of run {self.wanted!r}; it has {', '.join(self._seen)}.")
