"""Tables in a terminal: a wide one is split into blocks of columns that fit, each of which repeats the first column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entclip.report.difference import comparison_grid
from entclip.report.grid import Cell, Grid, causes_grid, clips_grid

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table
    from rich.text import Text

__all__ = ["Blocks", "comparison", "tables"]

_COLOURS = {"agree": "green", "reject": "bold red", "inconclusive": "yellow"}
_BETWEEN = 2  # blanks between columns
_NAMES = 22  # most characters of the first column, where its names can fold
_PROSE = 24  # least characters of a column of prose


@dataclass(frozen=True)
class Blocks:
    """A grid for rich to print: its title, its columns in as many blocks as the width needs, and its notes.

    Numbers never fold unless one is wider than the terminal; names in the first column do. What users wrote goes in as rich's
    Text, so that brackets in it are no markup.
    """

    grid: Grid
    notes: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        yield Text(self.grid.title, style="bold")
        for block in _split(self.grid, options.max_width):
            yield _table(self.grid, block)
            yield Text()
        for note in self.grid.notes if self.notes else ():
            yield Text(note, style="dim")
            yield Text()


def comparison(a: Mapping[str, Any], b: Mapping[str, Any]) -> Blocks:
    """Make a table for rich: run b minus run a, per arm in both, with combined errors and z."""
    return Blocks(comparison_grid(a, b))


def tables(summary: Mapping[str, Any]) -> list[Blocks]:
    """Make two tables for rich, one row per arm: the entropy change by cause beside theory; clip fractions, gaps, distances."""
    return [Blocks(causes_grid(summary)), Blocks(clips_grid(summary))]


def _lines(grid: Grid, column: int) -> list[str]:
    return [line for row in grid.rows for cell in (row[column],) for line in (*cell.upper.split("\n"), cell.lower)]


def _width(grid: Grid, column: int) -> int:
    """Characters that a column needs: headings wrap between words, numbers do not, names and prose fold when they must."""
    longest = max(map(len, (*grid.columns[column].split(), *_lines(grid, column))))
    if grid.columns[column] in grid.prose:
        return min(longest, _PROSE)
    return min(longest, _NAMES) if column == 0 else longest


def _split(grid: Grid, room: int) -> list[list[int]]:
    """The columns of each block, the first column in every one; the low and the high side of a quantity stay together."""
    widths = [_width(grid, i) for i in range(len(grid.columns))]
    blocks, taken = [[0]], widths[0]
    for pair in _pairs(grid.columns):
        size = sum(widths[i] + _BETWEEN for i in pair)
        # Where two do not fit beside the first column, each goes alone.
        for some in [pair] if widths[0] + size <= room else [[i] for i in pair]:
            size = sum(widths[i] + _BETWEEN for i in some)
            if taken + size > room and len(blocks[-1]) > 1:
                blocks.append([0])
                taken = widths[0]
            blocks[-1] += some
            taken += size
    return blocks


def _pairs(columns: Sequence[str]) -> list[list[int]]:
    """The columns after the first, those of a low and a high side two by two."""
    out: list[list[int]] = []
    for i, name in enumerate(columns[1:], 1):
        if out and "high" in name and name.replace("high", "low") == columns[i - 1]:
            out[-1].append(i)
        else:
            out.append([i])
    return out


def _table(grid: Grid, block: Sequence[int]) -> Table:
    from rich import box
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    # The cells carry the gap themselves: rich before 14.3 counts the padding of a table's edge in the last column's width.
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    gap = (0, 0, 0, _BETWEEN - 1)
    for column in block:
        name = grid.columns[column]
        if column == 0:
            table.add_column(Text(name), overflow="fold", max_width=None if name in grid.prose else _NAMES)
        elif name in grid.prose:
            table.add_column(Padding(Text(name), gap), overflow="fold")
        else:
            width = _width(grid, column) + _BETWEEN - 1
            table.add_column(Padding(Text(name), gap), justify="right", overflow="fold", width=width)
    for row in grid.rows:
        table.add_row(*(_text(row[column]) if column == 0 else Padding(_text(row[column]), gap) for column in block))
    return table


def _text(cell: Cell) -> Text:
    from rich.text import Text

    style = _COLOURS.get(cell.verdict, "")
    if not cell.lower:
        return Text(cell.upper, style=style)
    return Text.assemble(cell.upper, "\n", (cell.lower, style or "dim"))
