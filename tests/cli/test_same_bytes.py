"""The same command writes the same bytes whatever the hash seed of the process, which orders sets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = {
    "llm": [
        "llm",
        "--model",
        "untrained",
        "--replicas",
        "2",
        "--rollouts",
        "1",
        "--arm",
        "both",
        "--set",
        "update.minibatches=2",
        "--set",
        "rollout.probes=4",
        "--set",
        "ledger.every=1",
        "--set",
        "ledger.momentum=cause",
    ],
    "drift": ["drift", "--contexts", "2", "--vocab", "4", "--batch", "16", "--minibatches", "2", "--rollouts", "1"],
    "predict --noise": ["predict", "--noise", "flat:.2", "--set", "policy.contexts=2", "--set", "update.minibatches=2"],
}
HASH_SEEDS = ("1", "2")


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_files_do_not_depend_on_the_order_of_sets(name: str, tmp_path: Path) -> None:
    written = []
    for seed in HASH_SEEDS:
        command = [sys.executable, "-m", "entclip", *COMMANDS[name], "--out", str(tmp_path / seed)]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        written.append(files_of(tmp_path / seed))
    first, second = written
    assert len(first) >= 2
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []
