"""Tables of a run in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from entclip.report.grid import Cell, Grid, causes_grid, clips_grid

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["rich_table", "tables"]

_COLOURS = {"agree": "green", "reject": "bold red", "inconclusive": "yellow"}


def rich_table(grid: Grid) -> Table:
    """Make a rich table; names go in as Text, so that brackets in them are no markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def text(cell: Cell) -> Text:
        style = _COLOURS.get(cell.verdict, "")
        if not cell.lower:
            return Text(cell.upper, style=style)
        return Text.assemble(cell.upper, "\n", (cell.lower, style or "dim"))

    caption = Text("\n".join(grid.notes), justify="left")
    table = Table(title=Text(grid.title), caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, column in enumerate(grid.columns):
        # Headings wrap between words and numbers never do; where a terminal is too narrow, names of arms fold first.
        lines = [line for row in grid.rows for line in (row[i].upper, row[i].lower)]
        least = max(map(len, (*column.split(), *lines)))
        if i == 0:
            table.add_column(Text(column), overflow="fold", max_width=22)
        else:
            table.add_column(Text(column), justify="right", overflow="fold", width=least)
    for row in grid.rows:
        table.add_row(*map(text, row))
    return table


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """Make two rich tables, one row per arm: the entropy change by cause beside theory; clip fractions, gaps and distances."""
    return [rich_table(causes_grid(summary)), rich_table(clips_grid(summary))]
