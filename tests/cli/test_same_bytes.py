"""The same command writes the same bytes whatever the hash seed of the process, which orders sets, and raises no warning."""

from __future__ import annotations

import json
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
# One is excepted, which only make oldest meets: typer of that age imports names that the click of today deprecates.
WARNINGS = "error,ignore::DeprecationWarning:typer"
# One process runs all of them: most of what a command takes is what its process imports.
ONE_AFTER_THE_OTHER = """
import json, sys
from entclip.cli.app import main
for words in json.loads(sys.argv[1]):
    sys.argv = ["entclip", *words]
    try:
        main()
    except SystemExit as left:
        assert left.code == 0, (words, left.code)
"""


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder for each hash seed, with a folder for each command."""
    folders = []
    for seed in HASH_SEEDS:
        folder = tmp_path_factory.mktemp(f"seed-{seed}")
        calls = [[*words, "--quiet", "--out", str(folder / name)] for name, words in COMMANDS.items()]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": WARNINGS}
        command = [sys.executable, "-c", ONE_AFTER_THE_OTHER, json.dumps(calls)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert (done.returncode, done.stderr) == (0, ""), "a warning, a deprecation in another library included, is an error here"
        folders.append(folder)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_files_do_not_depend_on_the_order_of_sets(name: str, written: list[Path]) -> None:
    first, second = (files_of(folder / name) for folder in written)
    assert len(first) >= 2
    assert first.keys() == second.keys()
    assert [path for path in first if first[path] != second[path]] == []
