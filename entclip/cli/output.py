"""What commands print: tables for people, JSON or CSV for machines, and what --quiet leaves out."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from entclip.support.errors import SpecError
from entclip.support.sentences import wrapped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager

    import pandas as pd

    from entclip.report.grid import Grid
    from entclip.support.progress import Advance

__all__ = ["Output", "console", "error_width"]

_PIPE = 80  # columns, where there is no terminal and COLUMNS does not say
_LEAST = 20  # columns: below that no table can be read


def error_width() -> int | None:
    """Return the columns of standard error where it is a terminal; None elsewhere, where a message stays one line."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        if sys.stderr.isatty():
            return _wished() or max(os.get_terminal_size(sys.stderr.fileno()).columns, _LEAST)
    return None


def _wished() -> int | None:
    """What COLUMNS says, None where it says nothing usable."""
    wish = os.environ.get("COLUMNS", "")
    return max(int(wish), _LEAST) if wish.isascii() and wish.isdigit() and len(wish) < 5 else None


def console() -> Any:
    """Open standard output for rich: nothing printed is read as markup, and a pipe is 80 columns wide or as COLUMNS says."""
    from rich.console import Console

    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    found = Console(**plain)
    if found.is_terminal:
        return found
    return Console(**plain, width=_wished() or _PIPE)


@dataclass(frozen=True)
class Output:
    """Where the results of one command go.

    as_json, csv: --json prints one object and --csv - prints CSV, either of them instead of the tables; --csv FILE writes the
        file beside them. quiet: neither progress nor explanations.
    """

    as_json: bool = False
    csv: str | None = None
    quiet: bool = False

    def __post_init__(self) -> None:
        if self.csv is None:
            return
        if self.csv == "-":
            if self.as_json:
                raise SpecError("--json and --csv - both go to standard output: give --csv a file, or choose one.")
            return
        from entclip.support.files import prepare_file

        prepare_file(Path(self.csv))

    @property
    def tables(self) -> bool:
        """Tell whether standard output is for people."""
        return not self.as_json and self.csv != "-"

    def progress(self, title: str, total: int, first: str = "") -> AbstractContextManager[Advance]:
        """Show progress on standard error, as `support.progress` shows it."""
        from entclip.support.progress import progress

        return progress(title, total, first=first, quiet=self.quiet)

    def machine(self, value: Callable[[], Any], rows: Callable[[], pd.DataFrame | list[dict[str, Any]]]) -> bool:
        """Print or write what --json and --csv ask for, a value and rows; True if it took the place of the tables."""
        from entclip.support.files import to_json, write_atomic

        if self.csv is not None:
            import pandas as pd

            text = pd.DataFrame(rows()).to_csv(index=False, lineterminator="\n").encode()
            if self.csv == "-":
                typer.echo(text, nl=False)  # bytes: UTF-8 whatever the terminal's encoding
                return True
            write_atomic(Path(self.csv), text)
        if self.as_json:
            typer.echo(to_json(value()))
        return self.as_json

    def show(self, *grids: Grid) -> None:
        """Print tables, with their notes unless --quiet is given."""
        from entclip.report.terminal import Blocks

        screen = console()
        for grid in grids:
            screen.print(Blocks(grid, notes=not self.quiet))

    def say(self, text: str) -> None:
        """Print what is good to know and no result."""
        if not self.quiet:
            self.tell(text)

    def tell(self, text: str, style: str = "") -> None:
        """Print a sentence of the result; lines break between words only, so that a path can be copied."""
        screen = console()
        lines = "\n".join(wrapped(text, screen.width))
        screen.print(lines, style=style or None, soft_wrap=True)

    def warn(self, texts: Iterable[str]) -> None:
        """Print what a reader must know before believing the tables, each text once."""
        for text in dict.fromkeys(texts):
            self.tell(text, style="yellow")
