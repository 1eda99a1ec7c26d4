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
from entclip.report.style import CAUSES, LINES, new_figure, write_figure
from entclip.support.files import prepare_folder, to_json, write_atomic

KEPT = ("expected_", "residual_", "z_", "verdict_", "clip_events_", "gap_", "clip_fraction_")
LAWS = {"zipf:1": ("Zipf(1)", LINES[0]), "normal_logits:4": ("normal logits, sd 4", LINES[6])}
PANELS = {
    "clip_low": ("low_only", "clip low, arm low_only"),
    "clip_high": ("high_only", "clip high, arm high_only"),
    "curvature": ("none", "curvature, arm none"),
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
    fig = new_figure(11, 6.4)
    panels = fig.subplots(2, 3, sharex=True, height_ratios=(2, 1.3))
    for column, (part, (arm, title)) in enumerate(PANELS.items()):
        above, below = panels[:, column]
        above.axhline(0, color="0.6", linewidth=0.8)
        below.axhline(1, color="0.6", linewidth=0.8)
        for law, (label, look) in LAWS.items():
            found = [r for r in rows if r["law"] == law and r["arm"] == arm]
            x = np.array([r["vocab"] for r in found], dtype=float)
            value, theory, se = (np.array([r[k] for r in found]) for k in (part, f"expected_{part}", f"residual_{part}_se"))
            above.plot(x, theory, color=look.colour, linestyle=look.dash, linewidth=1.6, label=f"theory along the path, {label}")
            above.errorbar(
                x,
                value,
                2 * se,
                color=look.colour,
                fmt=look.marker,
                markersize=5,
                markerfacecolor="white",
                label=f"measured, {label}",
            )
            shifted = x * (0.85 if law == "zipf:1" else 1.18)
            below.errorbar(
                shifted, value / theory, 2 * np.abs(se / theory), color=look.colour, fmt=look.marker, markersize=4, capsize=2
            )
        above.set_title(title, fontsize=10, loc="left")
        below.set_xscale("log")
        below.set_xticks([10.0**k for k in range(1, 10, 2)])
        below.set_xlabel("actions V")
    panels[0, 0].set_ylabel("entropy change, nats")
    panels[1, 0].set_ylabel("measured / theory")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="lower center", ncol=2, fontsize=9, frameon=False, bbox_to_anchor=(0.5, 0.075))
    units = rows[0]["units"]
    text = (
        "Lines: theory along the path (its expectation given the policies visited, not a forecast). Points: measured, bars two "
        f"standard errors of measured minus theory.\nTwo rollouts of 16 updates, 64 samples in groups of 8, learning rate 4, "
        f"clip .2; {units} mirrored pairs per point. Normal logits are one draw per size up to $10^7$:\ntheir "
        "likeliest actions differ, and with them the signs."
    )
    fig.text(0.02, 0.012, text, fontsize=8, va="bottom")
    fig.subplots_adjust(left=0.075, right=0.985, top=0.95, bottom=0.25, hspace=0.08, wspace=0.24)
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
    titles = {"zipf:1": "Zipf(1), V = 151,936", "snapshot:smollm2-135m": "SmolLM2-135M's next tokens, V = 49,152"}
    fig = new_figure(12, 8)
    panels = fig.subplots(2, 2, width_ratios=(1, 1.7))
    shown = ("unclipped", "clip_low", "clip_high", "curvature", "measured")
    for row, (case, title) in enumerate(titles.items()):
        arms = {n.split("/")[1]: a for n, a in data["arms"].items() if n.startswith(case)}
        left, right = panels[row]
        for k, (look, (name, arm)) in enumerate(zip(LINES, arms.items(), strict=False)):
            y = data["entropy"][f"{case}/{name}"]
            left.plot(
                range(len(y)),
                y,
                color=look.colour,
                linestyle=look.dash,
                marker=look.marker,
                markevery=5,
                markersize=4.5,
                label=f"{name} {arm['measured']:+.2f}",
                linewidth=1.6,
            )
            half = float(stats.t.ppf(0.975, arm["units"] - 1)) * arm["measured_se"]
            left.errorbar(len(y) - 0.6 + 0.35 * k, y[-1], half, fmt="none", ecolor=look.colour, capsize=3)
        left.set_title(title, fontsize=10, loc="left")
        left.set_ylabel("entropy, nats")
        left.legend(fontsize=8, frameon=False)
        right.axhline(0, color="0.6", linewidth=0.8)
        for k, part in enumerate(shown):
            label, colour, hatch = CAUSES[part]
            x = np.arange(len(arms)) + 0.16 * (k - 2)
            value, se = (np.array([a[key] for a in arms.values()]) for key in (part, f"{part}_se"))
            right.bar(
                x, value, 0.15, yerr=2 * se, color=colour, hatch=hatch, edgecolor="0.3", linewidth=0.4, label=label, ecolor="0.4"
            )
            if part in ("clip_low", "clip_high", "curvature"):
                theory = [a[f"expected_{part}"] for a in arms.values()]
                mark = "theory along the path" if k == 1 else None
                right.plot(x, theory, "D", color="white", markeredgecolor="black", markersize=4.5, linestyle="none", label=mark)
        right.set_xticks(range(len(arms)), list(arms), fontsize=9)
        right.set_title("entropy change over the run by cause, nats", fontsize=10, loc="left")
        if row == 0:
            right.legend(fontsize=8, frameon=False, ncol=2)
    panels[1, 0].set_xlabel("rollout")
    units = next(iter(data["arms"].values()))["units"]
    fig.text(
        0.02,
        0.01,
        f"30 rollouts of 16 updates, 16 samples in groups of 8, Bernoulli(.5) rewards, learning rate 4; {units} mirrored pairs "
        "per arm. Left: measured; the "
        "bars at the end are\n95 % intervals of the change over the run (those of the points between were not kept). Right: bars "
        "measured, with two standard errors; diamonds: theory\nalong the path (its expectation given the policies visited, not a "
        "forecast). The error of measured minus theory is smaller than the diamonds.",
        fontsize=8,
        va="bottom",
    )
    fig.subplots_adjust(left=0.055, right=0.985, top=0.96, bottom=0.115, hspace=0.18, wspace=0.12)
    write_figure(fig, path)


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
