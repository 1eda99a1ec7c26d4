"""Rows in what a trainer prints: `step:1 - name:value - ...`, a dictionary, `Step 1 | Name: value | ...`, boxes of values,
`step 1: name=value ...`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BufferedReader

from entclip.integrations.logs.json_rows import numbers_in
from entclip.integrations.logs.lines import NUMBER, lines_of, number_of

__all__ = ["rows"]

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DASHED = re.compile(r"(?:^|[\s)\]:])step:(\d{1,12}) - ")
_BARRED = re.compile(r"(?:^|[\s)\]:])Step (\d{1,12}) \| ")
_FIRST = re.compile(r"\{'[^']{1,120}':|\{\"")
_NEXT = re.compile(r"\}(?!\s{0,8},)[^{}']*(?=\{')")  # from one dictionary to another on its line, not within a list
# A dictionary of settings or of an evaluation, or one that is an argument or an element.
_OTHER = re.compile(
    r"[(,\[{\"']\s?$|\b(?:\w*config\w*|cfg|\w*args|arguments|\w*param\w*|settings|options|defaults?|eval\w*|val|valid\w*|test)\W{0,4}$",
    re.IGNORECASE,
)
_STEP_BEFORE = re.compile(r"\bstep[ :=]{1,2}(\d{1,12})\W{0,4}$", re.IGNORECASE)
_BEFORE = 60  # characters before a dictionary that are looked at
_PAIR = re.compile(rf"'([^']{{1,120}})':\s*(?:np\.float\d+\(|tensor\()?'?({NUMBER})\b(?!,\d)(\s?%)?")
_ASSIGNED = re.compile(rf"(?<![\w.=/-])([A-Za-z_][\w/.-]{{0,80}}) ?= ?({NUMBER})(?![\w.])")
_STEP = re.compile(r"(?:^|[\s\[(\]:])(?:global_)?step[ :=] ?(\d{1,12})\b", re.IGNORECASE)
_BOXED = re.compile(r"^\|\s{1,8}(\S.{0,60}?)\s*\|\s*(\S.{0,40}?)?\s*\|$")
_EDGE = re.compile(r"^-{10,}$")
_RAY = re.compile(r"^\([\w. ]{1,60}(?:pid=\d+)?[^)]{0,60}\)\s?")
# When a container printed a line, and which process did: kubectl's marks and torchrun's.
_WHEN = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[-+]\d\d:\d\d) (?:std(?:out|err) [FP] )?")
_RANK = re.compile(r"^\[(?:rank|default|trainer|worker) ?(\d{1,6})\]: ?")


def rows(file: BufferedReader) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield every row of a console log with its line."""
    box: dict[str, float] | None = None
    group = ""
    for number, raw in lines_of(file):
        line, rank = _plain(raw)
        if line.startswith("|") and box is not None:
            found = _BOXED.match(line)
            if found and found[1].endswith("/"):
                group = found[1]
            elif found and (value := number_of(found[2] or "")) is not None:
                box[f"{group}{found[1]}"] = value
            continue
        if _EDGE.match(line):
            if box:
                yield number, box
            box, group = (None if box else {}), ""
            continue
        box = None
        for row in _rows_of(line):
            yield number, row if rank is None else {"rank": rank} | row


def _plain(line: str) -> tuple[str, float | None]:
    """The line without colours and marks of who printed it, and the number of the process where a mark has one."""
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    if line[:2] == "20":
        line = _WHEN.sub("", line)
    rank = None
    if line.startswith("[") and (found := _RANK.match(line)) is not None:
        line, rank = line[found.end() :], float(found[1])
    return (_RAY.sub("", line) if line.startswith("(") else line), rank


def _rows_of(line: str) -> Iterable[dict[str, float]]:
    row = _marked(line)
    if row is None and (found := _FIRST.search(line)) is not None:
        start = found.start()
        if found[0] != '{"':
            return _dictionaries(line, start)
        return () if _OTHER.search(line[max(start - _BEFORE, 0) : start]) else numbers_in(line, start)
    if row is None and line.count("=") > 1 and (found := _STEP.search(line)) is not None:
        values = {name: float(value) for name, value in _ASSIGNED.findall(line)}
        row = {"step": float(found[1])} | values if len(values) > 1 else None
    return (row,) if row else ()


def _dictionaries(line: str, start: int) -> Iterator[dict[str, float]]:
    """A row for each dictionary of a line, whatever stands before it: a progress bar, a time, who printed it."""
    begin = 0
    for found in (*_NEXT.finditer(line, start), None):
        end = len(line) if found is None else found.start() + 1
        before = line[max(start - _BEFORE, begin) : start]
        if not _OTHER.search(before):
            pairs = _PAIR.findall(line, start, end)
            row = {name: float(value) / (100 if percent else 1) for name, value, percent in pairs}
            if row and (step := _STEP_BEFORE.search(before)) is not None:
                row.setdefault("step", float(step[1]))
            if row:
                yield row
        if found is not None:
            begin, start = end, found.end()


def _marked(line: str) -> dict[str, float] | None:
    if (found := _DASHED.search(line)) is not None:
        return _parts(line[found.start(1) - 5 :].split(" - "), ":")
    if (found := _BARRED.search(line)) is not None:
        # "Entropy: 0.5", and "Entropy 0.5" since prime-rl's of August 2026.
        parts = (part if ": " in part else ": ".join(part.rsplit(" ", 1)) for part in line[found.end() :].split(" | "))
        return {"step": float(found[1]), **_parts(parts, ": ")}
    return None


def _parts(parts: Iterable[str], mark: str) -> dict[str, float]:
    row = {}
    for part in parts:
        name, _, text = part.rpartition(mark)
        value = number_of(text)
        if name and value is not None:
            row[name.strip()] = value
    return row
