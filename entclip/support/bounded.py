"""Files of others, read only as far as they can make sense: regular files up to a limit, TOML that is neither long nor deep."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any

from entclip.support.errors import SpecError

__all__ = [
    "MAX_DEPTH",
    "MAX_TOML",
    "TomlSyntaxError",
    "exists",
    "open_regular",
    "other_kind",
    "parse_toml",
    "read_bounded",
    "refuse_deep",
]

MAX_TOML = 2**20  # bytes
MAX_DEPTH = 32  # tables and lists inside each other; an experiment needs 5
_DEEP = f"more than {MAX_DEPTH} tables or lists inside each other; an experiment needs 5."
_LONGEST = 100  # characters of a number or a bare key: Python takes minutes for an integer of 100,000 digits


class TomlSyntaxError(SpecError):
    """Text of a reasonable size that is not TOML."""


def exists(path: Path) -> bool:
    """Tell whether there is such a file or folder; a name that no file system takes has none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


@contextmanager
def open_regular(
    path: Path, where: str, *, fix: str = "", refused: type[Exception] = SpecError, unreadable: type[Exception] = SpecError
) -> Iterator[tuple[BufferedReader, int]]:
    """Open a regular file for reading, and its size.

    Raises: `refused`, in a message from `where` to `fix`, if there is no such file or it is no regular one; `unreadable` if the
        system does not let it be read.
    """
    try:
        # Not open() first: that would wait for ever on a pipe that nobody writes to.
        found = path.stat()
        if stat.S_ISREG(found.st_mode):
            file = path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else error
        there = isinstance(error, OSError) and not isinstance(error, FileNotFoundError | NotADirectoryError)
        raise (unreadable if there else refused)(f"{where} cannot be read: {reason}. {fix}".rstrip()) from None
    if not stat.S_ISREG(found.st_mode):
        raise refused(f"{where} cannot be read: it is {_kind(found.st_mode)}, not a file. {fix}".rstrip())
    with file:
        yield file, found.st_size


def read_bounded(path: Path, limit: int, what: str) -> bytes:
    """Read the bytes of a regular file; SpecError for any other kind, beyond `limit` bytes, and where reading fails."""
    where = f"{what} {_named(path)}"
    with open_regular(path, where) as (file, size):
        try:
            data = file.read(limit + 1) if size <= limit else b""
        except OSError as error:
            raise SpecError(f"{where} cannot be read: {error.strerror}.") from None
    if max(size, len(data)) > limit:
        raise SpecError(f"{where} cannot be read: it has {max(size, len(data)):,} bytes, over the limit of {limit:,}.")
    return data


def _named(path: Path) -> str:
    text = os.fspath(path)
    return repr(text if len(text) <= 200 else f"{text[:100]}...{text[-60:]}")


def other_kind(path: Path) -> str:
    """Say what has this name that is no regular file, "" where one or nothing has it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return ""
    return "" if stat.S_ISREG(mode) else _kind(mode)


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


# Strings and comments whole, so that brackets inside them do not count; possessive, so that no text makes it backtrack.
_TOKEN = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+"""'
    r"|'''.*?'''"
    r'|"(?:[^"\\\n]++|\\.)*+"'
    r"|'[^'\n]*+'"
    r"|#[^\n]*+"
    r"|[\[{]|[\]}]|[,=\n]|\.|[A-Za-z0-9_+:-]++",
    re.DOTALL,
)


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parse TOML as plain data; where: what it is, for the message.

    Raises: SpecError for over a megabyte, more than 32 tables or lists inside each other, numbers or keys of over 100 characters,
        and what is not TOML.
    """
    if len(text) > MAX_TOML:
        raise SpecError(
            f"{where} has {len(text):,} characters, over the limit of {MAX_TOML:,}: an experiment has a few thousand."
        )
    depth = dots = 0
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token in "[{":
            depth, dots = depth + 1, 0
        elif token in "]}":
            depth, dots = max(depth - 1, 0), 0
        elif token in ",=\n":
            dots = 0
        elif token == ".":
            dots += 1
        elif len(token) > _LONGEST and token[0] not in "\"'#":
            raise SpecError(
                f"{where}{_line(text, found)}: a number or key of {len(token):,} characters, {token[:20]}..., over the limit of "
                f"{_LONGEST}: text belongs into quotes."
            )
        if depth + dots > MAX_DEPTH:
            raise SpecError(f"{where}{_line(text, found)}: {_DEEP}")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise TomlSyntaxError(f"{where} is not valid TOML: {error}.") from None


def _line(text: str, found: re.Match[str]) -> str:
    return f", line {text.count(chr(10), 0, found.start()) + 1}" if "\n" in text else ""


def refuse_deep(data: Any, where: str) -> None:
    """Raise SpecError for plain data with more than 32 tables or lists inside each other, which recursive functions would fall
    over."""
    level = [data]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for each in level
            if isinstance(each, Mapping | list | tuple)
            for inner in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(inner, Mapping | list | tuple)
        ]
        if not level:
            return
    raise SpecError(f"{where}: {_DEEP}")
