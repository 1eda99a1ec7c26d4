"""Does training the head alone show a language model's regime? The measurement behind docs/shared_parameters.md.

    python -m entclip.findings.shared_parameters.measure --setting smollm2_sgd --hidden FILE.npz \\
        --out docs/data/shared_parameters.json
    python -m entclip.findings.shared_parameters.measure --draw docs/data/shared_parameters.json \\
        --out docs/figures/shared_parameters.png
    python -m entclip.findings.shared_parameters.measure --tables docs/data/shared_parameters.json

One rollout per arm on the head engine; per arm and antithetic pair: every part of the ledger, both gaps of T6 in the euclidean
and in the natural entropy value, clip fractions; and the root mean square of log r at the end of the rollout over bins of pi_old
(actions counted equally). Arms are added to the file as they finish; another configuration of a setting replaces it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.parameters import parameters_of
from entclip.engines.head.products import blocks
from entclip.engines.head.state import HeadState, block_of
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.findings.shared_parameters.schema import MASSES, read_study
from entclip.ledger.arm import ArmLedger
from entclip.ledger.columns import OPTIONAL_CAUSES, SUMMED
from entclip.ledger.entry import Entry
from entclip.runs.runner import directive_for
from entclip.support.files import to_json, write_atomic

__all__ = ["EDGES", "SETTINGS", "measure", "noise_law"]

EDGES = tuple(10.0**e for e in (-14, -12, -11, -10, -9, -8, -7, -6, -5, -4, -3, -2, -1, -0.5, 0.0))
_SMOLLM2 = {
    "sgd": ["replicas=24", "update.learning_rate=2e-3"],
    "adamw": ["replicas=8", "update.optimizer=adamw", "update.learning_rate=2.5e-4"],
}
SETTINGS = {
    "synthetic_sgd": [],
    "synthetic_adamw": ["update.optimizer=adamw", "update.learning_rate=0.04"],
    **{f"smollm2_{name}": overrides for name, overrides in _SMOLLM2.items()},
}


def noise_law(state: HeadState) -> dict[str, list[float | None]]:
    """Return the root mean square of log r over bins of pi_old, and the number of (replica, context, action) in each bin.

    log r is the logit's own move less that of log Z, which all actions of a context share: `own` is the former alone by bin, and
    `log_z` the rms of the latter over contexts.
    """
    edges = torch.tensor(EDGES, dtype=state.hidden.dtype, device=state.hidden.device).log()
    count, square, own = (torch.zeros(len(EDGES) + 1, dtype=torch.float64) for _ in range(3))
    shift = (state.log_z - state.old_log_z)[..., None]
    for rows in blocks(state.vocab, state.width):
        block = block_of(state, rows)
        place = torch.bucketize(block.old_log_probs.expand_as(block.log_ratio).contiguous(), edges).flatten().cpu()
        count += torch.bincount(place, minlength=len(count))
        for total, x in ((square, block.log_ratio.double()), (own, block.log_ratio.double() + shift)):
            total += torch.bincount(place, weights=(x**2).flatten().cpu(), minlength=len(count))
    n = count[1 : len(EDGES)].tolist()
    rms, alone = (
        [float(np.sqrt(s / k)) if k else None for s, k in zip(total[1 : len(EDGES)].tolist(), n, strict=True)]
        for total in (square, own)
    )
    return {"rms": rms, "own": alone, "log_z": [float((shift**2).mean().sqrt())], "count": n}


def measure(experiment: Experiment, dtype: str, arms: list[str] | None = None) -> Any:
    """Yield (arm, results) of one rollout per arm, per replica where a list."""
    engine, done = HeadEngine("cpu", dtype), dict[str, ArmLedger]()
    for arm in experiment.arm:
        if arms is not None and arm.name not in arms:
            continue
        books, state = ArmLedger("", arm.name, experiment), engine.start(experiment, arm.build())
        state, rollout = engine.roll_out(state)
        before, mass = engine.observe(state), np.zeros((8, experiment.replicas))
        for minibatch in rollout:
            origin = state
            state, entry = engine.step(state, rollout, minibatch, directive_for(arm, done, len(books.rows)))
            books.append(entry, origin)
            mass += _masses(entry, experiment.replicas)
        books.end_rollout(state, before, engine.observe(state))
        done[arm.name] = books
        summary = books.summary()
        kept = {
            k: summary[k] for k in ("kl", "pi_low", "pi_high", "clip_fraction_low", "clip_fraction_high", "ratio_max", "gap_low")
        }
        kept |= {k: summary[k] for k in ("gap_high", "entropy_start", "entropy_end")}
        kept |= {"log_ratio_rms_last": books.rows[-1]["log_ratio_rms"], "noise_law": noise_law(state)}
        kept["per_replica"] = {n: books.totals[n].tolist() for n in (*SUMMED, *OPTIONAL_CAUSES) if n in books.totals}
        kept["per_replica"] |= dict(zip(MASSES, mass.tolist(), strict=True))
        kept["per_replica"] |= {n: v.tolist() for n, v in books.totals.items() if n.startswith("expected_")}
        yield arm.name, kept


def _masses(entry: Entry, replicas: int) -> np.ndarray:
    """Return sums over contexts per replica of what gaps and clip fractions are ratios of, (8, R)."""
    return np.stack([(entry.weight * entry.columns[n]).reshape(replicas, -1).sum(1) for n in MASSES])


def _experiment(setting: str, hidden: str | None, contexts: int) -> Experiment:
    spec = load("shared_parameters", SETTINGS[setting])
    if setting.startswith("smollm2"):
        spec = parse_experiment(
            spec.model_dump(exclude_none=True) | {"policy": {"kind": "hidden", "path": hidden, "contexts": contexts}}
        )
    return spec


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setting", choices=sorted(SETTINGS))
    parser.add_argument("--hidden", help="a file of `entclip snapshot --hidden`, for the smollm2 settings")
    parser.add_argument("--contexts", type=int, default=64)
    parser.add_argument("--arms", nargs="*")
    parser.add_argument("--draw", type=Path, help="draw the figure of this data file")
    parser.add_argument("--tables", type=Path, help="print the tables of this data file")
    parser.add_argument("--out", type=Path, help="data file to add to, or figure to draw")
    args = parser.parse_args()
    if args.tables is not None:
        from entclip.findings.shared_parameters.tables import arm_table, noise_table

        data = read_study(args.tables, compared=True)
        for name, setting in data.items():
            if name != "edges":
                print(f"`{name}`:\n\n{arm_table(setting)}\n")
        print(noise_table(data))
        return
    if args.out is None or (args.draw is None and args.setting is None):
        parser.error("give --setting or --draw, with --out")
    if args.draw is not None:
        from entclip.findings.shared_parameters.figure import figure

        figure(read_study(args.draw, compared=True), args.out)
        return
    experiment = _experiment(args.setting, args.hidden, args.contexts)
    dtype = "float32" if args.setting.startswith("smollm2") else "float64"
    about = {"replicas": experiment.replicas, "contexts": len(parameters_of(experiment).hidden), "dtype": dtype}
    about["update"] = json.loads(experiment.update.model_dump_json())
    for name, kept in measure(experiment, dtype, args.arms):
        everything: dict[str, Any] = read_study(args.out) if args.out.exists() else {"edges": EDGES}
        before = everything.get(args.setting, {})
        arms = before["arms"] if before.get("about") == about else {}
        everything[args.setting] = {"about": about, "arms": arms | {name: kept}}
        write_atomic(args.out, (to_json(everything) + "\n").encode())


if __name__ == "__main__":
    _main()
