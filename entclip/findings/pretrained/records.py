"""Records of a measurement: one file for every rollout of every arm of a pair under each sign of the rewards."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from entclip.experiments.experiment import Experiment
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import open_file, to_json, write_atomic

__all__ = ["Key", "Record", "Run", "missing", "pairs_of", "read", "runs_of", "signs_of", "write"]

Record = dict[str, Any]


class Run(NamedTuple):
    """One trained copy of the model: an arm of a pair (of a single run where rewards have no mirror image) under one sign."""

    pair: int
    arm: str
    mirror: bool

    @property
    def name(self) -> str:
        """Return how files of the run are named."""
        return f"pair-{self.pair:02d}-{self.arm}-{'mirrored' if self.mirror else 'drawn'}"


class Key(NamedTuple):
    """What one record is of."""

    pair: int
    arm: str
    mirror: bool
    rollout: int = 0

    @property
    def run(self) -> Run:
        """Return the run that the rollout belongs to."""
        return Run(self.pair, self.arm, self.mirror)

    @property
    def file(self) -> str:
        """Return the name of the record's file."""
        later = f"-rollout-{self.rollout + 1:02d}" if self.rollout else ""
        return f"{self.run.name}{later}.json"


def pairs_of(experiment: Experiment) -> int:
    """Return the number of independent units: antithetic pairs, or replicas."""
    return experiment.replicas // 2 if experiment.antithetic else experiment.replicas


def signs_of(experiment: Experiment) -> tuple[bool, ...]:
    """Return the signs of the rewards that a unit has, as `mirror`."""
    return (False, True) if experiment.antithetic else (False,)


def runs_of(experiment: Experiment) -> list[Run]:
    """Return all runs in their order: unit by unit, within it sign by sign, then the arms as they are listed."""
    pairs, signs = range(pairs_of(experiment)), signs_of(experiment)
    return [Run(pair, arm.name, mirror) for pair in pairs for mirror in signs for arm in experiment.arm]


def missing(experiment: Experiment, found: Iterable[Key]) -> list[Key]:
    """Return what is left to do, in its order: run by run, within each rollout by rollout."""
    known = set(found)
    keys = [Key(*run, rollout) for run in runs_of(experiment) for rollout in range(experiment.update.rollouts)]
    return [key for key in keys if key not in known]


def read(out: Path, experiment: Experiment) -> dict[Key, Record]:
    """Return what is finished.

    Raises: DamagedFileError for a file that is no record; SpecError for one of another experiment.
    """
    found = {}
    for path in sorted(out.glob("pair-*.json")):
        with open_file(path, "Delete it to measure it again.") as (file, _):
            content = file.read()
        try:
            record = json.loads(content)
            record.setdefault("rollout", 0)  # records did not say it while all measurements had one
            key = Key(record["pair"], record["arm"], record["mirror"], record["rollout"])
            digest = record["digest"]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise DamagedFileError(f"{path} is no record of this measurement. Delete it to measure it again.") from None
        if digest != experiment.digest:
            raise SpecError(
                f"{path} is of the experiment {digest}, not of {experiment.digest} ({experiment.name}): choose another folder "
                "with --out."
            )
        found[key] = record
    return found


def write(out: Path, key: Key, record: Mapping[str, Any]) -> None:
    """Write one record, whole or not at all."""
    write_atomic(out / key.file, to_json(record).encode())
