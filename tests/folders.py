"""Run folders for tests: a small finished run, and one whose files were changed by somebody who rewrote the manifest, too."""

from __future__ import annotations

from pathlib import Path

from entclip import load, run
from entclip.experiments.experiment import Experiment
from entclip.ledger.manifest import MANIFEST, RUN_FILES, Listed, read_manifest

__all__ = ["relist", "small", "write_run"]

_SIZE = ("policy.vocab=4", "policy.contexts=3", "update.batch=16", "update.minibatches=3", "update.rollouts=2")


def small(*overrides: str) -> Experiment:
    """Two arms of the headline on 4 actions, 2 rollouts of 3 updates."""
    experiment = load("headline", [*_SIZE, *overrides])
    return experiment.model_copy(update={"arm": experiment.arm[:2]})


def write_run(folder: Path, *overrides: str, engine: str = "sampled") -> Path:
    """A finished run of `small` in a folder."""
    run(small(*overrides), engine, out=folder)
    return folder


def relist(folder: Path) -> None:
    """Make the manifest list the run's files as they are now."""
    there = {name: Listed.of((folder / name).read_bytes()) for name in RUN_FILES if (folder / name).is_file()}
    manifest = read_manifest(folder).model_copy(update={"files": there})
    (folder / MANIFEST).write_bytes(manifest.to_bytes())
