"""Rows of a CSV file with a header: a plain one, a trainer's progress file, or a W&B export whose columns name the run."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from io import BufferedReader

from entclip.integrations.logs.lines import OneRun, check_header, lines_of, number_of, number_or_text
from entclip.support.errors import SpecError

__all__ = ["looks_like_csv", "rows"]

_MOST_COLUMNS = 20_000
_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?\s?%?")


def _delimiter(header: str) -> str:
    return max((",", "\t", ";"), key=header.count)


def looks_like_csv(text: str) -> bool:
    """Tell whether the first two lines are a header and a row of as many values, at least one of them a number."""
    lines = [line for line in text.splitlines() if line.strip()][:2]
    if not lines or lines[0][0] in "{[" or "{'" in lines[0] or '{"' in lines[0]:
        return False
    mark = _delimiter(lines[0])
    parsed = [_pointed(cells, mark) for cells in _parse(lines, mark)]
    header = parsed[0]
    if any(number_of(name) is not None for name in header) or (len(header) == 1 and not header[0].strip().isidentifier()):
        return False
    return len(parsed) == 1 or (len(parsed[1]) == len(header) and any(number_of(value) is not None for value in parsed[1]))


def _pointed(values: list[str], mark: str) -> list[str]:
    """The values of a row, decimal commas as points: as spreadsheets write them between semicolons or tabs."""
    if mark == "," or any("." in value and number_of(value) is not None for value in values):
        return values
    return [f"{value.replace(',', '.')}" if _COMMA.fullmatch(value.strip()) else value for value in values]


def _parse(lines: list[str], mark: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=mark)
    except csv.Error:
        for line in lines:
            yield line.split(mark)


def rows(file: BufferedReader, one: OneRun, skipped: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield every row of one run, whose name a column holds or the names of columns begin with.

    Raises: SpecError if the header has too many columns, several runs and none is chosen, or not the one that is.
    """
    lines = lines_of(file)
    number, header = next(lines, (0, ""))
    mark = _delimiter(header)
    names = next(_parse([header.lstrip("\ufeff")], mark), [])
    if len(names) > _MOST_COLUMNS:
        raise SpecError(f"the header has {len(names):,} columns, over {_MOST_COLUMNS:,}: it is no table of metrics.")
    check_header(names)
    wanted = _of_one_run(names, one.wanted)
    told = [(i, name.strip()) for i, name in enumerate(names) if name.strip() in OneRun.COLUMNS]
    for number, line in lines:
        if not line.strip():
            continue
        values = _pointed(next(_parse([line], mark), []), mark)
        if len(values) != len(names):
            skipped[0] += 1
            continue
        if told and not one.keeps({name: values[i] for i, name in told}):
            continue
        row = {}
        for i, name in wanted:
            value = number_or_text(values[i])
            if value is not None:
                row[name] = value
        if row:
            yield number, row


def _of_one_run(names: list[str], run: str | None) -> list[tuple[int, str]]:
    """Columns to read and what they are called: in "run - name" the part after the dash, without "__MIN" and "__MAX"."""
    split = [(i, *name.strip().rpartition(" - ")[::2]) for i, name in enumerate(names)]
    runs = list(dict.fromkeys(prefix for _, prefix, _ in split if prefix))
    if run is not None and runs and run not in runs:
        raise SpecError(f"no run {run!r} in the header; it has {', '.join(runs[:8])}.")
    if run is None and len(runs) > 1:
        raise SpecError(f"the table holds {len(runs)} runs ({', '.join(runs[:8])}): choose one with --run NAME.")
    return [
        (i, metric)
        for i, prefix, metric in split
        if metric and (not prefix or run in (None, prefix)) and not metric.endswith(("__MIN", "__MAX"))
    ]
