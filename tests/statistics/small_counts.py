"""From exact counts to Gaussian noise: predicted and simulated clip fractions and drift as samples per action grow.

    python -m tests.statistics.small_counts --data docs/data/small_counts.json --figure docs/figures/small_counts.png

Uniform policy, V = 64, natural steps, clip .2/.2, one rollout of 16 minibatches; the batch runs from 8 to 8192, B pi0 from 1/8 to
128, with eta^2/B fixed so that the log-ratio noise of an unclipped rollout is .2 throughout. About three minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from entclip import Clip
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.prediction.meanfield import forecast, predict, steps
from entclip.report.style import CAUSES, LETTERS, WIDE, dress, legend_above, new_figure, write_figure
from entclip.runs.runner import run
from entclip.support.files import prepare_folder, to_json, write_atomic

VOCAB, UPDATES, SIGMA = 64, 16, 0.2
BATCHES = tuple(8 * 2**k for k in range(11))
_FINE = 1024  # points of a lattice
COLUMNS = ("clip_fraction_low", "clip_fraction_high", "drift")


def case(batch: int, replicas: int = 1, seed: int = 0) -> Experiment:
    """The configuration at one batch size."""
    eta = SIGMA * math.sqrt(batch / (UPDATES * (VOCAB - 1)))
    update = {"geometry": "natural", "learning_rate": eta, "batch": batch, "minibatches": UPDATES, "rollouts": 1}
    policy = {"kind": "uniform", "vocab": VOCAB, "contexts": 1}
    arm = [{"name": "both", "low": 0.2, "high": 0.2}]
    return parse_experiment({"seed": seed, "replicas": replicas, "policy": policy, "update": update, "arm": arm})


def predicted(spec: Experiment, law: str) -> dict[str, float]:
    """T11 as `predict` has it, with the exact law of the counts ("counts"); or with Gaussian moves of the same mean and variance.

    The Gaussian is a reference, so it is given a lattice fine enough that its error is that of the law and not of the lattice.
    """
    counted = law == "counts"
    with (
        mock.patch.object(forecast, "POINTS", forecast.POINTS if counted else _FINE),
        mock.patch.object(Clip, "hard", counted),  # where gains are not all 0 or 1 and samples are many, moves are Gaussian
        mock.patch.object(steps, "MANY", steps.MANY if counted else 0),
    ):
        arm = predict(spec).summary()["arms"]["both"]
    return {"drift": arm["expected_measured"]} | {k: arm[k] for k in COLUMNS[:2]}


def simulated(batch: int, seeds: int, replicas: int) -> dict[str, tuple[float, float]]:
    """Means and their standard errors over independent runs of the sampled engine; the drift is the control-variate mean."""
    found: dict[str, list[float]] = {k: [] for k in COLUMNS}
    for seed in range(seeds):
        arm = run(case(batch, replicas, seed), jobs=1).summary()["arms"]["both"]
        for name in COLUMNS:
            found[name].append(arm["measured_cv" if name == "drift" else name])
    return {k: (float(np.mean(v)), float(np.std(v, ddof=1)) / math.sqrt(seeds)) for k, v in found.items()}


def measure(batch: int, seeds: int, replicas: int) -> dict[str, Any]:
    """The simulated means of one batch size and their standard errors."""
    row: dict[str, Any] = {"batch": batch, "samples_per_action": batch / VOCAB, "units": seeds * replicas}
    for name, (value, se) in simulated(batch, seeds, replicas).items():
        row |= {f"measured_{name}": value, f"measured_{name}_se": se}
    return row


def with_predictions(row: dict[str, Any]) -> dict[str, Any]:
    """The same with both predictions, made now."""
    return row | {f"{law}_{k}": v for law in ("counts", "gaussian") for k, v in predicted(case(row["batch"]), law).items()}


def report(rows: list[dict[str, Any]]) -> str:
    """A Markdown table: simulated with its relative standard error, and what either prediction is off."""
    names = ("clip fraction low", "clip fraction high", "drift (nats)")
    lines = [f"| $B\\pi_0$ | {' | '.join(f'{n} (s.e.): counts, Gaussian' for n in names)} |", "|---|---|---|---|"]
    for row in rows:
        cells = []
        for name in COLUMNS:
            value, se = row[f"measured_{name}"], row[f"measured_{name}_se"]
            off = ", ".join(f"{100 * (row[f'{law}_{name}'] / value - 1):+.1f} %" for law in _LAWS)
            cells.append(f"{value:.5f} ({100 * abs(se / value):.1f} %): {off}")
        lines.append(f"| {row['samples_per_action']:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


_LAWS = {
    "counts": ("exact counts", CAUSES["clip_low"][1], "solid"),
    "gaussian": ("Gaussian", CAUSES["clip_high"][1], (0, (4, 2))),
}


def figure(rows: list[dict[str, Any]], path: Path) -> None:
    """Left: predictions and simulation; right: predictions over simulation. Its caption stands in docs/maps.md."""
    titles = ("clip fraction low", "clip fraction high", "entropy change (nats)")
    tall = 7.6
    fig = new_figure(WIDE, tall)
    panels = fig.subplots(3, 2, sharex=True)
    x = np.array([r["samples_per_action"] for r in rows])
    for (left, right), name, title in zip(panels, COLUMNS, titles, strict=True):
        value, se = (np.array([r[f"measured_{name}{end}"] for r in rows]) for end in ("", "_se"))
        right.axhspan(0.98, 1.02, color="0.9")
        right.axhline(1, color="0.5", linewidth=0.8)
        for law, (label, colour, line) in _LAWS.items():
            y = np.array([r[f"{law}_{name}"] for r in rows])
            left.plot(x, y, color=colour, linestyle=line, linewidth=2, label=f"predicted, {label}")
            ratio, room = y / value, 2 * np.abs(y * se / value**2)
            right.plot(x, ratio, color=colour, linestyle=line, linewidth=2)
            right.fill_between(x, ratio - room, ratio + room, color=colour, alpha=0.25, linewidth=0)
        left.errorbar(x, value, 2 * se, fmt="o", color="black", markersize=4, capsize=2, label="simulated")
        right.set_xscale("log")
        dress(left, title, ticks=4)
        dress(right, "predicted / simulated", ticks=4)
    head = legend_above(fig, panels[0, 0].get_legend_handles_labels()[0], tall) + 0.2
    fig.supxlabel("samples per action and minibatch, Bπ₀", fontsize=LETTERS + 1, y=0.08 / tall)
    fig.subplots_adjust(left=0.12, right=0.985, top=1 - head / tall, bottom=0.6 / tall, hspace=0.2, wspace=0.25)
    write_figure(fig, path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.small_counts", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=Path("docs/data/small_counts.json"))
    parser.add_argument("--figure", type=Path, default=Path("docs/figures/small_counts.png"))
    parser.add_argument("--seeds", type=int, default=16, help="independent runs per batch size")
    parser.add_argument("--replicas", type=int, default=1024, help="of each run")
    parser.add_argument("--predict", action="store_true", help="keep the simulations of --data, make only the predictions again")
    options = parser.parse_args()
    if options.predict:
        measured = json.loads(options.data.read_text())
    else:
        measured = [measure(batch, options.seeds, options.replicas) for batch in BATCHES]
    rows = [with_predictions(row) for row in measured]
    print(report(rows))
    for folder in (options.data.parent, options.figure.parent):
        prepare_folder(folder)
    write_atomic(options.data, to_json(rows).encode())
    figure(rows, options.figure)


if __name__ == "__main__":
    main()
