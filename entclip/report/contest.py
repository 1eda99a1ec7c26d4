"""Objectives side by side, as a table and as a figure that can be read at the width of a phone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from entclip.report.grid import Cell, Grid, origin
from entclip.report.numbers import half_width, value_of, with_error
from entclip.report.style import CAUSES, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contest_figure", "contest_grid"]

_WHAT = (
    "change: entropy change over the run in nats, with the noise of the causes replaced by theory along the path where "
    "there is one (control variate); standard error in the last digits. Below it theory along the path: its expectation "
    "given the policies that the run visited, not a forecast. against: paired difference from the first objective over the "
    "same units and random numbers, and half of its 95 % interval."
)
_RANK = (
    "rank: places that an objective may have, 1 for the largest entropy change. Two change places unless the interval of "
    "their paired difference is clear of 0; all intervals hold together at 95 %. More entropy is not better in itself."
)
_REACH = (
    "reachable: actions at least as likely as 3.7e-4, which 8,192 samples meet with 95 %, at the end over at the start. "
    "reward: expected, start -> end (- where it does not depend on the action, or the engine does not say), and below it the "
    "paired difference of its end from the first objective's, with half of its 95 % interval. kl: of the "
    "current against the old policy, mean over updates."
)


def contest_grid(summary: Mapping[str, Any]) -> Grid:
    """Tabulate a comparison: its objectives in the order of their entropy change."""
    rows: Sequence[Mapping[str, Any]] = summary["comparison"]
    first = next(iter(summary["arms"]))
    cells = []
    for row in rows:
        arm = summary["arms"][row["objective"]]
        predicted, half = value_of(row, "predicted"), value_of(row, "difference_half_width")
        cells.append(
            (
                Cell(row["objective"]),
                Cell(with_error(row["change"], row["change_se"]), with_error(predicted, None)),
                Cell("-", "") if row["objective"] == first else Cell(with_error(row["difference"], None), _plus_minus(half)),
                Cell(_places(row)),
                Cell(_ratio(row)),
                Cell(_path(row, "reward"), "" if row["objective"] == first else _gain(row)),
                Cell(with_error(value_of(arm, "kl"), None, sign=False)),
                Cell(_path({f"h_{when}": arm[f"entropy_{when}"] for when in ("start", "end")}, "h")),
            )
        )
    columns = ("objective", "change", f"against {first}", "rank", "reachable", "reward", "kl", "entropy")
    return Grid(f"Objectives on {origin(summary)}", columns, tuple(cells), (_WHAT, _RANK, _REACH))


def _gain(row: Mapping[str, Any]) -> str:
    """The paired difference of the rewards at the end, with its interval; nothing where there is none."""
    value, half = value_of(row, "reward_difference"), value_of(row, "reward_difference_half_width")
    return "" if value is None else " ".join(filter(None, (with_error(value, None), _plus_minus(half))))


def _plus_minus(half: float | None) -> str:
    return "" if not half else f"+- {with_error(half, None, sign=False)}"


def _places(row: Mapping[str, Any]) -> str:
    best, worst = row["rank_best"], row["rank_worst"]
    return str(best) if best == worst else f"{best}-{worst}"


def _ratio(row: Mapping[str, Any]) -> str:
    start, end = value_of(row, "reachable_start"), value_of(row, "reachable_end")
    return "-" if start is None or end is None or start == 0 else f"{end / start:.3f}"


def _path(row: Mapping[str, Any], key: str) -> str:
    start, end = value_of(row, f"{key}_start"), value_of(row, f"{key}_end")
    return "-" if start is None or end is None else f"{start:.3f} -> {end:.3f}"


def contest_figure(summary: Mapping[str, Any]) -> Figure:
    """Draw a comparison: per objective a row with its entropy change, its 95 % interval and theory along the path.

    A bar without an interval is hatched: where a statistic joins the contexts only replicas are units, and one has no error.

    The figure is four inches wide, so that its text is read where it is shown 400 pixels wide.
    """
    rows: Sequence[Mapping[str, Any]] = summary["comparison"]
    fig = new_figure(4.0, 1.3 + 0.22 * len(rows))
    axes = fig.add_subplot()
    sure = True
    for place, row in enumerate(rows):
        y, arm = len(rows) - 1 - place, summary["arms"][row["objective"]]
        half = half_width({"change_se": row["change_se"], "units": arm.get("units")}, "change")
        unknown = half is None and arm.get("units") is not None  # an exact engine has no units, and no error
        sure = sure and not unknown
        colour = CAUSES["clip_low" if row["change"] > 0 else "clip_high"][1]
        axes.barh(y, row["change"], 0.62, color=colour, edgecolor="black", linewidth=0.5, hatch="////" if unknown else None)
        if half:
            for line, thick in (("white", 3.4), ("black", 1.4)):  # a white rim: seen on the bar
                axes.errorbar(row["change"], y, xerr=half, fmt="none", ecolor=line, elinewidth=thick, capsize=3, zorder=4)
        if row["predicted"] is not None:  # on the edge of the bar, where it hides no interval
            axes.plot(row["predicted"], y - 0.31, "D", markersize=3.2, markerfacecolor="white", markeredgecolor="black", zorder=3)
    axes.axvline(0, color="black", linewidth=0.8)
    names = [row["objective"] for row in reversed(rows)]
    size = 9 if max(map(len, names)) <= 16 else 6.5  # then two lines fit into a row
    axes.set_yticks(range(len(rows)), [fill(name, 20) for name in names], fontsize=size, parse_math=False)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=9)
    axes.locator_params(axis="x", nbins=4)
    axes.grid(axis="x", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    words = ["entropy change (nats)", "line: 95 %, diamond: theory along the path"]
    axes.set_xlabel("\n".join(words if sure else [*words, "hatched: one unit, which has no error"]), fontsize=8.5)
    axes.set_title(str(summary.get("experiment", "")).replace("$", r"\$"), fontsize=10, loc="right")
    fig.tight_layout()
    return fig
