"""Examples on the pages of docs/: what a page shows as a command's or an interpreter's output is what comes out.

A ```console (or ```text) block holds commands after "$ " and their output; a line "..." stands for any lines left out. A
```python block with ">>>" is a doctest; those of one page go on from each other. A fenced block right after a line "`NAME`:" is
a file that the page's commands find beside them. Numbers may differ by one in the last digit that is shown.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

__all__ = ["Example", "Lenient", "console_examples", "files", "missing", "output", "python_source"]

_FENCE = re.compile(r"^(`{3,})(\w*)[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^`([\w.-]+)`:\n\n?(`{3,})\w+\n(.*?)^\2$", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"[-+]?(?:\d+\.\d+|\.\d+|\d+)")
# Half a minute of simulation is checked by one of its six arms: its rows must be those of the whole.
_SHORTER = {"make drift": ("entclip drift --arm both", "both")}


@dataclass(frozen=True)
class Example:
    """A command on a page and what the page says it prints."""

    page: str
    command: str
    shown: str


def _blocks(text: str, *languages: str) -> Iterator[str]:
    for _, name, body in _FENCE.findall(text):
        if name in languages:
            yield body


def console_examples(page: Path) -> list[Example]:
    """Every command of a page that has output shown below it."""
    found = []
    for body in _blocks(page.read_text(), "console", "text"):
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            if shown.strip():
                found.append(Example(page.name, command.strip(), shown))
    return found


def python_source(page: Path) -> str:
    """The doctests of a page as one text."""
    return "\n".join(body for body in _blocks(page.read_text(), "python") if ">>>" in body)


def files(page: Path) -> dict[str, str]:
    """Files that a page shows by name."""
    return {name: body for name, _, body in _FILE.findall(page.read_text())}


def output(command: str, folder: Path) -> str:
    """What `entclip ...` prints, run in a folder; AssertionError if it fails."""
    from entclip.cli.app import app

    program, *arguments = shlex.split(command)
    assert program == "entclip", f"{command!r}: only entclip's own commands can show output"
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(app, arguments)
    finally:
        os.chdir(before)
    assert done.exit_code == 0, f"{command}: {done.exception!r}\n{done.output}"
    return done.stdout


def missing(example: Example, folder: Path) -> str | None:
    """None if the page shows what the command prints; else the part that it does not print, and what it prints."""
    command, shown = example.command, example.shown
    if command in _SHORTER:
        command, arm = _SHORTER[command]
        wanted, got = _rows_of(arm, shown), _rows_of(arm, output(command, folder))
        assert wanted[0], f"{example.page} shows no row of {arm} below {example.command!r}"
        same = all(map(_alike, wanted, got))
        return None if same else f"{example.page}: `{command}` prints for {arm}\n{got}\nand not\n{wanted}"
    got = output(command, folder)
    lines = _lines(got)
    # Parts between "..." must follow one another; without a "..." at an end the part there must be at that end.
    for i, part in enumerate(re.split(r"^\.\.\.$", shown.strip("\n"), flags=re.MULTILINE)):
        wanted = _lines(part)
        starts = [k for k in range(len(lines) - len(wanted) + 1) if all(map(_alike, wanted, lines[k:]))]
        if not starts or (i == 0 and wanted and starts[0] != 0):
            return f"{example.page}: `{example.command}` does not print\n{part}\nbut\n{got}"
        lines = lines[starts[0] + len(wanted) :]
    if lines and not shown.rstrip().endswith("..."):
        return f"{example.page}: `{example.command}` prints more:\n" + "\n".join(lines)
    return None


def _rows_of(arm: str, text: str) -> tuple[str, str]:
    """The upper and the lower line of an arm in the table of causes, whatever blocks its columns are in."""
    lines = text.partition("Entropy changes in nats")[0].splitlines()
    at = [i for i, line in enumerate(lines) if line.startswith(f"{arm} ")]
    lower = (lines[i + 1] for i in at if lines[i + 1].startswith(" "))
    return " ".join(" ".join(lines[i].removeprefix(arm) for i in at).split()), " ".join(" ".join(lower).split())


def _lines(text: str) -> list[str]:
    return [line for line in (" ".join(re.sub("[━─]+", "-", raw).split()) for raw in text.splitlines()) if line]


def _alike(wanted: str, got: str) -> bool:
    """Equal text, and numbers within one of the last digit shown."""
    if _NUMBER.split(wanted) != _NUMBER.split(got):
        return False
    for a, b in zip(_NUMBER.findall(wanted), _NUMBER.findall(got), strict=True):
        unit = 10.0 ** -len(a.partition(".")[2])
        if a != b and ("." not in a or abs(float(a) - float(b)) > 1.5 * unit):
            return False
    return True


class Lenient(doctest.OutputChecker):
    """doctest's comparison, and numbers within one of the last digit shown."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        same = super().check_output(want, got, optionflags)
        return same or (len(_lines(want)) == len(_lines(got)) and all(map(_alike, _lines(want), _lines(got))))
