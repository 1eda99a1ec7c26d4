"""The schema of summary.json: the JSON object of a run."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, create_model

from entclip.ledger.columns import EXPECTED, OPTIONAL_CAUSES, PARTS, SUMMED, UNSPLIT
from entclip.support.schema import Count, checked_json

__all__ = ["parse_summary"]

_Number = FiniteFloat | Literal["inf", "-inf"] | None


class _Arm(BaseModel):
    """What every arm has besides its columns. Keys that are not listed hold a number or null."""

    model_config = ConfigDict(extra="allow", strict=True)
    __pydantic_extra__: dict[str, _Number]

    updates: Annotated[Count, Field(ge=1)]
    skipped: Count
    collapses: Count
    units: Annotated[Count, Field(ge=1)] | None = None  # an exact engine has none
    measured_median: FiniteFloat | None = None
    verdict: Literal["agree", "reject", "inconclusive"]


_REQUIRED = (
    *SUMMED,
    "entropy_start",
    "entropy_end",
    "pi_low",
    "pi_high",
    "kl",
    "clip_fraction_low",
    "clip_fraction_high",
    "ratio_max",
)
_NULLABLE = (
    *(f"{name}_se" for name in SUMMED),
    *EXPECTED,
    *(f"residual_{part}_se" for part in PARTS),
    *(f"z_{part}" for part in PARTS),
    "measured_cv",
    "measured_cv_se",
    "gap_low",
    "gap_high",
)
_FIELDS: dict[str, Any] = {
    **dict.fromkeys(_REQUIRED, (FiniteFloat, ...)),
    **dict.fromkeys(_NULLABLE, (_Number, ...)),
    **dict.fromkeys(UNSPLIT, (FiniteFloat | None, ...)),
    **dict.fromkeys(OPTIONAL_CAUSES, (FiniteFloat | None, None)),
    **{f"verdict_{part}": (Literal["agree", "reject", "inconclusive", "not tested"], ...) for part in PARTS},
}
_WholeArm = create_model("_WholeArm", __base__=_Arm, **_FIELDS)


class _Summary(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    experiment: str
    digest: str
    engine: str
    device: str
    dtype: str
    seed: int
    rollouts: Count
    arms: Annotated[dict[str, _WholeArm], Field(min_length=1)]


def parse_summary(data: bytes) -> dict[str, Any]:
    """Return the JSON object of a run from the bytes of its file.

    Raises: ValueError that says in a few words what is wrong with it.
    """
    return checked_json(data, _Summary)
