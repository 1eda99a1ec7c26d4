"""The two experiments of docs/vocabulary.md: their runs, data and figures.

    python -m tests.statistics.vocabulary vocab_scale --runs results
    python -m tests.statistics.vocabulary headline_152k --runs results

A finished run in the folder is read, not made again. From scratch each takes five to ten minutes on two free cores.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from entclip import load, run
from entclip.ledger.folder import open_run, read_summary
from entclip.ledger.manifest import MANIFEST
from entclip.report.style import CAUSES, LETTERS, LINES, WIDE, dress, legend_above, new_figure, write_figure
from entclip.support.files import prepare_folder, to_json, write_atomic

KEPT = ("expected_", "residual_", "z_", "verdict_", "clip_events_", "gap_", "clip_fraction_")
LAWS = {"zipf:1": ("Zipf(1)", LINES[0]), "normal_logits:4": ("normal logits, sd 4", LINES[6])}
PANELS = {
    "clip_low": ("low_only", "clip low (low_only)"),
    "clip_high": ("high_only", "clip high (high_only)"),
    "curvature": ("none", "curvature (none)"),
}


def vocab_scale(folder: Path) -> list[dict[str, Any]]:
    """One row per law, size and arm."""
    rows = []
    for name, arm in read_summary(folder)["arms"].items():
        case, arm_name = name.split("/")
        law, size = case.split(",vocab=")
        kept = {k: v for k, v in arm.items() if k.startswith(KEPT) and "skewness" not in k}
        parts = {k: arm[k] for p in ("unclipped", "clip_low", "clip_high", "curvature", "measured") for k in (p, f"{p}_se")}
        own = {k: arm[k] for k in ("remainder", "measured_cv", "measured_cv_se", "entropy_start", "units", "verdict")}
        rows.append({"law": law, "vocab": int(size), "arm": arm_name, **parts, **own, **kept})
    return rows


def vocab_scale_figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Left: measured and theory; right: their ratio. Its caption stands in docs/vocabulary.md."""
    tall = 7.6
    fig = new_figure(WIDE, tall)
    panels = fig.subplots(3, 2, sharex=True)
    for (left, right), (part, (arm, title)) in zip(panels, PANELS.items(), strict=True):
        left.axhline(0, color="0.6", linewidth=0.8)
        right.axhline(1, color="0.6", linewidth=0.8)
        for law, (label, look) in LAWS.items():
            found = [r for r in rows if r["law"] == law and r["arm"] == arm]
            x = np.array([r["vocab"] for r in found], dtype=float)
            value, theory, se = (np.array([r[k] for r in found]) for k in (part, f"expected_{part}", f"residual_{part}_se"))
            own = {"color": look.colour, "fmt": look.marker}
            left.plot(x, theory, color=look.colour, linestyle=look.dash, linewidth=1.6, label=f"theory, {label}")
            left.errorbar(x, value, 2 * se, markersize=5, markerfacecolor="white", label=f"measured, {label}", **own)
            beside = x * (0.85 if law == "zipf:1" else 1.18)
            right.errorbar(beside, value / theory, 2 * np.abs(se / theory), markersize=4, capsize=2, **own)
        right.set_xscale("log")
        right.set_xticks([10.0**k for k in range(1, 10, 4)])
        dress(left, title)
        dress(right, "measured / theory")
    head = legend_above(fig, panels[0, 0].get_legend_handles_labels()[0], tall) + 0.2
    fig.supxlabel("actions V", fontsize=LETTERS + 1, y=0.08 / tall)
    fig.supylabel("entropy change (nats)", fontsize=LETTERS + 1, x=0.005)
    fig.subplots_adjust(left=0.135, right=0.985, top=1 - head / tall, bottom=0.6 / tall, hspace=0.22, wspace=0.22)
    write_figure(fig, path)


def headline_152k(folder: Path) -> dict[str, Any]:
    """The arms' summaries, and entropy after each rollout."""
    saved = open_run(folder)
    frame, summary = saved.frame("rollouts"), saved.summary()
    curves = {}
    for (case, arm), rows in frame.groupby(["case", "arm"], sort=False):
        first = rows.sort_values("rollout")
        curves[f"{case}/{arm}"] = [float(first["entropy_before"].iloc[0]), *first["entropy"].tolist()]
    return {
        "arms": {n: {k: v for k, v in a.items() if "skewness" not in k} for n, a in summary["arms"].items()},
        "entropy": curves,
    }


def headline_152k_figure(data: dict[str, Any], path: Path) -> None:
    """Entropy by rollout, then change by cause, for each start. Its caption stands in docs/vocabulary.md."""
    titles = {"zipf:1": "Zipf(1), V = 151,936", "snapshot:smollm2-135m": "SmolLM2's next tokens, V = 49,152"}
    tall = 11.2
    fig = new_figure(WIDE, tall)
    panels = fig.subplots(4, 1)
    for curves, bars, (case, title) in zip(panels[:2], panels[2:], titles.items(), strict=True):
        arms = {n.split("/")[1]: a for n, a in data["arms"].items() if n.startswith(case)}
        for k, (look, (name, arm)) in enumerate(zip(LINES, arms.items(), strict=False)):
            y = data["entropy"][f"{case}/{name}"]
            curves.plot(
                range(len(y)),
                y,
                color=look.colour,
                linestyle=look.dash,
                marker=look.marker,
                markevery=5,
                markersize=4.5,
                label=name,
                linewidth=1.6,
            )
            half = float(stats.t.ppf(0.975, arm["units"] - 1)) * arm["measured_se"]
            curves.errorbar(len(y) - 0.6 + 0.35 * k, y[-1], half, fmt="none", ecolor=look.colour, capsize=3)
        curves.set_xlabel("rollout", labelpad=1)
        curves.set_ylabel("entropy (nats)")
        dress(curves, title)
        _bars(bars, arms)
        dress(bars, f"by cause: {title}")
    handles = [*panels[0].get_legend_handles_labels()[0], *panels[2].get_legend_handles_labels()[0]]
    head = legend_above(fig, handles, tall, columns=3) + 0.2
    fig.subplots_adjust(left=0.12, right=0.985, top=1 - head / tall, bottom=0.5 / tall, hspace=0.36)
    write_figure(fig, path)


def _bars(axes: Any, arms: dict[str, Any]) -> None:
    """Change over the run by cause, an arm a group, theory along the path on top."""
    axes.axhline(0, color="0.6", linewidth=0.8)
    for k, part in enumerate(("unclipped", "clip_low", "clip_high", "curvature", "measured")):
        label, colour, hatch = CAUSES[part]
        x = np.arange(len(arms)) + 0.16 * (k - 2)
        value, se = (np.array([a[key] for a in arms.values()]) for key in (part, f"{part}_se"))
        axes.bar(
            x, value, 0.15, yerr=2 * se, color=colour, hatch=hatch, edgecolor="0.3", linewidth=0.4, label=label, ecolor="0.4"
        )
        if part in ("clip_low", "clip_high", "curvature"):
            theory = [a[f"expected_{part}"] for a in arms.values()]
            mark = "theory along the path" if k == 1 else None
            axes.plot(x, theory, "D", color="white", markeredgecolor="black", markersize=4, linestyle="none", label=mark)
    axes.set_xticks(range(len(arms)), [name.replace("_", "_\n", 1) for name in arms])
    axes.set_ylabel("change (nats)")


MAKE: dict[str, tuple[Callable[[Path], Any], Callable[[Any, Path], None]]] = {
    "vocab_scale": (vocab_scale, vocab_scale_figure),
    "headline_152k": (headline_152k, headline_152k_figure),
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.vocabulary", description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=tuple(MAKE))
    parser.add_argument("--runs", type=Path, default=Path("results"))
    parser.add_argument("--data", type=Path, default=Path("docs/data"))
    parser.add_argument("--figures", type=Path, default=Path("docs/figures"))
    parser.add_argument("--draw", action="store_true", help="draw the figure from the data, without a run")
    a = parser.parse_args()
    read, draw = MAKE[a.name]
    target = a.data / f"{a.name}.json"
    for folder in (a.data, a.figures):
        prepare_folder(folder)
    if a.draw:
        data = json.loads(target.read_text())
    else:
        folder = a.runs / a.name
        if not (folder / MANIFEST).is_file():
            run(load(a.name), "reduced", out=folder)
        data = read(folder)
        write_atomic(target, to_json(data).encode())
    draw(data, a.figures / f"{a.name}.png")


if __name__ == "__main__":
    main()
