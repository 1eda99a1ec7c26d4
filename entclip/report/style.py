"""The one look of figures: colours that colour-blind readers tell apart, and hatches, dashes and markers for a print in grey.

`CAUSES` is for the columns of the ledger, `LINES` for whatever else is compared (arms, laws, settings), `DIVERGING` for maps of
signed values. `new_figure` and `write_figure` need no display and keep no global state.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from entclip.ledger.columns import COLUMNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "CAUSES",
    "CAUSE_LINES",
    "DIVERGING",
    "LETTERS",
    "LINES",
    "WIDE",
    "Line",
    "dress",
    "legend_above",
    "new_figure",
    "png",
    "write_figure",
]

# Of every part of the change that is drawn: name in figures, face colour, hatch.
CAUSES: dict[str, tuple[str, str, str]] = {c.name: (c.legend, c.look.colour, c.look.hatch) for c in COLUMNS if c.look is not None}


class Line(NamedTuple):
    """How one of several compared things is drawn."""

    colour: str
    dash: Any
    marker: str
    hatch: str


LINES: tuple[Line, ...] = (
    Line("#000000", "-", "o", ""),
    Line("#0072B2", "--", "s", "////"),
    Line("#E69F00", "-.", "^", "\\\\\\\\"),
    Line("#009E73", ":", "D", "...."),
    Line("#CC79A7", (0, (5, 1, 1, 1, 1, 1)), "v", "xxxx"),
    Line("#56B4E9", (0, (8, 2)), "P", "----"),
    Line("#D55E00", (0, (2, 1)), "X", "++++"),
)
# The same parts drawn as lines.
CAUSE_LINES: dict[str, Line] = {
    c.name: Line(c.look.line or c.look.colour, c.look.dash, c.look.marker, "") for c in COLUMNS if c.look is not None
}
# Brown to blue through white: the two clip colours, darker towards the ends.
DIVERGING: tuple[str, ...] = (
    "#4A1F00",
    CAUSES["clip_high"][1],
    "#F6D2B8",
    "#FFFFFF",
    "#CDE8F8",
    CAUSES["clip_low"][1],
    "#003A5D",
)


# Inches. A page shows a figure about 700 pixels wide, a telephone 400: there, letters of 9 points are 8 pixels high.
WIDE = 6.0
LETTERS = 9  # points


def new_figure(wide: float, tall: float) -> Figure:
    """Return an empty white figure of that size in inches, drawn without a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fig = Figure(figsize=(wide, tall), facecolor="white")
    FigureCanvasAgg(fig)
    return fig


def dress(axes: Axes, title: str = "", ticks: int = 5) -> None:
    """Give a panel its title and letters that can be read at 400 pixels; ticks: of each linear axis, at most."""
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, fontsize=LETTERS + 1, loc="left")
    axes.tick_params(labelsize=LETTERS)
    for axis in (axes.xaxis, axes.yaxis):
        axis.label.set_fontsize(LETTERS)
        if axis.get_scale() == "linear" and _automatic(axis):
            axis.set_major_locator(MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10]))


def _automatic(axis: Any) -> bool:
    """Whether nobody has chosen the ticks of an axis."""
    from matplotlib.ticker import AutoLocator

    return isinstance(axis.get_major_locator(), AutoLocator)


def legend_above(fig: Figure, handles: Sequence[Any], tall: float, columns: int = 2, room: float = 0.05) -> float:
    """Draw one legend for all panels along the top; return the inches that it takes, for `subplots_adjust`.

    room: inches left free above it, for a title.
    """
    fig.legend(
        handles=list(handles),
        loc="upper left",
        bbox_to_anchor=(0.01, 1 - room / tall),
        ncols=columns,
        fontsize=LETTERS,
        frameon=False,
        borderaxespad=0.0,
        columnspacing=1.1,
        handletextpad=0.5,
        labelspacing=0.3,
        handlelength=2.6,
    )
    return room + 0.19 * math.ceil(len(handles) / columns) + 0.1


def png(fig: Figure) -> bytes:
    """Write a figure as PNG, 200 dots per inch."""
    image = io.BytesIO()
    fig.savefig(image, format="png", dpi=200)
    return image.getvalue()


def write_figure(fig: Figure, path: Path) -> None:
    """Write a figure as PNG, written whole or not at all."""
    from entclip.support.files import write_atomic

    write_atomic(path, png(fig))
