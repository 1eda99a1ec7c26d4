"""The figure of a run's totals: per arm a bar per cause beside the measured change, with theory on top."""

from __future__ import annotations

import math
import os
import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entclip.report.grid import arms_of, has_theory, shown_parts
from entclip.report.numbers import finite, half_width, plain, value_of
from entclip.report.style import CAUSES, WIDE, new_figure, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

__all__ = ["causes_caption", "causes_figure", "figure"]

_ARMS_PER_PANEL = 6
_CHARACTERS = 70  # of arms' names along a panel
_PER_LINE = 3  # entries of the legend


def _label(name: str, width: int) -> str:
    """The name of an arm on several lines, broken after punctuation where that is possible."""
    lines = [""]
    for word in re.findall(r"[^,._=\s-]*[,._=\s-]?", name):
        pieces = [word] if len(word) <= width else textwrap.wrap(word, width)
        for piece in pieces:
            if lines[-1] and len(lines[-1]) + len(piece) > width:
                lines.append("")
            lines[-1] += piece
    return "\n".join(lines).replace("$", r"\$")


def _draw(axes: Axes, names: Sequence[str], arms: Mapping[str, Mapping[str, Any]], keys: Sequence[str], slots: int) -> None:
    """One panel: a group of bars per arm, theory as diamonds on the left of a bar, intervals on its right."""
    width = 0.86 / len(keys)
    for j, key in enumerate(keys):
        _, colour, hatch = CAUSES[key]
        for i, name in enumerate(names):
            arm, x = arms[name], i + (j - (len(keys) - 1) / 2) * width
            value, expected = finite(value_of(arm, key)), finite(value_of(arm, f"expected_{key}"))
            if value is not None:
                axes.bar(x, value, 0.92 * width, color=colour, hatch=hatch, edgecolor="black", linewidth=0.5)
                half = half_width(arm, key)
                if half is not None:
                    at = x if expected is None else x + 0.2 * width
                    for line, thick in (("white", 2.6), ("black", 1.1)):  # a white rim: seen on black and on hatches
                        axes.errorbar(at, value, half, fmt="none", ecolor=line, elinewidth=thick, capsize=2, zorder=3)
            if expected is not None:
                at = x if value is None else x - 0.2 * width
                axes.plot(at, expected, "D", markersize=4.2, markerfacecolor="white", markeredgecolor="black", zorder=4)
    for i in range(len(names) - 1):
        axes.axvline(i + 0.5, color="0.85", linewidth=0.8, zorder=0)
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(-0.5, slots - 0.5)
    axes.set_xticks(range(len(names)), [_label(name, _CHARACTERS // slots) for name in names], fontsize=9)
    axes.tick_params(axis="y", labelsize=9)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def causes_caption(summary: Mapping[str, Any]) -> str:
    """Say what `causes_figure` shows of this run and how to read it."""
    arms = arms_of(summary)
    keys = _keys(arms)
    remainders = [abs(r) for arm in arms.values() if (r := value_of(arm, "remainder")) is not None]
    largest = f" Remainder (not drawn): at most {plain(max(remainders), False)}." if remainders else ""
    measured = any(value_of(arm, key) is not None for arm in arms.values() for key in keys)
    bars = "Bars: measured, summed over the run; lines: 95 % intervals where the engine has a standard error. "
    theory = (
        "Diamonds: theory along the path (its expectation given the policies that the run visited, not a forecast). Black and "
        "hatched white: the total, raw and with its noise removed by control variates; the"
        if has_theory(arms.values())
        else "Black: the total. Causes are first-order parts of the realised steps. The"
    )
    return (
        f"{bars if measured else 'Nothing was measured. '}{theory} coloured bars and the remainder add up to the raw "
        f"total.{largest} Engine {summary.get('engine', '-')}, seed {summary.get('seed', '-')}, "
        f"rollouts {summary.get('rollouts', '-')}, digest {summary.get('digest', '-')}."
    )


def _keys(arms: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    keys = ("measured", "measured_cv", *shown_parts(arms.values()))
    cleaned = any(value_of(arm, "measured_cv") is not None for arm in arms.values())
    return keys if cleaned else tuple(k for k in keys if k != "measured_cv")


def causes_figure(summary: Mapping[str, Any]) -> Figure:
    """Draw the figure of a run's totals: per arm a bar per cause, beside the total, with 95 % intervals and theory on top, in
    nats.

    Up to six arms share one panel; more are spread over rows of panels with one scale. `causes_caption` says how to read it.

    Args:
        summary: the JSON object of a run, `Ledger.summary()`, or of a prediction, which has theory only.
    """
    arms = arms_of(summary)
    names, keys = list(arms), _keys(arms)
    panels = max(1, math.ceil(len(names) / _ARMS_PER_PANEL))
    slots = max(1, math.ceil(len(names) / panels))
    handles = _handles(keys, has_theory(arms.values()))
    # Inches, so that labels and legend keep their size whatever the number of panels.
    foot = 0.16 * max((_label(name, _CHARACTERS // slots).count("\n") + 1 for name in names), default=1) + 0.12
    head, high = 0.45 + 0.19 * math.ceil(len(handles) / _PER_LINE), 3.0 if panels == 1 else 1.75
    tall = head + panels * high + (panels - 1) * (foot + 0.15) + foot
    fig = new_figure(WIDE, tall)
    grid = fig.subplots(panels, 1, sharey=True, squeeze=False)
    for row, axes in enumerate(grid[:, 0]):
        _draw(axes, names[row * slots : (row + 1) * slots], arms, keys, slots)
    fig.subplots_adjust(left=0.13, right=0.99, top=1 - head / tall, bottom=foot / tall, hspace=(foot + 0.15) / high)
    fig.supylabel("entropy change over the run (nats)", fontsize=9, x=0.008, y=(1 + (foot - head) / tall) / 2)
    title = f"Entropy change by cause: {summary.get('experiment', '-')}".replace("$", r"\$")
    fig.text(0.02, 1 - 0.22 / tall, title, fontsize=11, fontweight="bold")
    fig.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.005, 1 - 0.26 / tall),
        ncols=_PER_LINE,
        fontsize=9,
        frameon=False,
        columnspacing=1.1,
        handletextpad=0.5,
        labelspacing=0.25,
    )
    return fig


def _handles(keys: Sequence[str], theory: bool) -> list[Patch | Line2D]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.6, label=label)
        for label, colour, hatch in (CAUSES[key] for key in keys)
    ]
    if theory:
        diamond = {"marker": "D", "linestyle": "none", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 4.5}
        handles.append(Line2D([], [], label="theory along the path", **diamond))  # type: ignore[arg-type]
    return handles


def figure(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write `causes_figure` as PNG, whole or not at all."""
    write_figure(causes_figure(summary), Path(path))
