"""Rows in what a trainer prints: `step:1 - name:value - ...`, a dictionary, `Step 1 | Name: value | ...`, boxes of values,
`step 1: name=value ...`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from io import BufferedReader

from entclip.integrations.logs.lines import NUMBER, lines_of, number_of

__all__ = ["looks_like_console", "rows"]

_COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_DASHED = re.compile(r"(?:^|[\s)\]])step:(\d{1,12}) - ")
_BARRED = re.compile(r"(?:^|[\s)\]])Step (\d{1,12}) \| ")
_PRINTED = re.compile(r"(?:^|\b(?:[Ss]tep (\d{1,12})|rollout \d{1,12}): )\s*(\{'.*)")
_PAIR = re.compile(rf"'([^']{{1,120}})':\s*(?:np\.float\d+\(|tensor\()?'?({NUMBER})\b")
_ASSIGNED = re.compile(rf"(?<![\w.=/-])([A-Za-z_][\w/.-]{{0,80}}) ?= ?({NUMBER})(?![\w.])")
_STEP = re.compile(r"(?:^|[\s\[(])(?:global_)?step[ :=] ?(\d{1,12})\b", re.IGNORECASE)
_BOXED = re.compile(r"^\|\s{1,8}(\S.{0,60}?)\s*\|\s*(\S.{0,40}?)?\s*\|$")
_EDGE = re.compile(r"^-{10,}$")
_RAY = re.compile(r"^\([\w. ]{1,60}(?:pid=\d+)?[^)]{0,60}\)\s?")


def looks_like_console(text: str) -> bool:
    """Tell whether one of the first lines is a row."""
    return any(_row_of(_plain(line)) for line in text.splitlines()) or bool(re.search(r"^\| train/ +\| +\|$", text, re.MULTILINE))


def rows(file: BufferedReader) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield every row of a console log with its line."""
    box: dict[str, float] | None = None
    group = ""
    for number, raw in lines_of(file):
        line = _plain(raw)
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
        row = _row_of(line)
        if row:
            yield number, row


def _plain(line: str) -> str:
    """The line without colours and without the mark of the process that printed it."""
    if "\x1b" in line:
        line = _COLOUR.sub("", line)
    return _RAY.sub("", line) if line.startswith("(") else line


def _row_of(line: str) -> dict[str, float] | None:
    if (found := _DASHED.search(line)) is not None:
        return _parts(line[found.start(1) - 5 :].split(" - "), ":")
    if (found := _BARRED.search(line)) is not None:
        # "Entropy: 0.5", and "Entropy 0.5" since prime-rl's of August 2026.
        parts = (part if ": " in part else ": ".join(part.rsplit(" ", 1)) for part in line[found.end() :].split(" | "))
        return {"step": float(found[1]), **_parts(parts, ": ")}
    if "': " in line and (found := _PRINTED.search(line)) is not None:
        row = {name: float(value) for name, value in _PAIR.findall(found[2])}
        if row and found[1]:
            row.setdefault("step", float(found[1]))
        return row or None
    if line.count("=") > 1 and (found := _STEP.search(line)) is not None:
        row = {name: float(value) for name, value in _ASSIGNED.findall(line)}
        return {"step": float(found[1])} | row if len(row) > 1 else None
    return None


def _parts(parts: Iterable[str], mark: str) -> dict[str, float]:
    row = {}
    for part in parts:
        name, _, text = part.rpartition(mark)
        value = number_of(text)
        if name and value is not None:
            row[name.strip()] = value
    return row
