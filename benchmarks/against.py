"""python -m benchmarks.against COMMIT: CPU time of a small run on every engine, here and at an earlier commit, as a ratio.

Each engine's run is repeated in processes that take turns (then, now, now, then, ...), so that what slows the machine slows both;
the best of all repetitions stands for a version, and the ratios of neighbours show how much the machine let that scatter.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from io import BytesIO
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_HEADLINE = ["policy.contexts=64", "policy.vocab=64", "update.rollouts=1", "update.minibatches=8"]
_MODEL = ["policy.model=untrained", "replicas=2", "antithetic=false", "update.rollouts=1", "ledger.momentum=line"]
# Engine: experiment and overrides, each some seconds.
RUNS = {
    "sampled": ("headline", [*_HEADLINE, "update.batch=512"]),
    "exact": ("headline", ["policy.vocab=3", "policy.contexts=4", "update.batch=2", "update.minibatches=3", "update.rollouts=1"]),
    "reduced": ("headline", _HEADLINE),
    "tokens": ("headline", [*_HEADLINE, "policy.contexts=32"]),
    "head": ("shared_parameters", ["update.rollouts=1", "update.minibatches=4", "policy.contexts=16"]),
    "llm": ("llm_headline", _MODEL),
}
# Run in a process of its own, from the tree of one version: CPU seconds of each repetition after a first that compiles and loads.
_TIMED = """
import sys, time
from entclip import load, run
engine, name, repeats, *overrides = sys.argv[1:]
experiment = load(name, overrides)
for k in range(int(repeats) + 1):
    began = time.process_time()
    run(experiment, engine=engine)
    if k:
        print(time.process_time() - began)
"""


def seconds(tree: Path, engine: str, repeats: int) -> list[float]:
    """CPU seconds of some repetitions of an engine's run with the package of that tree."""
    name, overrides = RUNS[engine]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
    command = [sys.executable, "-W", "ignore", "-c", _TIMED, engine, name, str(repeats), *overrides]
    environment = os.environ | threads | {"PYTHONPATH": str(tree)}
    done = subprocess.run(command, env=environment, cwd=tree, stdout=subprocess.PIPE, text=True, check=True)
    return [float(line) for line in done.stdout.split()]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.against", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("commit", help="the version to compare with")
    parser.add_argument("--engines", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--turns", type=int, default=4, help="processes of each version")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs in a process")
    options = parser.parse_args()
    packed = subprocess.run(["git", "archive", options.commit, "entclip"], cwd=ROOT, capture_output=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(fileobj=BytesIO(packed)) as archive:
            archive.extractall(folder, filter="data")
        then = Path(folder)
        print(f"{'engine':10}{'then s':>10}{'now s':>10}{'ratio':>8}   ratios of neighbours")
        for engine in options.engines:
            found: dict[Path, list[float]] = {then: [], ROOT: []}
            ratios = []
            for turn in range(options.turns):
                pair = {}
                for tree in (then, ROOT) if turn % 2 == 0 else (ROOT, then):
                    pair[tree] = seconds(tree, engine, options.repeats)
                    found[tree] += pair[tree]
                ratios.append(min(pair[ROOT]) / min(pair[then]))
            best = {tree: min(values) for tree, values in found.items()}
            spread = f"{min(ratios):.3f} to {max(ratios):.3f}, median {statistics.median(ratios):.3f}"
            print(f"{engine:10}{best[then]:10.3f}{best[ROOT]:10.3f}{best[ROOT] / best[then]:8.3f}   {spread}", flush=True)


if __name__ == "__main__":
    main()
