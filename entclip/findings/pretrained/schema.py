"""The schemas of the files behind docs/pretrained.md: its data, and what `beside` found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat, create_model, model_validator

from entclip.findings.pretrained.kin import accounted, experiment_named, names
from entclip.ledger.columns import OPTIONAL_CAUSES, SUMMED
from entclip.support.schema import Count, Part, absent, read_json

__all__ = ["read_beside", "read_published"]

_Share = Annotated[FiniteFloat, Field(ge=0, le=1)]
_Positive = Annotated[FiniteFloat, Field(gt=0)]
_Two = Annotated[list[Count], Field(min_length=2, max_length=2)]


class _Contrast(Part):
    mean: FiniteFloat
    pairs: Count
    values: Annotated[list[FiniteFloat], Field(min_length=1)]
    se: FiniteFloat | None
    half_99: FiniteFloat | None
    verdict: Literal["raises", "lowers", "undecided"]
    pairs_needed: Count | None


class _Last(Part):
    log_ratio_rms: FiniteFloat
    low: _Share = Field(alias="low_0.2")
    high: _Share = Field(alias="high_0.2")


class _Arm(Part):
    measured: _Contrast
    minus_none: _Contrast | None
    tokens: Annotated[FiniteFloat, Field(ge=0)]
    clip_fraction_low: _Share
    clip_fraction_high: _Share
    last: _Last
    entropy_before: FiniteFloat

    def by_pair(self) -> Iterator[list[float]]:
        """Return what has a value for every pair."""
        yield from (found.values for found in (self.measured, self.minus_none) if found is not None)

    def parts_given(self) -> frozenset[str]:
        """Return the names of the parts of the change."""
        return frozenset()


class _Score(Part):
    last: _Contrast
    minus_none: _Contrast | None


class _ByRollout(Part):
    entropy: Annotated[list[FiniteFloat], Field(min_length=1)]
    pass_at_1: Annotated[list[_Share], Field(min_length=1)]
    pass_at_8: Annotated[list[_Share], Field(min_length=1)]


class _Beyond(Part):
    mean: FiniteFloat
    half_99: FiniteFloat | None


class _BeyondByRollout(Part):
    entropy: list[_Beyond | None]
    pass_at_1: list[_Beyond | None]
    pass_at_8: list[_Beyond | None]


class _ScoredArm(_Arm):
    runs: Annotated[list[Count], Field(min_length=1)]
    pass_at_1: _Score
    pass_at_8: _Score
    by_rollout: _ByRollout
    minus_none_by_rollout: _BeyondByRollout

    @model_validator(mode="after")
    def _of_all_its_runs(self) -> _ScoredArm:
        own = (self.measured, self.pass_at_1.last, self.pass_at_8.last)
        beyond = (self.minus_none, self.pass_at_1.minus_none, self.pass_at_8.minus_none)
        if any(len(found.values) != len(self.runs) for found in own):
            raise ValueError(f"it has not one value for each of its {len(self.runs)} runs.")
        of, minus = self.by_rollout, self.minus_none_by_rollout
        series = (of.entropy, of.pass_at_1, of.pass_at_8, minus.entropy, minus.pass_at_1, minus.pass_at_8)
        if len({len(one) for one in series}) > 1:
            raise ValueError("its scores are not of the same rollouts.")
        if len({0 if found is None else len(found.values) for found in beyond}) > 1:
            raise ValueError("its differences from no clipping are not of the same runs.")
        return self


class _Update(Part):
    first: FiniteFloat
    curvature: FiniteFloat
    measured: FiniteFloat


class _Noise(Part):
    prob: _Positive
    rms: FiniteFloat
    least: FiniteFloat
    most: FiniteFloat


_SUMS: dict[str, Any] = {name: (FiniteFloat, ...) for name in SUMMED if name != "measured"}
_SUMS |= {name: (FiniteFloat, absent()) for name in OPTIONAL_CAUSES}
_Sums = create_model("_Sums", __base__=Part, **_SUMS)
_LISTS: dict[str, Any] = {n: (list[FiniteFloat], absent() if n in OPTIONAL_CAUSES else ...) for n in _SUMS}
_ByPair = create_model("_ByPair", __base__=Part, **_LISTS)


class _AccountedArm(_Arm):
    parts: _Sums
    parts_by_pair: _ByPair
    gap_low: FiniteFloat | None
    gap_high: FiniteFloat | None
    negative_low: _Two
    negative_high: _Two
    updates: Annotated[list[_Update], Field(min_length=1)]
    identity: FiniteFloat
    noise: list[_Noise]

    def by_pair(self) -> Iterator[list[float]]:
        yield from super().by_pair()
        yield from self.parts_by_pair.model_dump(exclude_unset=True).values()

    def parts_given(self) -> frozenset[str]:
        return frozenset(self.parts.model_fields_set)


class _Predicted(Part):
    clip_low: FiniteFloat
    clip_high: FiniteFloat
    clip_fraction_low: _Share
    clip_fraction_high: _Share


class _Simulated(_Predicted):
    clip_low_se: FiniteFloat
    clip_high_se: FiniteFloat
    measured: FiniteFloat
    measured_se: FiniteFloat
    units: Annotated[Count, Field(ge=2)]


class _Law(Part):
    arms: dict[str, _Predicted]


class _Simulator(Part):
    arms: dict[str, _Simulated]


class _Beside(Part):
    table: _Simulator
    head: _Simulator
    law: _Law = absent()

    @model_validator(mode="after")
    def _of_the_same_arms(self) -> _Beside:
        if len({tuple(sorted(getattr(self, name).arms)) for name in self.model_fields_set}) > 1:
            raise ValueError("its simulators have not the same arms.")
        return self


class _Found(Part):
    """What `decide` says of an experiment over what is finished of it."""

    experiment: str
    digest: str
    machines: list[str]
    pairs: list[Count]
    planned: Count
    arms: dict[str, _Arm]


class _Judged(_Found):
    """Of single runs under a judged reward, whose arms may have different numbers of them."""

    @model_validator(mode="after")
    def _of_its_arms(self) -> _Judged:
        if unknown := self.arms.keys() - set(_arms_of(self.experiment)):
            raise ValueError(f"{self.experiment} has no arm {', '.join(sorted(unknown))}.")
        return self


class _Decided(_Found):
    """Of antithetic pairs, the same for every arm."""

    @model_validator(mode="after")
    def _of_all_arms_and_pairs(self) -> _Decided:
        of = _arms_of(self.experiment) if self.pairs else []
        if self.arms.keys() != set(of):
            raise ValueError(
                f"the arms of {self.experiment} are to be {', '.join(of) or 'none'}, not {', '.join(self.arms) or 'none'}."
            )
        for name, arm in self.arms.items():
            if any(len(values) != len(self.pairs) for values in arm.by_pair()):
                raise ValueError(f"{self.experiment}.arms.{name} has not one value for each of its {len(self.pairs)} pairs.")
        if len({arm.parts_given() for arm in self.arms.values()}) > 1:
            raise ValueError(f"the arms of {self.experiment} have not the same parts.")
        return self


@cache
def _arms_of(name: str) -> list[str]:
    return [arm.name for arm in experiment_named(name).arm]


def _decided(name: str) -> Any:
    """Return the schema of the experiment of that name: its arms hold parts where updates are accounted, scores under a judge."""
    judged = experiment_named(name).rollout_rules.reward != "random"
    arm: Any = _AccountedArm if accounted(name) else _ScoredArm if judged else _Arm
    fields: dict[str, Any] = {"experiment": (Literal[name], ...), "arms": (dict[str, arm], ...)}
    found: Any = create_model("_Decided", __base__=_Judged if judged else _Decided, **fields)
    if judged:  # the same of the rollouts that all runs have reached, where some have gone further
        return create_model("_Decided", __base__=found, early=(found, absent()))
    return found


@cache
def _published() -> type[BaseModel]:
    """Return the schema of the whole file."""
    decided: dict[str, Any] = {name: (_decided(name), absent()) for name in names()}
    return create_model("_Published", __base__=Part, **decided, beside=(_Beside, absent()))


def read_published(path: Path) -> dict[str, Any]:
    """Return the data of docs/pretrained.md: by experiment what `decide` says of it, and what `beside` found.

    Raises: DamagedFileError for a file that is no such data, or not of these experiments; StorageError if it cannot be read.
    """
    fix = "Restore it, or delete it and make it again with --records."
    return read_json(path, _published(), "data of docs/pretrained.md", fix)


def read_beside(path: Path) -> dict[str, Any]:
    """Return what the simulators beside the pretrained model had, as `beside` wrote it.

    Raises: DamagedFileError for a file that it did not write so; StorageError if it cannot be read.
    """
    return read_json(path, _Beside, "what the simulators had", "Delete it and run entclip.findings.pretrained.beside again.")
