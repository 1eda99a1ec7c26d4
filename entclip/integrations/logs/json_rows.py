"""Rows in JSON: one object a line, a list of them, a `trainer_state.json`, or one object that sums up a run."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

from entclip.integrations.logs.lines import OneRun, flat, lines_of
from entclip.support.errors import SpecError

__all__ = ["document_rows", "line_rows", "numbers_in"]

_CHUNK = 1 << 18
_LONGEST_ROW = 8_000_000  # characters
_MOST = 20_000_000  # bytes of a document that has to be read whole
_HISTORY = '"log_history"'
# A number of 100,000 digits takes Python minutes: no metric has over a few dozen.
_LONGEST_INTEGER = 400


def _integer(text: str) -> float:
    return float(text) if len(text) < _LONGEST_INTEGER else float("inf")


_DECODER = json.JSONDecoder(parse_int=_integer)


def line_rows(file: BufferedReader, one: OneRun, skipped: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield a row of one run for every line that holds an object; lines that are cut or are no JSON are counted in `skipped`."""
    for number, line in lines_of(file):
        text = line.strip()
        row = _object(text) if text.startswith("{") else None
        if row is None:  # one after a mark of who printed it, or two
            found = list(numbers_in(text, text.find('{"')))
            yield from ((number, each) for each in found)
            skipped[0] += bool(text) and not found
        elif one.keeps(row):
            yield number, _numbers(row)


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def numbers_in(line: str, at: int) -> Iterator[dict[str, float]]:
    """Yield the numbers of each JSON object of a line, the first of which begins at `at` (-1: there is none)."""
    while at >= 0:
        try:
            row, end = _DECODER.raw_decode(line, at)
        except (ValueError, RecursionError):
            return
        yield _numbers(row)
        at = line.find('{"', end)


def _numbers(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row; a logger that puts them under "data", beside the step, is looked through."""
    inner = row.get("data")
    return dict(flat({**row, **inner, "data": None} if isinstance(inner, dict) else row))


def document_rows(file: BufferedReader, size: int, one: OneRun, skipped: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the rows of one JSON document: the objects of its list (or of "log_history"), or the document itself as one row.

    A list is read object by object, so its length does not matter. Rows are numbered from 1.
    Raises: SpecError for a document over 20 MB without a list of rows, and for what is not JSON.
    """
    text = _Text(file)
    head = text.peek(_CHUNK).lstrip("\ufeff \t\r\n")
    if head.startswith("[") or (at := text.find(_HISTORY)) >= 0:
        if not head.startswith("["):
            text.drop(at)
        yield from _listed(text, one, skipped)
        return
    if size > _MOST:
        raise SpecError(f"a JSON document of {size:,} bytes without a list of rows is no log: give JSON lines or a list.")
    file.seek(0)
    whole = _object(file.read().decode("utf-8", errors="replace"))
    if whole is None:
        raise SpecError("it is no whole JSON object, and has no list of rows.")
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    if lists and len(lists) == len(whole):
        length = min(len(column) for column in lists.values())
        for i in range(length):
            yield i + 1, dict(flat({key: column[i] for key, column in lists.items()}))
        return
    yield 1, dict(flat(whole))


def _listed(text: _Text, one: OneRun, skipped: list[int]) -> Iterator[tuple[int, dict[str, float]]]:
    """Rows of the list that begins at the next bracket."""
    if not text.skip_to("["):
        return
    number = 0
    while text.skip_to("{", within=", \t\r\n"):
        number += 1
        row = text.take_object()
        if row is None:
            skipped[0] += 1
            return
        if one.keeps(row):
            yield number, _numbers(row)


class _Text:
    """A window on the text of a file that moves on."""

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._window = ""
        self._at = 0
        self._ended = False

    def peek(self, length: int) -> str:
        while len(self._window) - self._at < length and self._more():
            pass
        return self._window[self._at : self._at + length]

    def find(self, word: str) -> int:
        """Where the word ends within what can be held, -1 if it is not there."""
        while (found := self._window.find(word, self._at)) < 0 and len(self._window) < _MOST and self._more():
            pass
        return -1 if found < 0 else found + len(word) - self._at

    def drop(self, length: int) -> None:
        self._at += length

    def skip_to(self, mark: str, within: str = " \t\r\n:\ufeff") -> bool:
        """Move to the mark over characters of `within`; False if another comes first. A bracket is passed, a brace is not."""
        while True:
            if self._at >= len(self._window) and not self._more():
                return False
            character = self._window[self._at]
            if character == mark:
                self._at += mark == "["
                return True
            if character not in within:
                return False
            self._at += 1

    def take_object(self) -> dict[str, Any] | None:
        """Read the object that begins here; None if it is cut, too long or no JSON."""
        tried = 0
        while True:
            try:
                value, end = _DECODER.raw_decode(self._window, self._at)
            except RecursionError:
                return None
            except ValueError:
                held = len(self._window) - self._at
                # More text may complete it; read twice as much before each further try.
                tried = max(2 * held, _CHUNK)
                if held >= _LONGEST_ROW or len(self.peek(tried)) <= held:
                    return None
                continue
            self._at = end
            return value if isinstance(value, dict) else None

    def _more(self) -> bool:
        if self._ended:
            return False
        data = self._file.read(_CHUNK)
        self._ended = not data
        # What is behind is given up.
        self._window = self._window[self._at :] + self._decoder.decode(data, final=self._ended)
        self._at = 0
        return True
