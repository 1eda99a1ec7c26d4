"""The command about objectives: their cards."""

from __future__ import annotations

from typing import Annotated

import typer

from entclip.cli.options import AsJson, Csv, Quiet
from entclip.cli.output import Output


def objectives(
    name: Annotated[str | None, typer.Argument(help="Print this one's card.", show_default="a table of all")] = None,
    as_json: AsJson = False,
    csv: Csv = None,
    quiet: Quiet = False,
) -> None:
    """List the published objectives and the engines that serve them, or print the card of one: formula, source, drift, traps."""
    from entclip.report.card import card, cards
    from entclip.report.cards import card_grid, cards_grid, places_grid

    output = Output(as_json, csv, quiet)
    found = cards() if name is None else (card(name),)
    rows = [c.as_dict() for c in found]
    if output.machine(lambda: rows if name is None else rows[0], lambda: rows):
        return
    output.show(*((cards_grid(found), places_grid(found)) if name is None else (card_grid(found[0]),)))
