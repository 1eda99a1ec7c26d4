"""What findings keep of a run: data/findings/NAME.json, one file a run, from which the page is made; how a kept run was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from entclip.support.errors import DamagedFileError
from entclip.support.files import prepare_folder, write_atomic
from entclip.support.schema import Count, Part, absent, read_json

__all__ = ["read_data", "read_made", "write_data"]

_Text = Annotated[str, Field(min_length=1)]
_Columns = Annotated[dict[str, FiniteFloat], Field(min_length=1)]
_Seconds = Annotated[FiniteFloat, Field(ge=0)]


class _Made(Part):
    """How a run was made."""

    wall_s: _Seconds
    versions: dict[str, str]


class _Kept(Part):
    """The numbers of a run: by arm, or by policy where they are computed, the columns that findings ask for."""

    run: _Text
    mode: Literal["quick", "full"]
    command: _Text
    engine: _Text
    digest: _Text
    arms: Annotated[dict[str, _Columns], Field(min_length=1)]
    experiment: _Text = absent()
    dtype: _Text = absent()
    seed: Count = absent()
    rollouts: Count = absent()
    source: str = absent()
    wall_s: _Seconds = absent()
    versions: dict[str, str] = absent()


def write_data(data: dict[str, Any], out: Path) -> Path:
    """Write data/findings/NAME.json, one arm a line; NaN is refused."""
    lines = [f" {json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in data.items() if k != "arms"]
    arms = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in data["arms"].items())
    path = out / "data" / "findings" / f"{data['run']}.json"
    prepare_folder(path.parent)
    write_atomic(path, ("{\n" + ",\n".join([*lines, ' "arms": {\n' + arms + "\n }"]) + "\n}\n").encode())
    return path


def read_data(folder: Path) -> dict[str, dict[str, Any]]:
    """Read the kept data of a folder (docs or an output folder) by run.

    Raises: DamagedFileError for a file that is no such data, or is named as another run; StorageError if it cannot be read.
    """
    fix = "Delete it and make it again."
    found = {}
    for path in sorted((folder / "data" / "findings").glob("*.json")):
        value = read_json(path, _Kept, "data of a finding", fix)
        if value["run"] != path.stem:
            raise DamagedFileError(f"{path} is not data of a finding: its run is {value['run']}, not {path.stem}. {fix}")
        found[path.stem] = value
    return found


def read_made(path: Path) -> dict[str, Any]:
    """Read how a kept run was made: its time and versions.

    Raises: DamagedFileError for a file that does not say so; StorageError if it cannot be read.
    """
    value = read_json(path, _Made, "the record of a run", "Remove it to make that run again.")
    return {name: value[name] for name in _Made.model_fields}
