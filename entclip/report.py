"""Reports of a run: tables for the terminal, GitHub markdown, one figure, and the comparison of two runs.

Everything here reads the JSON object of a run (`Ledger.summary()`); nothing is computed that is not in it, except combined
errors in `comparison`. Entropy changes are in nats, summed over the run. `expected_*` is theory conditional on the realised
path, so it is called "theory along the path" wherever it is shown.
"""

from __future__ import annotations

import io
import math
import os
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table
    from rich.text import Text

__all__ = ["STYLE", "comparison", "figure", "markdown", "tables", "with_error"]

# Okabe-Ito colours, told apart in grey by luminance and hatch: (name in text, face colour, hatch).
STYLE: dict[str, tuple[str, str, str]] = {
    "measured": ("total, raw mean", "#000000", ""),
    "measured_cv": ("total, control variate", "#FFFFFF", "////"),
    "unclipped": ("unclipped", "#F0E442", ""),
    "clip_low": ("clip low", "#56B4E9", "\\\\\\\\"),
    "clip_high": ("clip high", "#D55E00", ""),
    "other": ("other", "#CC79A7", "xxxx"),
    "momentum": ("momentum", "#0072B2", "////"),
    "weight_decay": ("weight decay", "#999999", ""),
    "curvature": ("curvature", "#009E73", "...."),
}
_PARTS = tuple(STYLE)[2:]
_OPTIONAL = ("other", "momentum", "weight_decay")  # shown only where some arm has any
_MARKS = {"agree": "ok", "reject": "NO", "inconclusive": "?"}
_COLOURS = {"agree": "green", "reject": "bold red", "inconclusive": "yellow"}
_ARMS_PER_PANEL = 8
_MAX_DECIMALS = 6

_WHAT = (
    "Entropy changes in nats, summed over the run; standard error in the last digits, -.0340(6) = -.0340 +- .0006. "
    "Upper line: measured. Lower line: theory along the path (its expectation given the policies that the run visited, "
    "not a forecast), with the check of the two against each other: ok = agree, NO = reject, ? = inconclusive. "
    "control variate = measured without the noise of the causes: sampled parts replaced by theory along the path. "
    "Causes + curvature + remainder = measured."
)
_WHAT_MEASURED = (
    "Entropy changes in nats, summed over the accounted updates; standard error in the last digits, -.0340(6) = -.0340 +- .0006. "
    "Causes are first-order parts of the realised step; there is no expectation to judge them by. "
    "Causes + curvature + remainder = measured."
)
_SIGNS = (
    "Signs: a clip at the low bound raises entropy where gap_low > 0, a clip at the high bound lowers it where gap_high > 0 (the "
    "usual case; both gaps are in the second table). The same read from the settings: raising eps_high means less clipping at "
    "the high bound, hence higher entropy; raising eps_low means less clipping at the low bound, hence lower entropy."
)
_CLIPS = (
    "clip fraction: share of samples whose gradient was clipped. pi: probability of the actions beyond the bound. gap: mean "
    "entropy value of those actions minus the policy's mean (- where no action was beyond the bound). kl, ratio max: current "
    "against old policy. collapses: contexts that lost over 1 nat and half their entropy within a rollout. Entropy in nats."
)


def _value(source: Mapping[str, Any], key: str) -> float | None:
    """A number of the JSON object; missing, null and nan are None, "inf" is infinite."""
    value = source.get(key)
    if value is None or isinstance(value, bool):
        return None
    number = float(value)
    return None if math.isnan(number) else number


def _fixed(value: float, decimals: int, sign: bool) -> str:
    text = f"{value:{'+' if sign else ''}.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("+-")
    return text.replace("0.", ".", 1) if text.lstrip("+-").startswith("0.") else text


def _plain(value: float, sign: bool) -> str:
    """About four significant digits, without an error."""
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    size = abs(value)
    if size < 5e-4 or size >= 1e5:
        mantissa, exponent = f"{value:{'+' if sign else ''}.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return _fixed(value, max(0, 3 - math.floor(math.log10(max(size, 0.1)))), sign)


def with_error(value: float | None, se: float | None, *, sign: bool = True) -> str:
    """A number with its standard error in the last digits; without an error where there is none.

    One digit of the error is shown, two if it starts with 1. "-" is no number, "(<1)" an error below the sixth decimal.

    >>> with_error(-0.03401, 0.00061), with_error(0.0207, 0.00149), with_error(-0.5, None), with_error(None, 0.1)
    ('-.0340(6)', '+.0207(15)', '-.5000', '-')
    """
    if value is None or math.isnan(value):
        return "-"
    if se is None or not math.isfinite(se) or se <= 0 or math.isinf(value):
        return _plain(value, sign)
    one, two = f"{se:.0e}".split("e"), f"{se:.1e}".split("e")
    exponent = int(one[1])
    if one[0] == "1" or two[0].startswith("1"):  # also .96, which rounds to 1: then (10), not (1)
        exponent = int((one if one[0] == "1" else two)[1]) - 1
    if exponent < -_MAX_DECIMALS:
        if max(abs(value), se) >= 10.0 ** (3 - _MAX_DECIMALS):
            return f"{_fixed(value, _MAX_DECIMALS, sign)}(<1)"
        top = math.floor(math.log10(max(abs(value), se)))
        if top - exponent > 3:
            return f"{value / 10.0**top:{'+' if sign else ''}.3f}(<1)e{top}"
        inner = with_error(value / 10.0**top, se / 10.0**top, sign=sign)
        return f"{inner}e{top}"
    if exponent >= 0:
        unit = 10**exponent
        return f"{round(value / unit) * unit:{'+' if sign else ''}d}({round(se / unit) * unit})"
    digits = round(se * 10.0**-exponent)
    shown = str(digits) if se < 1 else f"{se:.{-exponent}f}"
    return f"{_fixed(value, -exponent, sign)}({shown})"


@dataclass(frozen=True)
class _Cell:
    """What is shown in one field: an upper and a lower line, and the verdict that colours them."""

    upper: str
    lower: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class _Grid:
    """A table before it is rendered for a terminal or as markdown."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[_Cell, ...], ...]
    notes: tuple[str, ...]


def _arms(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return dict(summary.get("arms") or {})


def _shown_parts(arms: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The causes and curvature; those that not every run has only if some arm has any."""
    present = list(arms)
    return tuple(
        part
        for part in _PARTS
        if part not in _OPTIONAL or any(_value(arm, key) for arm in present for key in (part, f"expected_{part}"))
    )


def _has_theory(arms: Iterable[Mapping[str, Any]]) -> bool:
    """Whether any part has an expectation to stand beside: a language model's has none."""
    return any(_value(arm, f"expected_{part}") is not None for arm in arms for part in _PARTS)


def _origin(summary: Mapping[str, Any]) -> str:
    """Which run this is, in one line."""
    fields = ", ".join(f"{key} {summary.get(key, '-')}" for key in ("engine", "seed", "rollouts", "digest"))
    return f"{summary.get('experiment', '-')}: {fields}"


def _part_cell(arm: Mapping[str, Any], part: str) -> _Cell:
    expected, verdict = _value(arm, f"expected_{part}"), str(arm.get(f"verdict_{part}") or "")
    measured, theory = with_error(_value(arm, part), _value(arm, f"{part}_se")), with_error(expected, None)
    decimals = len(measured.partition("(")[0].rpartition(".")[2])
    if expected and decimals > 4 and "(" in measured and "e" not in measured + theory:
        theory = _fixed(expected, decimals, True)  # as many decimals as the number that it stands under
    if mark := _MARKS.get(verdict):
        theory += f" {mark}"
    return _Cell(measured, theory, verdict)


def _causes_grid(summary: Mapping[str, Any]) -> _Grid:
    arms = _arms(summary)
    parts, theory = _shown_parts(arms.values()), _has_theory(arms.values())
    rows = []
    totalled = ("measured", "measured_cv") if theory else ("measured",)
    for name, arm in arms.items():
        totals = [_Cell(with_error(_value(arm, key), _value(arm, f"{key}_se"))) for key in totalled]
        remainder = _Cell(with_error(_value(arm, "remainder"), _value(arm, "remainder_se")))
        verdict = str(arm.get("verdict") or "-")
        cells = [_part_cell(arm, p) for p in parts]
        if theory:
            rows.append((_Cell(name), *totals, *cells, remainder, _Cell(verdict, verdict=verdict)))
        else:
            rows.append((_Cell(name), *totals, *(_Cell(cell.upper) for cell in cells), remainder))
    names = ("arm", "measured", *(("control variate",) if theory else ()), *(STYLE[p][0] for p in parts), "remainder")
    columns = (*names, "verdict") if theory else names
    return _Grid(
        f"Entropy change by cause, {_origin(summary)}", columns, tuple(rows), (_WHAT if theory else _WHAT_MEASURED, _SIGNS)
    )


def _clips_grid(summary: Mapping[str, Any]) -> _Grid:
    keys = ("clip_fraction_low", "clip_fraction_high", "pi_low", "pi_high", "gap_low", "gap_high", "kl", "ratio_max", "collapses")
    rows = []
    for name, arm in _arms(summary).items():
        start, end = ("-" if (h := _value(arm, f"entropy_{when}")) is None else f"{h:.4f}" for when in ("start", "end"))
        cells = [_Cell(with_error(_value(arm, key), None, sign=key.startswith("gap"))) for key in keys[:-1]]
        collapses = _value(arm, "collapses")
        cells.append(_Cell("-" if collapses is None else f"{collapses:.4g}"))
        rows.append((_Cell(name), *cells, _Cell(f"{start} -> {end}")))
    columns = ("arm", *(k.replace("fraction_", "").replace("_", " ") for k in keys), "entropy")
    columns = tuple(c.replace("clip low", "clip fraction low").replace("clip high", "clip fraction high") for c in columns)
    return _Grid("Clipping and distance", columns, tuple(rows), (_CLIPS,))


def _rich(grid: _Grid) -> Table:
    """A rich table; names go in as Text, so that brackets in them are no markup."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    def text(cell: _Cell) -> Text:
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


def _github(grid: _Grid) -> str:
    """The grid as a GitHub table under a heading, its notes below."""

    def escape(text: str) -> str:
        for char in "\\|*_`[]<>":
            text = text.replace(char, {"<": "&lt;", ">": "&gt;"}.get(char, f"\\{char}"))
        return text.replace("\n", " ")

    def cell(c: _Cell) -> str:
        return escape(c.upper) + (f"<br>{escape(c.lower)}" if c.lower else "")

    lines = [f"### {escape(grid.title)}", ""]
    lines.append("| " + " | ".join(map(escape, grid.columns)) + " |")
    lines.append("|" + ":---|" + "---:|" * (len(grid.columns) - 1))
    lines += ["| " + " | ".join(map(cell, row)) + " |" for row in grid.rows]
    for note in grid.notes:
        lines += ["", escape(note)]
    return "\n".join(lines) + "\n"


def tables(summary: Mapping[str, Any]) -> list[Table]:
    """Two rich tables, one row per arm: the entropy change by cause beside theory; clip fractions, gaps and distances."""
    return [_rich(_causes_grid(summary)), _rich(_clips_grid(summary))]


def markdown(summary: Mapping[str, Any]) -> str:
    """The tables of `tables` as GitHub markdown."""
    return _github(_causes_grid(summary)) + "\n" + _github(_clips_grid(summary))


def comparison(a: Mapping[str, Any], b: Mapping[str, Any]) -> Table:
    """Run b minus run a, per arm in both: measured, its control-variate mean and each cause, with combined errors and z."""
    arms_a, arms_b = _arms(a), _arms(b)
    common = [name for name in arms_a if name in arms_b]
    keys = ("measured", "measured_cv", *_shown_parts([arms[name] for arms in (arms_a, arms_b) for name in common]))
    rows = []
    for name in common:
        cells = [_Cell(name)]
        for key in keys:
            before, after = _value(arms_a[name], key), _value(arms_b[name], key)
            difference = None if before is None or after is None else after - before
            errors = [_value(arms[name], f"{key}_se") for arms in (arms_a, arms_b)]
            # An exact engine has no error at all: it adds none to the other run's.
            se = math.hypot(*(e or 0.0 for e in errors))
            z = difference / se if difference is not None and se > 0 else None
            cells.append(_Cell(with_error(difference, se), "z -" if z is None else f"z {z:+.1f}"))
        rows.append(tuple(cells))
    notes = [
        f"a = {_origin(a)}\nb = {_origin(b)}",
        "Measured entropy change of b minus that of a, in nats, summed over the run. Errors are added in quadrature, as for "
        "independent runs; runs that share a seed share random numbers, so these errors are then no more than a guide. A run "
        "without an error (exact engine, or one independent unit) adds none.",
    ]
    if alone := [*(f"{n} (a)" for n in arms_a if n not in arms_b), *(f"{n} (b)" for n in arms_b if n not in arms_a)]:
        notes.append(f"In one run only: {', '.join(alone)}.")
    if not common:
        notes.append("The runs have no arm in common.")
    columns = ("arm", "measured", "control variate", *(STYLE[key][0] for key in keys[2:]))
    return _rich(_Grid("Difference of two runs, b - a", columns, tuple(rows), tuple(notes)))


def _half_width(arm: Mapping[str, Any], key: str) -> float | None:
    """Half of the 95 % interval: Student's t, or normal for a result without units."""
    se, units = _value(arm, f"{key}_se"), _value(arm, "units")
    if se is None or not math.isfinite(se):
        return None
    if units is None:
        return 1.959964 * se
    if units < 2:
        return None
    from scipy import stats

    return float(stats.t.ppf(0.975, units - 1)) * se


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


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
        _, colour, hatch = STYLE[key]
        for i, name in enumerate(names):
            arm, x = arms[name], i + (j - (len(keys) - 1) / 2) * width
            value, expected = _finite(_value(arm, key)), _finite(_value(arm, f"expected_{key}"))
            if value is not None:
                axes.bar(x, value, 0.92 * width, color=colour, hatch=hatch, edgecolor="black", linewidth=0.6)
                half = _half_width(arm, key)
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
    axes.set_xticks(range(len(names)), [_label(name, 108 // slots) for name in names], fontsize=9 if slots <= 6 else 8)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _caption(summary: Mapping[str, Any], keys: Sequence[str], arms: Mapping[str, Mapping[str, Any]]) -> str:
    remainders = [abs(r) for arm in arms.values() if (r := _value(arm, "remainder")) is not None]
    largest = f" Remainder (not drawn): at most {_plain(max(remainders), False)}." if remainders else ""
    measured = any(_value(arm, key) is not None for arm in arms.values() for key in keys)
    bars = "Bars: measured, summed over the run; lines: 95 % intervals where the engine has a standard error. "
    theory = (
        "Diamonds: theory along the path (its expectation given the policies that the run visited, not a forecast). Black and "
        "hatched white: the total, raw and with its noise removed by control variates; the"
        if _has_theory(arms.values())
        else "Black: the total. Causes are first-order parts of the realised steps. The"
    )
    return (
        f"{bars if measured else 'Nothing was measured. '}{theory} coloured bars and the remainder add up to the raw "
        f"total.{largest} Where gap_low and gap_high are "
        f"positive, clip low raises entropy and clip high lowers it; raising eps_high means less clipping there, hence "
        f"higher entropy. Engine {summary.get('engine', '-')}, seed {summary.get('seed', '-')}, "
        f"rollouts {summary.get('rollouts', '-')}, digest {summary.get('digest', '-')}."
    )


def figure(summary: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the figure of a run as PNG, whole or not at all: per arm a bar per cause, beside the total, with theory on top.

    Up to eight arms share one panel; more are spread over rows of panels with one y-axis scale.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    target, arms = Path(path), _arms(summary)
    names = list(arms)
    keys = ("measured", "measured_cv", *_shown_parts(arms.values()))
    if not any(_value(arm, "measured_cv") is not None for arm in arms.values()):
        keys = tuple(k for k in keys if k != "measured_cv")
    panels = max(1, math.ceil(len(names) / _ARMS_PER_PANEL))
    slots = max(1, math.ceil(len(names) / panels))
    text = textwrap.fill(_caption(summary, keys, arms), 168).replace("$", r"\$")
    # Inches, so that labels, caption and legend keep their size whatever the number of panels.
    under = 0.16 * max((_label(name, 108 // slots).count("\n") + 1 for name in names), default=1) + 0.15
    foot, head, high = 0.16 * (text.count("\n") + 1) + 0.2 + under, 0.85, 3.6 if panels == 1 else 1.75
    wide, tall = 11.0, head + panels * high + (panels - 1) * (under + 0.15) + foot
    fig = Figure(figsize=(wide, tall), facecolor="white")
    FigureCanvasAgg(fig)
    grid = fig.subplots(panels, 1, sharey=True, squeeze=False)
    for row, axes in enumerate(grid[:, 0]):
        _draw(axes, names[row * slots : (row + 1) * slots], arms, keys, slots)
    fig.subplots_adjust(left=0.085, right=0.99, top=1 - head / tall, bottom=foot / tall, hspace=(under + 0.15) / high)
    fig.supylabel("entropy change over the run (nats)", fontsize=10, x=0.008, y=(1 + (foot - head) / tall) / 2)
    title = f"Entropy change by cause: {summary.get('experiment', '-')}".replace("$", r"\$")
    fig.text(0.085, 1 - 0.28 / tall, title, fontsize=12, fontweight="bold")
    handles: list[Patch | Line2D] = [
        Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.6, label=label)
        for label, colour, hatch in (STYLE[key] for key in keys)
    ]
    diamond = {"marker": "D", "linestyle": "none", "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 4.5}
    if _has_theory(arms.values()):
        handles.append(Line2D([], [], label="theory along the path", **diamond))  # type: ignore[arg-type]
    fig.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.08, 1 - 0.36 / tall), ncols=len(handles), fontsize=8.5,
        frameon=False, columnspacing=1.1, handletextpad=0.5,
    )  # fmt: skip
    fig.text(0.01, 0.1 / tall, text, fontsize=8, va="bottom", linespacing=1.25)

    write_figure(fig, target)


def write_figure(fig: Figure, path: Path) -> None:
    """A figure as PNG, written whole or not at all."""
    from entclip.store import write_atomic

    image = io.BytesIO()
    fig.savefig(image, format="png", dpi=150)
    write_atomic(path, image.getvalue())
