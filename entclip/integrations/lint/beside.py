"""Configurations that a script names by a path of its repository, found where the script lies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from entclip.support.bounded import read_bounded
from entclip.support.errors import SpecError

__all__ = ["MAX_BYTES", "beside", "nothing"]

MAX_BYTES = 2_000_000  # of a configuration
_MOST = 8  # folders above a script


def nothing(name: str) -> str | None:
    """Find no file: what a text that came from none has beside it."""
    return None


def beside(script: Path) -> Callable[[str], str | None]:
    """Return what finds the text of a file that a script names, None where there is none or more than one.

    A launch script is started from the root of its repository, its own folder, or where the reader stands: a path is looked up in
    the present folder and in each folder above the script.
    """

    def text_of(name: str) -> str | None:
        with suppress(OSError, ValueError, SpecError):
            folders = (Path(), *script.resolve().parents[:_MOST])
            found = {path.resolve() for folder in folders if (path := folder / name).is_file()}
            if len(found) == 1:
                return read_bounded(found.pop(), MAX_BYTES, name).decode("utf-8")
        return None

    return text_of
