"""A diagnosis as one HTML page that needs nothing else: the answers, and the curves they rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from entclip.integrations.diagnose.diagnosis import Diagnosis
from entclip.integrations.diagnose.run import Run
from entclip.report.document import Items, Picture, Section
from entclip.report.numbers import plus_minus, rounded
from entclip.report.page import page
from entclip.report.style import png

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["html"]

_MOST_POINTS = 4000
# Of each panel: its title and the quantities in it, those of a side in the side's colour everywhere.
_PANELS = (
    ("entropy", ("entropy",)),
    ("clip share", ("clip_low", "clip_high", "clip_merged", "clip_any", "dual_clip", "mask_low", "mask_high")),
    ("KL", ("kl_old", "kl_old_k3", "kl_old_k2", "kl_engine", "kl_engine_k3")),
    ("reward", ("reward",)),
)
_COLOURS = {"clip_low": "#0072b2", "clip_high": "#d55e00", "mask_low": "#0072b2", "mask_high": "#d55e00"}
_OTHER = ("#333333", "#009e73", "#cc79a7", "#777777")


def html(diagnosis: Diagnosis) -> str:
    """Return the page: one file, no script, no request to anywhere."""
    answers = tuple((f"{f.claim} ({f.level}, confidence {f.confidence})", f.answer) for f in diagnosis.findings)
    sections = [Section("Diagnosis of a run", (diagnosis.heading, Items(answers)))]
    run = Run.of(diagnosis.log)
    shown = [(title, [q for q in quantities if run is not None and run.has(q)]) for title, quantities in _PANELS]
    shown = [(title, quantities) for title, quantities in shown if quantities]
    if run is not None and shown:
        sections.append(Section("Curves", (_curves(run, shown),)))
    for finding in diagnosis.findings:
        rows = tuple(
            (
                e.metric,
                f"{rounded(e.value, 4)}{plus_minus(e.error)}, {diagnosis.log.unit}s {e.first} to {e.last}, {e.rows} rows",
            )
            for e in finding.evidence
        )
        blocks: list[str | Items] = [
            finding.answer,
            *([finding.change] if finding.change else []),
            *([Items(rows)] if rows else []),
        ]
        sections.append(Section(finding.claim, (*blocks, *([f"Because: {finding.reason}"] if finding.reason else []))))
    return page(sections)


def _curves(run: Run, shown: list[tuple[str, list[str]]]) -> Picture:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.1 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    step = run.get("step")
    x = step if np.isfinite(step).all() and len(step) else np.arange(run.log.rows, dtype=float)
    for axis, (title, quantities) in zip(axes, shown, strict=True):
        _panel(axis, run, x, title, quantities)
    axes[-1].set_xlabel(run.name("step") if np.isfinite(step).all() else "row")
    names = ", ".join(run.name(q) for _, quantities in shown for q in quantities)
    shows = f"The run's {names} as logged"
    return Picture("curves.png", png(figure), f"{shows}.", f"{shows}, nothing averaged.")


def _panel(axis: Axes, run: Run, x: np.ndarray, title: str, quantities: list[str]) -> None:
    others = iter(_OTHER)
    for quantity in quantities:
        y = run.get(quantity)
        used = np.flatnonzero(np.isfinite(y))
        # Every row of a short log; of a long one as many as a screen has room for, none averaged.
        used = used[:: max(len(used) // _MOST_POINTS, 1)]
        colour = _COLOURS.get(quantity) or next(others)
        marker, style = "." if len(used) < 80 else "", "--" if quantity.endswith("high") else "-"
        axis.plot(x[used], y[used], marker=marker, linestyle=style, linewidth=1, color=colour, label=run.name(quantity))
    axis.set_ylabel(title)
    axis.legend(fontsize=8, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
