"""Finished and interrupted runs that cases copy and damage; made once, by the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import entclip
from tests.robustness.sandbox import ROOT, Case, Sandbox, environment

BASE = """\
name = "base"
seed = 3
replicas = 2
[policy]
kind = "zipf"
vocab = 6
contexts = 3
[update]
batch = 8
minibatches = 2
rollouts = 2
[[arm]]
name = "none"
objective = "none"
[[arm]]
name = "both"
low = 0.2
high = 0.2
"""
LONG = BASE.replace("rollouts = 2", "rollouts = 25")
WIDE = BASE.replace("contexts = 3", "contexts = 40").replace("batch = 8", "batch = 64")
GRID = BASE + '[grid]\n"policy.exponent" = [0.5, 1.5]\n'
TINY_LLM = (
    "--model",
    "untrained",
    "--arm",
    "both",
    "--rollouts",
    "2",
    "--replicas",
    "2",
    "--set",
    "update.minibatches=2",
    "--every",
    "1",
)
RUNS: dict[str, tuple[str, ...]] = {
    "plain": ("run", "base.toml"),
    "other": ("run", "base.toml", "--set", "seed=7"),
    "contexts": ("run", "base.toml", "--set", 'ledger.detail="context"'),
    "reduced": ("run", "base.toml", "--engine", "reduced"),
    "gridded": ("run", "grid.toml"),
}
FILES = (
    ("base.toml", "text", {"value": BASE}),
    ("grid.toml", "text", {"value": GRID}),
    ("long.toml", "text", {"value": LONG}),
    ("wide.toml", "text", {"value": WIDE}),
)


def make_templates(sandbox: Sandbox) -> None:
    """Run folders named in `RUNS`, the interrupted run `unfinished`, the shipped snapshot `snapshot.npz`, and experiments."""
    target = sandbox.templates
    target.mkdir(parents=True)
    for name, argv in RUNS.items():
        outcome, folder = sandbox.run(Case("template", (*argv, "--out", "run"), FILES), f"template-{name}")
        assert outcome.code == 0, (name, outcome.err)
        os.rename(folder / "work" / "run", target / name)
        sandbox.forget(folder)
    for name, _, arguments in FILES:
        (target / name).write_text(arguments["value"])
    interrupted(target / "long.toml", target / "unfinished")
    shipped = next(Path(entclip.__file__).parent.rglob("smollm2-135m.npz"))
    (target / "snapshot.npz").write_bytes(shipped.read_bytes())


def checkpoints(folder: Path) -> list[Path]:
    """Files of a run that can be resumed."""
    return [p for p in folder.rglob("*") if "checkpoint" in str(p.relative_to(folder)) and p.is_file() and p.suffix != ".tmp"]


def interrupted(experiment: Path, out: Path, *options: str) -> None:
    """A run killed by SIGKILL once it has a checkpoint."""
    words = [sys.executable, "-m", "entclip", "run", str(experiment), "--out", str(out), "--json", *options]
    process = subprocess.Popen(words, cwd=ROOT, env=environment({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not checkpoints(out):
            assert process.poll() is None, f"{words} ended before its first checkpoint"
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    for half in out.rglob("*.tmp"):
        half.unlink()  # what the killed process was writing; a case asks what its own command leaves
