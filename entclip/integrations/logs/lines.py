"""Lines of a file of any size, and numbers in them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import Any

__all__ = ["LONGEST", "NUMBER", "flat", "lines_of", "number_of"]

LONGEST = 4_000_000  # bytes of a line; longer ones are passed over
_DEEPEST = 6
NUMBER = r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|NaN|inf|Infinity)"
_WRAPPED = re.compile(rf"(?:np\.)?(?:float|int)\d*\(({NUMBER})\)|tensor\(({NUMBER})[^)]*\)|({NUMBER})s?%?")


def lines_of(file: BufferedReader) -> Iterator[tuple[int, str]]:
    """Yield each line with its number, from 1; a line beyond LONGEST bytes is passed over."""
    number = 0
    while data := file.readline(LONGEST):
        number += 1
        if len(data) == LONGEST and not data.endswith(b"\n"):
            while (data := file.readline(LONGEST)) and not data.endswith(b"\n"):
                pass
            continue
        # A progress bar overwrites its line: what stands last is what was shown.
        yield number, data.decode("utf-8", errors="replace").rstrip("\r\n").rpartition("\r")[2]


def number_of(text: str) -> float | None:
    """Return the number that a text stands for, as loggers print it (np.float64(.5), 12.5s, 3 %); None for other text."""
    found = _WRAPPED.fullmatch(text.strip()) if len(text) < 100 else None
    return None if found is None else float(found[1] or found[2] or found[3])


def flat(row: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    """Yield the numbers of a row, those of tables in it by names joined with a slash; text that is a number counts as one."""
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
            number = number_of(value)
            if number is not None:
                yield name, number
        elif isinstance(value, Mapping) and depth < _DEEPEST:
            yield from flat(value, f"{name}/", depth + 1)
