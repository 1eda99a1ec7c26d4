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

from entclip.ledger.columns import COLUMNS
from entclip.ledger.folder import read_frame, read_summary
from entclip.report.numbers import with_error
from entclip.report.stacks import by_arm
from entclip.report.style import CAUSE_LINES, new_figure, write_figure
from entclip.report.style import CAUSES as LOOKS
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ArmStory", "explain", "ledger_figure", "read_ledger", "table"]

_CAUSES = tuple(c.name for c in COLUMNS if c.kind == "cause")
_PARTS = (*_CAUSES, "curvature", "remainder")
_PANELS = 8


@dataclass(frozen=True)
class ArmStory:
    """What happened in one arm: parts of the entropy change as (name, value, standard error or None), and warnings.

    fit: the line of measured against first-order changes over updates: slope and its standard error, R^2 and its 95 % interval
    (Fisher's z; updates as if independent); None where it has no meaning, below 4 updates. Rows are means over replicas: in
    antithetic pairs first order cancels and curvature does not, so that the slope can be far from 1.
    """

    name: str
    measured: tuple[float, float | None]
    parts: tuple[tuple[str, float, float | None], ...]
    entropy: tuple[float, float]
    warnings: tuple[str, ...]
    fit: tuple[float, float, float, float, float] | None


def read_ledger(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of updates and, by arm, summaries (empty without a summary.json beside them); SpecError if it is no ledger."""
    import pandas as pd

    if path.is_dir():
        return read_frame(path), dict(read_summary(path)["arms"])
    try:
        frame = pd.read_parquet(path)
    except FileNotFoundError:
        raise SpecError(f"{path} does not exist: give the folder of a run, or a ledger.parquet.") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} is not a whole Parquet file ({error}): run the experiment again.") from None
    missing = {
        "arm",
        "rollout",
        "inner_step",
        "measured",
        "curvature",
        "remainder",
        *(c.name for c in COLUMNS if c.kind == "cause" and not c.optional),
    } - set(frame.columns)
    if missing:
        raise SpecError(f"{path} is no ledger: it has no column {', '.join(sorted(missing))}.")
    beside = path.parent / "summary.json"
    return frame, dict(read_summary(path.parent)["arms"]) if beside.exists() and path.name == "ledger.parquet" else {}


def explain(frame: pd.DataFrame, summaries: dict[str, Any]) -> list[ArmStory]:
    """One story per case and arm, in the order of the ledger."""
    return [_story(name, rows, summaries.get(name)) for name, rows in by_arm(frame).items()]


def _sum(rows: pd.DataFrame, summary: dict[str, Any] | None, name: str) -> tuple[float, float | None]:
    if summary is not None:
        return float(summary[name]), summary.get(f"{name}_se")
    errors = rows.get(f"{name}_se")
    known = errors is not None and bool(errors.notna().all())
    return math.fsum(rows[name]), math.sqrt(math.fsum(errors**2)) if known else None  # type: ignore[operator]


def _story(name: str, rows: pd.DataFrame, summary: dict[str, Any] | None) -> ArmStory:
    parts = tuple((p, *_sum(rows, summary, p)) for p in _PARTS if p in rows and rows[p].notna().all())
    shown = tuple(part for part in parts if part[0] in ("unclipped", "curvature", "remainder") or part[1] != 0)
    ends = float(rows["entropy_before"].iloc[0]), float(rows["entropy"].iloc[-1])
    skipped = int((summary or {}).get("skipped", 0))
    warnings = tuple(_warnings(rows, parts, skipped))
    return ArmStory(name, _sum(rows, summary, "measured"), shown, ends, warnings, _fit(rows))


def _fit(rows: pd.DataFrame) -> tuple[float, float, float, float, float] | None:
    from scipy.stats import linregress

    first = rows[[p for p in _CAUSES if p in rows and rows[p].notna().all()]].sum(axis=1)
    if len(rows) < 4 or first.std() == 0 or rows["measured"].std() == 0:
        return None
    line = linregress(first, rows["measured"])
    z, half = math.atanh(min(abs(line.rvalue), 1 - 1e-15)), 1.96 / math.sqrt(len(rows) - 3)
    low, high = (math.tanh(max(z + s * half, 0.0)) ** 2 for s in (-1, 1))
    return float(line.slope), float(line.stderr), float(line.rvalue**2), low, high


def _warnings(rows: pd.DataFrame, parts: tuple[tuple[str, float, float | None], ...], skipped: int) -> list[str]:
    """What a reader should know before believing a total."""
    out, value = [], {part: total for part, total, _ in parts}
    clipped = rows["clip_fraction_low"] + rows["clip_fraction_high"]
    alive = clipped.groupby(rows["inner_step"]).max() > 0
    able = len(alive) - int(0 in alive.index)  # the first inner step of a rollout is on-policy and never clips
    if not alive.any() or alive.sum() < able:
        steps = f"{int(alive.sum())} of {len(alive)} inner steps"
        out.append(
            f"clip alive in {steps}: " + ("it never acted." if not alive.any() else "in the others no ratio left the band.")
        )
    clips = max(abs(value["clip_low"]), abs(value["clip_high"]))
    if alive.any() and abs(value["curvature"]) > clips:
        out.append(
            f"curvature ({value['curvature']:+.2g}) is larger than both clip terms ({value['clip_low']:+.2g}, "
            f"{value['clip_high']:+.2g}): noise moved entropy more than clipping did."
        )
    walk = value["unclipped"] + value.get("momentum", 0.0)
    if alive.any() and abs(walk) > clips:
        out.append(
            f"the unclipped part ({walk:+.2g}) is larger than both clip terms. Under a random reward its samples average to "
            "0: mostly a random walk, which antithetic pairs cancel to first order."
        )
    size = sum(abs(v) for p, v in value.items() if p != "remainder")
    if abs(value["remainder"]) > 0.2 * size > 0:
        out.append(f"the remainder is {abs(value['remainder']) / size:.0%} of the other parts: steps too large for second order.")
    for side, usual in (("low", "raises"), ("high", "lowers")):
        gap = rows[f"mass_{side}"].sum()
        if gap < 0:
            other = "lowers" if usual == "raises" else "raises"
            out.append(
                f"gap_{side} is negative: here a clip at the {side} bound {other} entropy, the opposite of the usual sign."
            )
    if all(error is None for _, _, error in parts):
        out.append("no standard error: one independent unit. Use replicas.")
    seen = max(len(rows) + skipped, rows["step"].max() + 1 if "step" in rows else 0)  # the last ones leave no row
    if seen > len(rows):
        out.append(f"{len(rows)} of {seen} updates were accounted; parts are sums over those.")
    return out


def ledger_figure(frame: pd.DataFrame, path: Path) -> None:
    """Cumulative entropy change by cause over the accounted updates, one panel per arm; PNG, written whole or not at all.

    Bands are two standard errors of an update added in quadrature: what the last point has beside its summary.
    """
    arms = dict(list(by_arm(frame).items())[:_PANELS])
    columns = min(3, len(arms))
    lines = math.ceil(len(arms) / columns)
    fig = new_figure(4.2 * columns + 0.6, 3.0 * lines + 1.5)
    panels = fig.subplots(lines, columns, sharey=True, squeeze=False)
    for axes in panels.ravel()[len(arms) :]:
        axes.set_visible(False)
    for axes, (name, rows) in zip(panels.ravel(), arms.items(), strict=False):
        steps = rows["step"] if "step" in rows else range(len(rows))
        for part in ("measured", *_CAUSES, "curvature"):
            if part not in rows or not rows[part].abs().sum() > 0:
                continue
            total, look = rows[part].cumsum(), CAUSE_LINES[part]
            axes.plot(
                steps, total, linestyle=look.dash, marker=look.marker, markevery=max(1, len(rows) // 8), markersize=5,
                color=look.colour, lw=2.2 if part == "measured" else 1.5, label=LOOKS[part][0],
            )  # fmt: skip
            if f"{part}_se" in rows and rows[f"{part}_se"].notna().all():
                half = 2 * (rows[f"{part}_se"] ** 2).cumsum() ** 0.5
                axes.fill_between(steps, total - half, total + half, color=look.colour, alpha=0.15, lw=0)
        axes.axhline(0, color="black", lw=0.6)
        axes.set_title(name, fontsize=10)
        axes.grid(color="0.92")
        axes.set_xlabel("update")
    for axes in panels[:, 0]:
        axes.set_ylabel("cumulative change (nats)")
    handles = {label: h for axes in panels.ravel() for h, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    fig.legend(
        handles.values(),
        handles.keys(),
        loc="lower center",
        bbox_to_anchor=(0.5, 0.05),
        ncols=len(handles),
        frameon=False,
        fontsize=9,
    )
    fig.suptitle("Where entropy went", fontsize=11)
    caption = (
        "All lines are measured, nothing is predicted: the total, and first-order parts and curvature of the steps taken, "
        "summed over accounted updates.\nBands: two standard errors, updates added in quadrature as if they were independent; "
        "none where the engine has no standard error."
    )
    fig.text(0.01, 0.01, caption, fontsize=8)
    fig.tight_layout(rect=(0, 0.12, 1, 1))
    write_figure(fig, path)


def table(stories: list[ArmStory]) -> Any:
    """A rich table of the stories."""
    from rich.table import Table

    names = [p for p in _PARTS if any(p == part for s in stories for part, _, _ in s.parts)]
    out = Table("arm", "entropy", "measured", *(LOOKS[p][0] for p in names))
    out.title = "Where entropy went (nats, standard error in the last digits)"
    for story in stories:
        found = {part: with_error(value, error) for part, value, error in story.parts}
        ends = f"{story.entropy[0]:.4f} -> {story.entropy[1]:.4f}"
        out.add_row(story.name, ends, with_error(*story.measured), *(found.get(p, "0") for p in names))
    return out
