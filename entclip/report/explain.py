"""Explain a ledger: how much entropy went where, with intervals, what stands out, and one figure of the run over its updates.

Reads a finished run's folder or its ledger.parquet, from any engine. Sums come from summary.json where it is at hand: its
standard errors run over independent units. From a lone Parquet file errors of updates are added in quadrature, as for
independent updates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entclip.ledger.cancelling import joined_frame
from entclip.ledger.columns import COLUMNS, UNSPLIT
from entclip.report.cautions import cautions, ceiling, share_without_advantage
from entclip.report.grid import Grid, text_grid
from entclip.report.numbers import with_error
from entclip.report.stacks import by_arm
from entclip.report.style import CAUSE_LINES, LETTERS, WIDE, dress, legend_above, new_figure, write_figure
from entclip.report.style import CAUSES as LOOKS

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LEDGER_CAPTION", "ArmStory", "explain", "ledger_figure", "stories_grid"]

_CAUSES = tuple(c.name for c in COLUMNS if c.kind == "cause")
_PARTS = (*_CAUSES, "curvature", "remainder")
_PANELS = 8
LEDGER_CAPTION = (
    "All lines are measured, nothing is predicted: the total of all updates, and first-order parts and curvature of the steps "
    "taken, summed over accounted updates. Bands: two standard errors, updates added in quadrature as if they were independent; "
    "none where the engine has no standard error."
)


@dataclass(frozen=True)
class ArmStory:
    """What happened in one arm: parts of the entropy change as (name, value, standard error or None), and warnings.

    units: independent ones behind the standard errors; None where that is unknown, or the engine is exact.
    updates: how many the parts are sums over, and how many there were.
    unknown: causes that some update has no number for, because its step is not split.
    ceiling: on how many samples of a trainer's run a bound could act, and on how many it did, in words.
    without_advantage: share of samples that move nothing, in groups whose rewards are all equal.
    fit: the line of measured against first-order changes over updates: slope and its standard error, R^2 and its 95 % interval
    (Fisher's z; updates as if independent); None where it has no meaning, below 4 updates. Rows are means over replicas: in
    antithetic pairs first order cancels and curvature does not, so that the slope can be far from 1.
    """

    name: str
    measured: tuple[float, float | None]
    parts: tuple[tuple[str, float, float | None], ...]
    entropy: tuple[float, float]
    units: int | None
    updates: tuple[int, int]
    without_advantage: float | None
    unknown: tuple[str, ...]
    ceiling: str | None
    warnings: tuple[str, ...]
    fit: tuple[float, float, float, float, float] | None


def explain(frame: pd.DataFrame, summaries: dict[str, Any]) -> list[ArmStory]:
    """Return one story per case and arm, in the order of the ledger."""
    return [_story(name, joined_frame(rows), summaries.get(name)) for name, rows in by_arm(frame).items()]


def _sum(rows: pd.DataFrame, summary: dict[str, Any] | None, name: str) -> tuple[float, float | None]:
    if summary is not None:
        return float(summary[name]), summary.get(f"{name}_se")
    errors = rows.get(f"{name}_se")
    known = errors is not None and bool(errors.notna().all())
    return math.fsum(rows[name]), math.sqrt(math.fsum(errors**2)) if known else None  # type: ignore[operator]


def _story(name: str, rows: pd.DataFrame, summary: dict[str, Any] | None) -> ArmStory:
    known = summary or {}
    sums = {p: _sum(rows, summary, p) for p in _PARTS if p in rows and rows[p].notna().all()}
    measured = _sum(rows, summary, "measured")
    if known.get("unaccounted") is not None:
        sums["unaccounted"] = _sum(rows, summary, "unaccounted")
    elif not known and _partly(rows):
        whole = float(_cumulative(rows).iloc[-1])
        measured, sums["unaccounted"] = (whole, None), (whole - measured[0], None)
    always = ("unclipped", "curvature", "remainder")
    entropies = (rows["entropy_before"].iloc[0], rows["entropy"].iloc[-1])
    units = known.get("units")
    # A lone file does not say how many updates came after its last row.
    updates = max(len(rows) + int(known.get("skipped", 0)), int(rows["step"].max()) + 1 if "step" in rows else 0)
    return ArmStory(
        name=name,
        measured=measured,
        parts=tuple((part, *both) for part, both in sums.items() if part in always or both[0] != 0),
        entropy=(float(known.get("entropy_start", entropies[0])), float(known.get("entropy_end", entropies[1]))),
        units=units,
        updates=(len(rows), updates),
        without_advantage=share_without_advantage(rows),
        ceiling=ceiling(rows),
        unknown=tuple(cause for cause in UNSPLIT if cause not in sums),
        warnings=cautions(rows, sums, units, updates),
        fit=_fit(rows),
    )


def _partly(rows: pd.DataFrame) -> bool:
    """Whether updates are missing before the last row: entropy moved in them, too."""
    return "step" in rows and int(rows["step"].max()) + 1 > len(rows)


def _cumulative(rows: pd.DataFrame) -> pd.Series:
    """The whole entropy change up to and with each row, updates without a row included."""
    return rows["entropy"] - rows["entropy_before"].iloc[0]


def _fit(rows: pd.DataFrame) -> tuple[float, float, float, float, float] | None:
    from scipy.stats import linregress

    first = rows[[p for p in _CAUSES if p in rows and rows[p].notna().all()]].sum(axis=1)
    if len(rows) < 4 or first.std() == 0 or rows["measured"].std() == 0:
        return None
    line = linregress(first, rows["measured"])
    z, half = math.atanh(min(abs(line.rvalue), 1 - 1e-15)), 1.96 / math.sqrt(len(rows) - 3)
    low, high = (math.tanh(max(z + s * half, 0.0)) ** 2 for s in (-1, 1))
    return float(line.slope), float(line.stderr), float(line.rvalue**2), low, high


def ledger_figure(frame: pd.DataFrame, path: Path) -> None:
    """Draw the cumulative entropy change by cause over the accounted updates, one panel per arm; PNG, written whole or not at
    all.

    `LEDGER_CAPTION` says how to read it: bands are two standard errors of an update added in quadrature, what the last point has
    beside its summary.
    """
    arms = {name: joined_frame(rows) for name, rows in list(by_arm(frame).items())[:_PANELS]}
    columns = min(2, len(arms))
    lines = math.ceil(len(arms) / columns)
    tall = 1.0 + 2.3 * lines
    fig = new_figure(WIDE, tall)
    panels = fig.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(arms) :]:
        axes.set_visible(False)
    for axes, (name, rows) in zip(panels.ravel(), arms.items(), strict=False):
        steps = rows["step"] if "step" in rows else range(len(rows))
        for part in ("measured", *_CAUSES, "curvature"):
            if part not in rows or not rows[part].notna().all() or not rows[part].abs().sum() > 0:
                continue
            whole = part == "measured" and _partly(rows)
            total, look = _cumulative(rows) if whole else rows[part].cumsum(), CAUSE_LINES[part]
            axes.plot(
                steps,
                total,
                linestyle=look.dash,
                marker=look.marker,
                markevery=max(1, len(rows) // 5),
                markersize=4.5,
                color=look.colour,
                lw=2.2 if part == "measured" else 1.5,
                label=LOOKS[part][0],
            )
            if not whole and f"{part}_se" in rows and rows[f"{part}_se"].notna().all():
                half = 2 * (rows[f"{part}_se"] ** 2).cumsum() ** 0.5
                axes.fill_between(steps, total - half, total + half, color=look.colour, alpha=0.15, lw=0)
        axes.axhline(0, color="black", lw=0.6)
        share = f", {len(rows)} of {int(rows['step'].max()) + 1} updates" if _partly(rows) else ""
        axes.grid(color="0.92")
        dress(axes, f"{name}{share}".replace("$", r"\$"), ticks=4)
    handles = {label: h for axes in panels.ravel() for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    head = legend_above(fig, list(handles.values()), tall, columns=3)
    fig.supxlabel("update", fontsize=LETTERS + 1)
    fig.supylabel("cumulative change (nats)", fontsize=LETTERS + 1)
    fig.tight_layout(rect=(0.01, 0, 1, 1 - head / tall))
    write_figure(fig, path)


def stories_grid(stories: list[ArmStory]) -> Grid:
    """Tabulate the parts of every arm's entropy change, an arm a row."""
    names = [p for p in (*_PARTS, "unaccounted") if any(p == part for s in stories for part, _, _ in s.parts)]
    partly = any(story.updates[0] < story.updates[1] for story in stories)
    flat = any(story.without_advantage for story in stories)
    columns = ["arm", "units", *(["accounted"] if partly else []), *(["no advantage"] if flat else []), "entropy", "measured"]
    rows = []
    for story in stories:
        found = {part: with_error(value, error) for part, value, error in story.parts}
        cells = [story.name, "-" if story.units is None else str(story.units)]
        cells += ["{} of {}".format(*story.updates)] if partly else []
        cells += ["-" if story.without_advantage is None else f"{story.without_advantage:.0%}"] if flat else []
        cells += [f"{story.entropy[0]:.4f} -> {story.entropy[1]:.4f}", with_error(*story.measured)]
        rows.append((*cells, *(found.get(p, "-" if p in story.unknown else "0") for p in names)))
    title = "Where entropy went (nats, standard error in the last digits, over independent units)"
    return text_grid(title, (*columns, *(LOOKS[p][0] for p in names)), rows)
