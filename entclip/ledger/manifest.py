"""The manifest of a run folder: which run it holds, and the files of that run with their checksums.

It is written last, by one rename: a folder holds a finished run if, and only if, its files are those that the manifest lists.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import open_file
from entclip.support.schema import checked_json

__all__ = ["MANIFEST", "RUN_FILES", "TABLES", "FileName", "Listed", "Manifest", "RunName", "open_listed", "read_manifest"]

FileName = Literal["experiment.toml", "ledger.parquet", "rollouts.parquet", "contexts.parquet", "summary.json"]
MANIFEST = "manifest.json"
TABLES: dict[str, FileName] = {"updates": "ledger.parquet", "rollouts": "rollouts.parquet", "contexts": "contexts.parquet"}
RUN_FILES: tuple[FileName, ...] = ("experiment.toml", *TABLES.values(), "summary.json")
_LARGEST = 2**22  # bytes of a manifest


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class RunName(NamedTuple):
    """What makes two runs the same: the experiment with the content of its input files, and what computes it."""

    digest: str
    engine: str
    dtype: str
    device: str

    def __str__(self) -> str:
        return f"digest {self.digest}, engine {self.engine}, {self.dtype} on {self.device}"


class Listed(_Part):
    """Size and checksum of a file."""

    size: Annotated[int, Field(ge=0)]  # bytes
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @classmethod
    def of(cls, data: bytes) -> Listed:
        """Return the entry of a file with this content."""
        return cls(size=len(data), sha256=hashlib.sha256(data).hexdigest())


class Manifest(_Part):
    """The record of a finished run.

    inputs: checksums of the files that the experiment reads. versions: of the packages behind the run. files: those of the run.
    """

    kind: Literal["entclip run"] = "entclip run"
    format: Literal[1] = 1
    experiment: str
    seed: int
    digest: str
    engine: str
    dtype: str
    device: str
    inputs: dict[str, str]
    versions: dict[str, str]
    git_commit: str
    files: dict[FileName, Listed]

    @property
    def name(self) -> RunName:
        """Return the run's name."""
        return RunName(self.digest, self.engine, self.dtype, self.device)

    def to_bytes(self) -> bytes:
        """Return the content of manifest.json."""
        return (json.dumps(self.model_dump(), indent=1) + "\n").encode()


def read_manifest(run: Path) -> Manifest:
    """Read the manifest of a finished run.

    Raises: SpecError if the folder holds no finished run; DamagedFileError if its manifest is damaged or of something else.
    """
    path = run / MANIFEST
    if not os.path.lexists(path):  # of a name too long for the system, too
        raise SpecError(_unfinished(run))
    with open_file(path, _REMOVE) as (file, _):
        data = file.read(_LARGEST)
    try:
        return Manifest(**checked_json(data, Manifest))
    except ValueError as error:
        raise DamagedFileError(f"{path} is not the manifest of a run: {str(error).rstrip('.')}. {_REMOVE}") from None


def _unfinished(run: Path) -> str:
    """Why a folder without a manifest is none of a finished run, and what to do."""
    if not os.path.isdir(run):
        return f"{run} does not exist or is no folder: it is not the folder of a finished run. {_MAKE.format(run)}"
    if any(run.glob(".checkpoint-*")):
        return (
            f"{run} is not the folder of a finished run, but of one that was interrupted or still goes on: the command that "
            "began it, given again, takes it up from its last whole rollout."
        )
    old = [name for name in RUN_FILES if os.path.lexists(run / name)]
    fix = f"It holds {old[0]} and no {MANIFEST}, as runs of entclip 0.1 do: run it again." if old else _MAKE.format(run)
    return f"{run} is not the folder of a finished run. {fix}"


@contextmanager
def open_listed(run: Path, manifest: Manifest, name: FileName) -> Iterator[BufferedReader]:
    """Open a file of a finished run for reading, once its content is known to be what the manifest lists.

    Raises: DamagedFileError if it is missing, altered, or of another run.
    """
    path, entry, fix = run / name, manifest.files.get(name), _AGAIN.format(run)
    if entry is None:
        raise DamagedFileError(f"{path} is not listed in {run / MANIFEST}: the run has no such file. {fix}")
    with open_file(path, fix) as (file, _):
        if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
            raise DamagedFileError(
                f"{path} is not the file that {MANIFEST} lists: truncated or damaged, or of another run. {fix}"
            )
        file.seek(0)
        yield file


_MAKE = "Make one with entclip run NAME --out {}."
_REMOVE = "Remove that file and run the experiment again, or choose another folder."
_AGAIN = "Run the experiment again with --out {}; if it was cut off while it was being saved, that takes a moment."
