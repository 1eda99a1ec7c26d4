"""A run's tables, and its whole report, as GitHub markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entclip.report.document import Code, Items, Picture, Section, Terms
from entclip.report.grid import SIGNS, Cell, Grid, causes_grid, clips_grid

__all__ = ["markdown", "text"]

_SPECIAL = {"&": "&amp;", "<": "&lt;", ">": "&gt;"} | {char: f"\\{char}" for char in "\\|*_`[]#$"}


def markdown(summary: Mapping[str, Any]) -> str:
    """Write the tables of `tables` as GitHub markdown."""
    return _table(causes_grid(summary), signs=True) + "\n" + _table(clips_grid(summary), signs=True)


def text(sections: Sequence[Section]) -> str:
    """Write the sections as GitHub markdown; pictures by the names of their files."""
    out = []
    for level, section in enumerate(sections):
        out.append(f"{'#' if level == 0 else '##'} {_escape(section.title)}")
        out += map(_block, section.blocks)
    return "\n\n".join(out) + "\n"


def _block(block: str | Items | Terms | Code | Picture | Grid) -> str:
    if isinstance(block, str):
        return _escape(block)
    if isinstance(block, Items | Terms):
        return "\n".join(f"- {f'**{_escape(name)}**: ' if name else ''}{_escape(line)}" for name, line in block.lines)
    if isinstance(block, Code):
        return f"```toml\n{block.text.rstrip()}\n```"
    if isinstance(block, Picture):
        return f"![{_escape(block.shows)}]({block.name})\n\n{_escape(block.caption)}"
    return _table(block, signs=False).rstrip()


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(char, char) for char in text).replace("\n", " ")


def _table(grid: Grid, signs: bool) -> str:
    """The grid as a table under a heading, its notes below; those on signs only where nothing else has them."""

    def cell(c: Cell) -> str:
        return _escape(c.upper) + (f"<br>{_escape(c.lower)}" if c.lower else "")

    lines = [f"### {_escape(grid.title)}", ""]
    lines.append("| " + " | ".join(map(_escape, grid.columns)) + " |")
    lines.append("|" + ":---|" + "---:|" * (len(grid.columns) - 1))
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in grid.rows]
    for note in grid.notes:
        if signs or note != SIGNS:
            lines += ["", _escape(note)]
    return "\n".join(lines) + "\n"
