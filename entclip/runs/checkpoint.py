"""Checkpoints: one file per arm after each whole rollout, so that an interrupted run resumes."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from entclip.engines.base import Engine, State
from entclip.ledger.arm import ArmLedger
from entclip.ledger.manifest import RunName
from entclip.support.errors import DamagedFileError
from entclip.support.files import open_file, prepare_folder, write_atomic

__all__ = ["Checkpoints"]
S = TypeVar("S", bound=State)

_FORMAT = 1
_DIGITS = 64  # of a SHA-256
_DELETE = "Delete it to start this arm again."


class Checkpoints:
    """The checkpoints of one run, in a folder of their own inside the run folder, named by the run's name.

    Each says of which run it is and which versions of which packages it was made with: states of different versions, of numba or
    none, are not continued by one another bit for bit.
    """

    def __init__(self, out: Path, name: RunName, versions: Mapping[str, str]) -> None:
        self.name, self.versions = name, dict(versions)
        self.folder = out / f".checkpoint-{'-'.join(name)}"

    def open(self) -> None:
        """Make the folder, and check what is in it before any work is done.

        Raises: DamagedFileError for a file that is damaged, of another run, or of other versions; StorageError for one that
        cannot be read; SpecError if the folder cannot be written.
        """
        prepare_folder(self.folder)
        for path in sorted(self.folder.glob("*.npz")):
            self._record(path, self._content(path))

    def _path(self, books: ArmLedger) -> Path:
        # Labels of cases hold characters that file systems refuse, and can be long; two of them can look alike without those.
        safe = "".join(ch if ch.isalnum() or ch in "._-" else "_" for ch in f"{books.case}-{books.arm}")[:60]
        exact = hashlib.sha256(json.dumps([books.case, books.arm]).encode()).hexdigest()[:12]
        return self.folder / f"{safe}-{exact}.npz"

    def save(self, engine: Engine[Any, Any], books: ArmLedger, state: State) -> None:
        """Store the books and the engine's arrays."""
        record = {
            "format": _FORMAT,
            "run": self.name._asdict(),
            "versions": self.versions,
            "case": books.case,
            "arm": books.arm,
            "rollout": state.rollout,
            "rows": books.rows,
            "details": books.details,
            "summaries": books.summaries,
            "entropy_start": books.entropy_start,
            "entropy_end": books.entropy_end,
            "expected": books._entropy_expected,
            "totals": sorted(books.totals),
            "skipped": books.skipped,
            "drawn": books.drawn,
            "memory": books.memory,
        }
        arrays: dict[str, Any] = {f"total_{k}": v for k, v in books.totals.items()}
        arrays |= {f"state_{k}": v for k, v in engine.pack(state).items()}
        buffer = io.BytesIO()
        np.savez(buffer, record=np.frombuffer(json.dumps(record).encode(), dtype=np.uint8), **arrays)
        write_atomic(self._path(books), _signed(buffer.getvalue()))

    def load(self, engine: Engine[S, Any], books: ArmLedger, state: S) -> S:
        """Return the state after the last whole rollout, or `state` if there is none. Raises as `open` does."""
        path = self._path(books)
        if not path.exists():
            return state
        content = self._content(path)
        record = self._record(path, content)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as data:
                books.totals = {k: data[f"total_{k}"] for k in record["totals"]}
                stored = {k.removeprefix("state_"): data[k] for k in data.files if k.startswith("state_")}
            new = engine.unpack(state, stored)
            new.rollout = record["rollout"]
            books.rows, books.details, books.summaries = record["rows"], record["details"], record["summaries"]
            books.entropy_start, books.entropy_end = record["entropy_start"], record["entropy_end"]
            books._entropy_expected, books.skipped, books.drawn = record["expected"], record["skipped"], record["drawn"]
            books.memory = record["memory"]
        except (ValueError, KeyError) as error:
            raise DamagedFileError(f"the checkpoint {path} does not fit this entclip ({error}). {_DELETE}") from None
        return new

    def _content(self, path: Path) -> bytes:
        """The bytes of a checkpoint, once they are known to be those that were written."""
        with open_file(path, _DELETE) as (file, _):
            content = file.read()
        if not _is_whole(content):
            raise DamagedFileError(f"the checkpoint {path} is damaged (its checksum is wrong). {_DELETE}")
        return content

    def _record(self, path: Path, content: bytes) -> dict[str, Any]:
        """What a whole checkpoint says of itself; DamagedFileError if it is not of this run, or of other versions."""
        with np.load(io.BytesIO(content), allow_pickle=False) as data:
            record: dict[str, Any] = json.loads(bytes(data["record"]))
        run = RunName(**record["run"])
        if run != self.name:
            raise DamagedFileError(f"the checkpoint {path} is of another run ({run}), not of this one ({self.name}). {_DELETE}")
        if differ := [name for name, there in record["versions"].items() if self.versions.get(name) != there]:
            was, now = (
                ", ".join(f"{name} {versions.get(name)}" for name in differ) for versions in (record["versions"], self.versions)
            )
            raise DamagedFileError(
                f"the checkpoint {path} was made with {was}, but here is {now}: a resumed run would be like neither. Go on with "
                f"those versions, or delete the folder {self.folder} to start again."
            )
        return record

    def clear(self) -> None:
        """Remove what is left: the run is whole, its ledger replaces the checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _signed(archive: bytes) -> bytes:
    """A zip archive with the SHA-256 of all its other bytes as its comment, the last 64 characters of the file."""
    body = archive[:-2] + _DIGITS.to_bytes(2, "little")  # the length of the comment ends an archive that has none
    return body + hashlib.sha256(body).hexdigest().encode()


def _is_whole(content: bytes) -> bool:
    return hashlib.sha256(content[:-_DIGITS]).hexdigest().encode() == content[-_DIGITS:]
