"""JSON files that must fit a pydantic model."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from entclip.support.rewording import reworded, shown

__all__ = ["Count", "Part", "checked_json"]

Count = Annotated[int, Field(ge=0, lt=2**53)]  # a whole number that other readers of JSON take as it is


class Part(BaseModel):
    """A table of such a file: a number in a text is none."""

    model_config = ConfigDict(strict=True)


def checked_json(data: bytes, model: type[BaseModel]) -> dict[str, Any]:
    """Return the value of a JSON file that fits the model.

    Raises: ValueError that says in one line what the first thing is that does not fit.
    """
    value = from_json(data, allow_inf_nan=False)
    if not isinstance(value, dict):
        raise ValueError(f"it is {shown(value)}, not a table of keys.")
    try:
        model.model_validate(value)
    except ValidationError as error:
        raise ValueError(reworded(error, _json_schema(model), value).split("\n")[0]) from None
    return value


@cache
def _json_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()
