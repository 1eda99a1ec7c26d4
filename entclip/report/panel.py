"""One panel of the figure over rollouts: per group theory, causes and the measured change, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from entclip.report.stacks import Stack
from entclip.report.style import CAUSES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw", "limits"]


def limits(groups: Sequence[Stack]) -> tuple[float, float]:
    """Return ends of the scale on which all of these groups fit with their intervals."""
    ends = [0.0]
    for g in groups:
        half = g.half or 0.0
        ends += [g.measured - half, g.measured + half]
        for values in (g.parts.values(), g.expected.values()):
            ends += [sum(v for v in values if v > 0), sum(v for v in values if v < 0)]
    low, top = min(ends), max(ends)
    room = 0.06 * (top - low) or 1e-9
    return low - room, top + room


def draw(axes: Axes, groups: Sequence[Stack], parts: Sequence[str], theory: bool) -> None:
    """Draw the groups of one panel: theory, causes, measured change, from left to right."""
    wide = 0.28 if theory else 0.38  # of the space of a group
    for i, stack in enumerate(groups):
        x = i if theory else i - wide / 2
        if theory:
            _pile(axes, x - wide, stack.expected, parts, wide, pale=True)
        _pile(axes, x, stack.parts, parts, wide, pale=False)
        axes.bar(x + 1.06 * wide, stack.measured, 0.94 * wide, color=CAUSES["measured"][1])
        for line, thick in (("white", 3.0), ("black", 1.3)):  # a white rim: seen on dark colours
            axes.plot((x - 0.47 * wide, x + 0.59 * wide), [stack.measured] * 2, color=line, lw=thick, solid_capstyle="butt")
        if stack.half is not None:
            axes.errorbar(x + 1.64 * wide, stack.measured, stack.half, fmt="none", ecolor="black", elinewidth=1.1, capsize=1.6)
        if stack.expected_total is not None:
            diamond = {"markersize": 3.2, "markerfacecolor": "white", "markeredgecolor": "black"}
            axes.plot(x + 1.06 * wide, stack.expected_total, "D", zorder=5, **diamond)  # type: ignore[arg-type]
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    step = math.ceil(len(groups) * max(len(g.label) for g in groups) / 45)
    axes.set_xticks(range(0, len(groups), step), [g.label for g in groups[::step]], fontsize=9)
    axes.tick_params(axis="x", length=0)
    axes.tick_params(axis="y", labelsize=9)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")  # a common factor above the axis would run into the title
    axes.grid(axis="y", color="0.85", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _pile(axes: Axes, x: float, values: Mapping[str, float], parts: Iterable[str], wide: float, pale: bool) -> None:
    """One stack: positive parts upwards from zero, negative ones downwards."""
    ends = {True: 0.0, False: 0.0}
    for part in parts:
        value = values.get(part, 0.0)
        if value == 0:
            continue
        _, colour, hatch = CAUSES[part]
        face, edge = (_light(colour), "0.45") if pale else (colour, "black")
        axes.bar(x, value, 0.94 * wide, bottom=ends[value > 0], facecolor=face, edgecolor=edge, hatch=hatch, linewidth=0.5)
        ends[value > 0] += value


def _light(colour: str) -> tuple[float, float, float]:
    from matplotlib.colors import to_rgb

    r, g, b = (1 - 0.35 * (1 - c) for c in to_rgb(colour))
    return r, g, b
