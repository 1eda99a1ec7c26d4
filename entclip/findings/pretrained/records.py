"""Records of a measurement: one file for every rollout of every arm of a pair under each sign of the rewards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, FiniteFloat, create_model, model_validator

from entclip.experiments.experiment import Experiment
from entclip.findings.pretrained.kin import accounted
from entclip.ledger.columns import OPTIONAL_CAUSES, SUMMED
from entclip.support.errors import SpecError
from entclip.support.files import to_json, write_atomic
from entclip.support.schema import Count, Part, read_json

__all__ = ["Key", "Machine", "Record", "Run", "missing", "pairs_of", "read", "refuse_others", "runs_of", "signs_of", "write"]

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


class Machine(NamedTuple):
    """What a record was measured on: a device and a dtype of the llm engine."""

    device: str = "cpu"
    dtype: str = "float32"

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Machine:
        """Return that of a record; the first ones do not say it, and were measured in float32 on a CPU."""
        return cls(*(record.get(name, cls._field_defaults[name]) for name in cls._fields))


_Tokens = Annotated[FiniteFloat, Field(ge=0)]


class _Step(Part):
    count_plus: _Tokens
    count_minus: _Tokens
    clip_count_low: _Tokens
    clip_count_high: _Tokens


class _Record(Part):
    pair: Count
    arm: str
    mirror: bool
    rollout: Count = 0  # records did not say it while all measurements had one
    digest: str
    seconds: FiniteFloat
    device: str = Machine().device
    dtype: str = Machine().dtype
    entropy_before: FiniteFloat
    entropy: FiniteFloat
    measured: FiniteFloat
    last: dict[str, FiniteFloat]
    steps: Annotated[list[_Step], Field(min_length=1)]


_BOOKS: dict[str, Any] = dict.fromkeys((*SUMMED, "mass_low", "mass_high", "pi_low", "pi_high", "identity"), (FiniteFloat, ...))
_BOOKS |= dict.fromkeys(OPTIONAL_CAUSES, (FiniteFloat, Field(default=None)))
_AccountedStep = create_model("_AccountedStep", __base__=_Step, **_BOOKS)


class _Bin(Part):
    prob: Annotated[FiniteFloat, Field(gt=0)]
    rms: FiniteFloat


class _AccountedRecord(_Record):
    steps: Annotated[list[_AccountedStep], Field(min_length=1)]  # type: ignore[assignment]
    noise: list[_Bin]

    @model_validator(mode="after")
    def _of_the_same_causes(self) -> _AccountedRecord:
        if len({frozenset(step.model_fields_set) for step in self.steps}) > 1:
            raise ValueError("its steps have not the same causes.")
        return self


def refuse_others(records: Iterable[Mapping[str, Any]], machine: Machine) -> None:
    """Raise SpecError for records, of pairs that lack some, of another machine than this.

    Devices draw different random numbers: the arms of an antithetic pair that was begun on one and ended on the other would not
    share their rollout, and their difference would hold the walk that such pairs are made to cancel. Single runs cancel no walk.
    """
    for record in records:
        if (other := Machine.of(record)) != machine:
            raise SpecError(
                f"a pair was begun on {' in '.join(other)}; this is {' in '.join(machine)}, which draws other responses: "
                "finish it with the same --device and --dtype, delete its records, or choose another folder with --out."
            )


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
    found, model = {}, _AccountedRecord if accounted(experiment.name) else _Record
    digest = experiment.digest
    for path in sorted(out.glob("pair-*.json")):
        record = {"rollout": 0} | read_json(path, model, "a record of this measurement", "Delete it to measure it again.")
        if record["digest"] != digest:
            raise SpecError(
                f"{path} is of the experiment {record['digest']}, not of {digest} ({experiment.name}): choose another folder "
                "with --out."
            )
        found[Key(record["pair"], record["arm"], record["mirror"], record["rollout"])] = record
    return found


def write(out: Path, key: Key, record: Mapping[str, Any]) -> None:
    """Write one record, whole or not at all."""
    write_atomic(out / key.file, to_json(record).encode())
