"""JSON files that must fit a pydantic model."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from entclip.support.errors import DamagedFileError
from entclip.support.files import open_file
from entclip.support.rewording import reworded, shown

__all__ = ["Count", "Part", "absent", "checked_json", "read_json"]

Count = Annotated[int, Field(ge=0, lt=2**53)]  # a whole number that other readers of JSON take as it is


def absent() -> Any:
    """Return the default of a key that may be left out, but is no null: a new one for each key, since pydantic 2.10 keeps a key's
    limits in it."""
    return Field(default=None)


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


def read_json(path: Path, model: type[BaseModel], words: str, fix: str) -> dict[str, Any]:
    """Return the value of a JSON file that fits the model.

    Args:
        words: what the file is to be, after "is not".
        fix: a sentence that says what to do with one that is something else.
    Raises: DamagedFileError for a file that does not fit, StorageError for one that cannot be read.
    """
    with open_file(path, fix) as (file, _):
        content = file.read()
    try:
        return checked_json(content, model)
    except ValueError as error:
        raise DamagedFileError(f"{path} is not {words}: {str(error).rstrip('.')}. {fix}") from None


@cache
def _json_schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()
