"""The figure of a phase map: total drift and its three terms on one diverging scale, borders, validity, simulated cells.

What stands beneath it, `map_caption`, is text: in a picture it could not be read on a telephone.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.prediction.maps.phase_map import Axis, groups
from entclip.report.style import CAUSES, DIVERGING, LETTERS, WIDE, dress, legend_above, new_figure, write_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

__all__ = ["figure", "map_caption", "map_figure"]

_LABELS = {
    "concentration": "Zipf exponent s of the policy",
    "step": "step size: log-ratio noise σ (nats)",
    "batch": "batch B (samples)",
    "minibatches": "minibatches per rollout K",
    "eps_low": "clip width below 1, ε_low",
    "eps_high": "clip width above 1, ε_high",
}
_SIGMA = {"natural": "σ = η √(K m₂ (V−1) / B)", "euclidean": "σ = η √(K m₂ (P₂+P₂²−2P₃) / B), P_k = Σ π₀^k"}
_PANELS = (("measured", "total"), ("clip_low", "clip low"), ("clip_high", "clip high"), ("curvature", "curvature"))
# Border: label, level of what, colour, line style.
_LINES: dict[str, tuple[str, str, Any]] = {
    "gap_low": ("gap_low = 0", "#000000", "solid"),
    "gap_high": ("gap_high = 0", "#000000", (0, (4, 2))),
    "dominance": ("clips = curvature in size", CAUSES["curvature"][1], (0, (6, 1.5, 1, 1.5))),
    "neutral": ("total = 0 (neutral)", CAUSES["other"][1], "solid"),
}
_SHOWN = {
    "measured": ("gap_low", "gap_high", "dominance", "neutral"),
    "clip_low": ("gap_low",),
    "clip_high": ("gap_high",),
    "curvature": ("dominance",),
}
# Panel of each border's own points, and what the two sides of it are called.
_BESIDE = {"clip_low": "gap_low", "clip_high": "gap_high", "curvature": "dominance"}
_MARKS = {
    "agree": {"marker": "o", "markerfacecolor": "black", "markersize": 5.5},
    "reject": {"marker": "X", "markerfacecolor": "black", "markersize": 8},
    "inconclusive": {"marker": "o", "markerfacecolor": "white", "markersize": 5.5},
}


def _edges(axis: Axis) -> np.ndarray:
    """Return the borders of cells around the values of an axis."""
    v = np.asarray(axis.values, dtype=float)
    v = np.log(v) if axis.log else v
    if len(v) == 1:
        e = np.array([v[0] - 0.5, v[0] + 0.5])
    else:
        middle = (v[1:] + v[:-1]) / 2
        e = np.concatenate([[v[0] - (middle[0] - v[0])], middle, [v[-1] + (v[-1] - middle[-1])]])
    return np.exp(e) if axis.log else e


def _grid(frame: pd.DataFrame, column: str, x: Axis, y: Axis) -> np.ndarray:
    out = np.full((len(y.values), len(x.values)), np.nan)
    out[frame["iy"].to_numpy(), frame["ix"].to_numpy()] = frame[column].to_numpy(dtype=float)
    return out


def _field(frame: pd.DataFrame, border: str, x: Axis, y: Axis) -> np.ndarray:
    """Return what changes sign at a border."""
    if border == "neutral":
        return _grid(frame, "expected_measured", x, y)
    values = _grid(frame, border, x, y)
    if border != "dominance":
        return values
    with np.errstate(divide="ignore"):
        return np.clip(np.log(values), -9, 9)


def _panel(axes: Axes, frame: pd.DataFrame, term: str, x: Axis, y: Axis, norm: Any, cmap: Any) -> tuple[Any, set[str]]:
    from matplotlib import patheffects
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import NullLocator

    ex, ey = _edges(x), _edges(y)
    mesh = axes.pcolormesh(ex, ey, np.ma.masked_invalid(_grid(frame, f"expected_{term}", x, y)), norm=norm, cmap=cmap)
    for i, j, status in frame[["ix", "iy", "status"]].itertuples(index=False):
        if status != "valid":
            size = (ex[i + 1] - ex[i], ey[j + 1] - ey[j])
            face, hatch = ("0.88", "xxx") if status == "refused" else ("none", "///")
            axes.add_patch(Rectangle((ex[i], ey[j]), *size, facecolor=face, hatch=hatch, edgecolor="0.45", linewidth=0))
    _signs(axes, _signed(frame, term), f"expected_{term}", x, y)
    drawn = set()
    for border in _SHOWN[term]:
        field = _field(frame, border, x, y)
        if min(field.shape) < 2 or not (np.nanmin(field, initial=1) < 0 < np.nanmax(field, initial=-1)):
            continue
        _, colour, style = _LINES[border]
        lines = axes.contour(
            x.values, y.values, np.ma.masked_invalid(field), levels=[0.0], colors=[colour], linestyles=[style], linewidths=2
        )
        lines.set_path_effects([patheffects.withStroke(linewidth=4, foreground="white")])
        drawn.add(border)
    if x.log:
        axes.set_xscale("log")
    if y.log:
        axes.set_yscale("log")
    axes.set_xlim(ex[0], ex[-1])
    axes.set_ylim(ey[0], ey[-1])
    for axis, side in ((x, axes.xaxis), (y, axes.yaxis)):
        shown = axis.values[:: max(1, math.ceil(len(axis.values) / 4))]
        side.set_ticks(shown, [f"{v:.2g}" if v < 100 else f"{v:.0f}" for v in shown], fontsize=LETTERS)
        side.set_minor_locator(NullLocator())
    return mesh, drawn


def _signed(frame: pd.DataFrame, term: str) -> pd.DataFrame:
    """Every fourth cell, without those that were simulated; on a coarse map, where all of these were, what is free of marks."""
    free, fourth = frame["verdict"] == "", (frame["ix"] % 2 == 0) & (frame["iy"] % 2 == 0)
    if (free & fourth).any():
        return frame[free & fourth]
    return frame[free if term == "measured" else fourth]  # the panels of causes have no marks of simulated cells


def _signs(axes: Axes, frame: pd.DataFrame, column: str, x: Axis, y: Axis) -> None:
    """Draw a plus or minus in each cell: a print in grey shows both ends of the scale dark."""
    from matplotlib import patheffects

    for sign, marker in ((1, "+"), (-1, "_")):
        rows = frame[sign * frame[column] > 0]
        at = [x.values[i] for i in rows["ix"]], [y.values[j] for j in rows["iy"]]
        (marks,) = axes.plot(*at, linestyle="none", marker=marker, color="black", markersize=4.5, markeredgewidth=0.9)
        marks.set_path_effects([patheffects.withStroke(linewidth=2, foreground="white")])


def _beside(axes: Axes, points: pd.DataFrame, x: Axis, y: Axis) -> None:
    """Draw simulated points of one border: up where the measured margin is positive, filled where it has the predicted sign."""
    for verdict, face in (("agree", "black"), ("inconclusive", "white")):
        for sign, marker in ((1, "^"), (-1, "v")):
            rows = points[(points["verdict"] == verdict) & (sign * points["measured"] > 0)]
            style = {"markerfacecolor": face, "markeredgecolor": "white" if face == "black" else "black", "markersize": 5.5}
            axes.plot(rows[x.name], rows[y.name], linestyle="none", marker=marker, zorder=5, **style)  # type: ignore[arg-type]
    wrong = points[points["verdict"] == "reject"]
    axes.plot(wrong[x.name], wrong[y.name], linestyle="none", markeredgecolor="white", zorder=5, **_MARKS["reject"])  # type: ignore[arg-type]


def _points_caption(points: pd.DataFrame) -> str:
    counts = ", ".join(f"{(points['verdict'] == v).sum()} {v}" for v in _MARKS)
    names = {"gap_low": "clip low panel: measured clip low", "gap_high": "clip high panel: minus measured clip high"}
    names["dominance"] = "curvature panel: measured |clip low| + |clip high| − |curvature|"
    said = "; ".join(text for border, text in names.items() if (points["border"] == border).any())
    return (
        f" Triangles: {len(points)} points beside a predicted border, simulated; up where the measured quantity is positive, "
        f"down where negative ({said}): {counts} with the predicted sign at 5 s.e."
    )


def map_caption(frame: pd.DataFrame, *, arm: str | None = None, beside: pd.DataFrame | None = None) -> str:
    """Say what `map_figure` shows with these arguments and how to read it."""
    arm, own, x, y = _own(frame, arm)
    experiment = parse_experiment(frame.attrs["experiment"])
    return _caption(own, experiment, arm, x, y, frame.attrs["hold"]) + ("" if beside is None else _points_caption(beside))


def _own(frame: pd.DataFrame, arm: str | None) -> tuple[str, pd.DataFrame, Axis, Axis]:
    """Return the arm to draw, its rows, and the axes."""
    arm = str(frame["arm"].iloc[0]) if arm is None else arm
    own = frame[frame["arm"] == arm]
    if own.empty:
        raise ValueError(f"the map has no arm {arm!r}: choose one of {', '.join(dict.fromkeys(frame['arm']))}.")
    x, y = (Axis(frame.attrs[k]["name"], tuple(frame.attrs[k]["values"])) for k in ("x", "y"))
    return arm, own, x, y


def _caption(frame: pd.DataFrame, experiment: Experiment, arm: str, x: Axis, y: Axis, hold: str) -> str:
    u, share = experiment.update, groups(experiment)
    fixed = [f"V = {experiment.policy.vocab}"] if hasattr(experiment.policy, "vocab") else []
    names = {x.name, y.name}
    if "concentration" not in names:
        fixed.append(f"policy {experiment.policy.kind}")
    fixed += [f"B = {u.batch}"] if "batch" not in names else []
    fixed += [f"K = {u.minibatches}"] if "minibatches" not in names else []
    if "step" not in names:
        fixed.append(f"η = {u.learning_rate:.3g}" if hold == "eta" else f"σ = {share['sigma']:.3g}")
    widths = {
        "eps_low": ("ε_low", -math.expm1(-share["low_in_sigma"] * share["sigma"])),
        "eps_high": ("ε_high", math.expm1(share["high_in_sigma"] * share["sigma"])),
    }
    fixed += [f"{symbol} = {value:.3g}" for name, (symbol, value) in widths.items() if name not in names]
    tested = frame[frame["verdict"] != ""]
    counts = ", ".join(f"{(tested['verdict'] == v).sum()} {v}" for v in _MARKS)
    room = "5 %" if u.geometry == "natural" else "10 %"
    measured = (
        f"Marks: {len(tested)} cells simulated, the measured mean against the predicted total: {counts} (agree: within 3 s.e., "
        f"{room} of the causes or .001 nat)."
        if len(tested)
        else "No cell was simulated."
    )
    runs = f"{u.rollouts} rollout{'s' if u.rollouts > 1 else ''}"
    return (
        f"Colour, and + or - in every fourth cell: predicted entropy change (no sampling), nats over {runs}, arm {arm}, "
        f"{u.geometry} steps, random reward; "
        f"{', '.join(fixed)}; {_SIGMA[u.geometry]} is the rms of log r at the end of an unclipped rollout. Where a gap is "
        f"positive (actions beyond the bound have above-average entropy value), clip low raises and clip high lowers entropy: "
        f"the paper's inequality. Hatched: outside the conditions under which the prediction was checked; crossed grey: no "
        f"prediction. {measured}"
    )


def map_figure(frame: pd.DataFrame, *, arm: str | None = None, beside: pd.DataFrame | None = None) -> Figure:
    """Draw a map: predicted total, clip low, clip high and curvature on one scale. `map_caption` says how to read it.

    Args:
        frame: of `phase_map` or `verify`, with its attrs.
        arm: which one to draw; the first on the map by default.
        beside: points of `tests.statistics.border.simulate_border` on the same plane, drawn in the panel of their term.
    """
    arm, own, x, y = _own(frame, arm)
    experiment = parse_experiment(frame.attrs["experiment"])
    # Inches below, between and above the panels.
    foot, between, tall = 1.3, 0.34, 7.4
    fig = new_figure(WIDE, tall)
    panels = fig.subplots(2, 2, sharex=True, sharey=True)
    top, mesh, drawn = _panels(panels, own, x, y, beside)
    for verdict, look in _MARKS.items():
        found = own[own["verdict"] == verdict]
        rim = "white" if verdict != "inconclusive" else "black"
        style: dict[str, Any] = {"linestyle": "none", "markeredgecolor": rim, **look}
        panels.flat[0].plot(found[x.name], found[y.name], zorder=5, **style)
    title = f"Phase map, {experiment.update.geometry} steps, arm {arm}"
    fig.text(0.01, 1 - 0.24 / tall, title, fontsize=LETTERS + 2, fontweight="bold")
    head = legend_above(fig, _legend(own, drawn), tall, columns=3, room=0.36) + 0.22
    high = (tall - head - foot - between) / 2
    fig.subplots_adjust(left=0.135, right=0.985, top=1 - head / tall, bottom=foot / tall, hspace=between / high, wspace=0.06)
    fig.supxlabel(_LABELS[x.name], fontsize=LETTERS + 1, y=(foot - 0.5) / tall, x=0.56)
    fig.supylabel(_LABELS[y.name], fontsize=LETTERS + 1, x=0.008, y=(1 + (foot - head) / tall) / 2)
    bar = fig.add_axes((0.135, 0.5 / tall, 0.85, 0.14 / tall))
    decades = [10.0**k for k in range(-6, 3) if 2 * _linear(top) <= 10.0**k <= top]
    ticks = [*(-d for d in reversed(decades)), 0.0, *decades]
    scale = fig.colorbar(mesh, cax=bar, extend="both", ticks=ticks, orientation="horizontal")
    scale.ax.minorticks_off()
    scale.ax.set_xticklabels([f"{t:+g}" if t else "0" for t in ticks], fontsize=LETTERS)
    scale.set_label("predicted entropy change over the run (nats)", fontsize=LETTERS, labelpad=1)
    return fig


def _panels(panels: Any, own: pd.DataFrame, x: Axis, y: Axis, beside: pd.DataFrame | None) -> tuple[float, Any, set[str]]:
    """Draw the four panels on one scale; return its end, a mesh with its colours, and which borders were there to draw."""
    from matplotlib.colors import LinearSegmentedColormap, SymLogNorm

    values = own[[f"expected_{t}" for t, _ in _PANELS]].to_numpy(dtype=float)
    trusted = values[(own["status"] == "valid").to_numpy()]
    top = float(np.nanmax(np.abs(trusted if trusted.size else values), initial=1e-3))
    norm = SymLogNorm(linthresh=_linear(top), vmin=-top, vmax=top)
    cmap = LinearSegmentedColormap.from_list("drift", DIVERGING)
    drawn: set[str] = set()
    for axes, (term, title) in zip(panels.flat, _PANELS, strict=True):
        mesh, lines = _panel(axes, own, term, x, y, norm, cmap)
        drawn |= lines
        dress(axes, title)
        if beside is not None and term in _BESIDE:
            _beside(axes, beside[beside["border"] == _BESIDE[term]], x, y)
    return top, mesh, drawn


def _linear(top: float) -> float:
    """Up to where a scale that ends at `top` is linear."""
    return max(top / 100, 1e-4)


def _legend(own: pd.DataFrame, drawn: set[str]) -> list[Line2D | Patch]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour, linestyle=line, linewidth=2, label=label)
        for key, (label, colour, line) in _LINES.items()
        if key in drawn
    ]
    for status, label, face, hatch in (
        ("outside", "outside validity", "white", "///"),
        ("refused", "no prediction", "0.88", "xxx"),
    ):
        if (own["status"] == status).any():
            handles.append(Patch(facecolor=face, hatch=hatch, edgecolor="0.45", linewidth=0, label=label))
    for verdict, look in _MARKS.items():
        if (own["verdict"] != "").any():
            handles.append(Line2D([], [], linestyle="none", markeredgecolor="black", label=verdict, **look))  # type: ignore[arg-type]
    return handles


def figure(
    frame: pd.DataFrame, path: str | os.PathLike[str], *, arm: str | None = None, beside: pd.DataFrame | None = None
) -> None:
    """Write `map_figure` as PNG, whole or not at all."""
    write_figure(map_figure(frame, arm=arm, beside=beside), Path(path))
