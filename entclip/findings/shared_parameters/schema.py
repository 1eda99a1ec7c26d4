"""The schema of docs/data/shared_parameters.json: what every setting kept of its arms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, FiniteFloat, create_model, model_validator

from entclip.ledger.columns import OPTIONAL_CAUSES, PARTS, SUMMED
from entclip.support.schema import Count, Part, absent, read_json

__all__ = ["MASSES", "read_study"]

MASSES = tuple(f"{kind}_{side}" for kind in ("pi", "mass", "surprise", "clip_count") for side in ("low", "high"))
_Replicas = Annotated[list[FiniteFloat], Field(min_length=2)]
_SUMS: dict[str, Any] = dict.fromkeys((*SUMMED, *MASSES), (_Replicas, ...))
_SUMS |= {name: (_Replicas, absent()) for name in (*OPTIONAL_CAUSES, *(f"expected_{part}" for part in PARTS))}


class _Law(Part):
    rms: list[FiniteFloat | None]
    own: list[FiniteFloat | None]
    log_z: Annotated[list[FiniteFloat], Field(min_length=1)]
    count: list[FiniteFloat]


class _Arm(Part):
    noise_law: _Law
    clip_fraction_low: FiniteFloat
    clip_fraction_high: FiniteFloat
    per_replica: create_model("_Sums", __base__=Part, **_SUMS)  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _of_the_same_replicas(self) -> _Arm:
        if len({len(values) for values in self.per_replica.model_dump(exclude_unset=True).values()}) > 1:
            raise ValueError("its sums are not of the same replicas.")
        return self


class _About(Part):
    replicas: Count
    contexts: Count
    dtype: str
    update: dict[str, Any]


class _Setting(Part):
    about: _About
    arms: dict[str, _Arm]


class _Study(Part):
    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, _Setting]

    edges: Annotated[list[FiniteFloat], Field(min_length=2)]

    @model_validator(mode="after")
    def _of_the_same_bins(self) -> _Study:
        for name, setting in self.__pydantic_extra__.items():
            for arm, found in setting.arms.items():
                law = found.noise_law
                if any(len(values) != len(self.edges) - 1 for values in (law.rms, law.own, law.count)):
                    raise ValueError(f"{name}.arms.{arm}.noise_law has not one value for each bin between two edges.")
        return self


class _Compared(_Study):
    @model_validator(mode="after")
    def _beside_none(self) -> _Compared:
        if lacking := [name for name, setting in self.__pydantic_extra__.items() if "none" not in setting.arms]:
            raise ValueError(f"{lacking[0]} has no arm none, which the others are set beside.")
        return self


def read_study(path: Path, *, compared: bool = False) -> dict[str, Any]:
    """Read the data of docs/shared_parameters.md: the edges of the bins of pi_old, and the settings by name.

    compared: every setting must have the arm none, as tables and figure need it.

    Raises: DamagedFileError for a file that is no such data; StorageError if it cannot be read.
    """
    model, fix = _Compared if compared else _Study, "Restore it, or measure its settings again into another file."
    return read_json(path, model, "data of docs/shared_parameters.md", fix)
