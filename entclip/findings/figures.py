"""The figures of docs/findings.md, from the kept data of the runs."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from entclip.findings.data import Catalogue
from entclip.findings.exact import POLICIES
from entclip.findings.tables import row_of
from entclip.findings.verdicts import LEVEL, Judged, judge_finding
from entclip.report import figure
from entclip.report.style import CAUSES, LETTERS, LINES, WIDE, dress, legend_above, new_figure, write_figure
from entclip.support.files import prepare_folder

__all__ = ["draw"]

Results = Mapping[str, Mapping[str, Any]]
# Policies of noise_sign that noise_only measures, by its names of them.
_MEASURED = {"uniform": "uniform", "dirichlet:2": "dirichlet:2:0.1", "zipf:1": "zipf:1", "peaked:4": "peaked:4"}
_HALF = NormalDist().inv_cdf((1 + LEVEL) / 2)  # of a 99 % interval, standard errors: noise_only has thousands of units
_LEFT = 0.39  # of the width, for the names of regimes
_MARKS = {True: ("o", "gap above 0"), False: ("s", "gap below 0"), None: ("^", "gap not known")}
_SIDES = {"clip-low-raises": "clip_low", "clip-high-lowers": "clip_high"}


def draw(catalogue: Catalogue, results: Results, folder: Path) -> list[Path]:
    """Draw what the results allow, and return the paths written."""
    prepare_folder(folder)
    made = []
    sides = {f.id: judge_finding(catalogue.contrasts(f), results) for f in catalogue.findings if f.id in _SIDES}
    if any(j.interval for judged in sides.values() for j in judged):
        made.append(_signs(catalogue, sides, folder / "findings_signs.png"))
    if "headline" in results:
        made.append(folder / "findings_headline.png")
        figure(results["headline"], made[-1])
    if "noise_sign" in results:
        made.append(_noise(results, folder / "findings_noise.png"))
    return made


def _scaled(j: Judged) -> float | None:
    """Return a value in units of half its interval: beyond 1 its sign is told."""
    if j.value is None or j.interval is None or j.interval[1] == j.interval[0]:
        return None
    return j.value / ((j.interval[1] - j.interval[0]) / 2)


def _signs(catalogue: Catalogue, sides: Mapping[str, list[Judged]], path: Path) -> Path:
    rows = list(dict.fromkeys(row_of(catalogue, j) for judged in sides.values() for j in judged))
    head, foot = 0.95, 0.55
    tall = head + foot + 0.33 * len(rows)
    fig = new_figure(WIDE, tall)
    panels = fig.subplots(1, 2, sharey=True)
    titles = {"clip_low": "clip low (paper: right)", "clip_high": "clip high (paper: left)"}
    for axes, (name, judged) in zip(panels, sides.items(), strict=True):
        column = _SIDES[name]
        axes.axvspan(-1, 1, color="0.88", zorder=0)
        axes.axvline(0, color="0.4", linewidth=0.8)
        marks = [(_scaled(j), rows.index(row_of(catalogue, j)), getattr(j, f"gap_{column[5:]}")) for j in judged]
        for positive, (mark, words) in _MARKS.items():
            here = [(x, y) for x, y, gap in marks if x is not None and (None if gap is None else gap > 0) == positive]
            if not here:
                continue
            axes.plot(
                [x for x, _ in here],
                [y for _, y in here],
                mark,
                linestyle="none",
                markersize=5,
                markeredgewidth=0.8,
                markerfacecolor=CAUSES[column][1] if positive else "white",
                markeredgecolor="black",
                label=f"{CAUSES[column][0]}, {words}",
            )
        axes.set_xscale("symlog", linthresh=1, linscale=0.6)
        axes.set_xlim(-400, 400)
        axes.set_xticks([-100, -1, 0, 1, 100], ["-100", "-1", "", "1", "100"])
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), [textwrap.fill(row, 30) for row in rows])
        axes.grid(axis="y", color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
        dress(axes, titles[column])
    handles = [h for axes in panels for h in axes.get_legend_handles_labels()[0]]
    legend_above(fig, handles, tall)
    fig.supxlabel(f"entropy change / half-width of its {LEVEL:.0%} interval", fontsize=LETTERS, x=0.5, y=0.06 / tall)
    fig.subplots_adjust(left=_LEFT, right=0.985, top=1 - head / tall, bottom=foot / tall, wspace=0.05)
    write_figure(fig, path)
    return path


def _noise(results: Results, path: Path) -> Path:
    exact = results["noise_sign"]["arms"]
    tall = 4.6
    fig = new_figure(WIDE, tall)
    axes = fig.subplots()
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.axvspan(len(POLICIES) - 1.5, len(POLICIES) - 0.5, color="0.94", zorder=0)
    measured = results.get("noise_only", {}).get("arms", {})
    for line, geometry in zip(LINES, ("natural", "euclidean"), strict=False):
        scale = abs(exact[f"uniform/{geometry}"]["noise"])
        values, low, high = (
            np.array([exact[f"{p}/{geometry}"][key] for p in POLICIES]) / scale for key in ("noise", "noise_min", "noise_max")
        )
        at = np.arange(len(POLICIES)) + (-0.12 if geometry == "natural" else 0.12)
        axes.errorbar(
            at,
            values,
            [values - low, high - values],
            color=line.colour,
            fmt=line.marker,
            markersize=5,
            markerfacecolor="white",
            capsize=3,
            label=f"{geometry}, theory (T9)",
        )
        arms = {name.split(",")[0]: arm for name, arm in measured.items() if geometry in name}
        for policy, case in _MEASURED.items() if arms else ():
            value, se = (arms[case][key] / abs(arms["uniform"]["curvature"]) for key in ("curvature", "curvature_se"))
            axes.errorbar(
                at[POLICIES.index(policy)],
                value,
                _HALF * se,
                color=line.colour,
                fmt="x",
                markersize=7,
                markeredgewidth=2,
                capsize=4,
                label=f"{geometry}, measured" if policy == "uniform" else None,
            )
    axes.set_yscale("symlog", linthresh=1)
    axes.set_xticks(range(len(POLICIES)), POLICIES, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_ylabel("entropy drift by noise, uniform = 1 in size")
    axes.set_xlim(-0.5, len(POLICIES) - 0.5)
    dress(axes)
    head = legend_above(fig, axes.get_legend_handles_labels()[0], tall)
    fig.subplots_adjust(left=0.115, right=0.985, top=1 - head / tall, bottom=0.95 / tall)
    write_figure(fig, path)
    return path
