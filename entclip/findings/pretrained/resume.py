"""Where a run of several rollouts stands: all that its training depends on, in one file that goes when the run is done."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from entclip.controllers.base import Memory
from entclip.engines.llm.replica import Replica
from entclip.findings.pretrained.records import Run
from entclip.support.errors import DamagedFileError
from entclip.support.files import open_file, write_atomic

__all__ = ["Standing"]

_DELETE = "Delete it to start this run again."


@dataclass(frozen=True)
class Standing:
    """The file of one run in the folder of its records; digest: of the experiment."""

    out: Path
    run: Run
    digest: str

    @property
    def path(self) -> Path:
        """Return where it is."""
        return self.out / f".standing-{self.run.name}.npz"

    def save(self, replica: Replica, rollout: int, memory: Memory) -> None:
        """Store the weights, the optimiser's state and a controller's memory; rollout: how many are done."""
        about = json.dumps({"digest": self.digest, "rollout": rollout, "memory": memory})
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"about": np.frombuffer(about.encode(), dtype=np.uint8), **replica.pack()}
        np.savez(buffer, **arrays)
        write_atomic(self.path, buffer.getvalue())

    def load(self, replica: Replica, most: int) -> tuple[int, Memory | None]:
        """Put a replica where the run stands; return how many rollouts are done and the controller's memory.

        Nothing is done (0, None) without a file, with one of another experiment, and with one that stands behind a rollout
        whose record is missing. most: rollouts whose records are there, up to the first that is missing.

        Raises: DamagedFileError for a file that cannot be read.
        """
        if not self.path.exists():
            return 0, None
        with open_file(self.path, _DELETE) as (file, _):
            try:
                with np.load(file, allow_pickle=False) as data:
                    about = json.loads(bytes(data["about"]))
                    if about["digest"] != self.digest or about["rollout"] > most:
                        return 0, None
                    replica.unpack({name: data[name] for name in data.files if name != "about"})
                    return about["rollout"], about["memory"]
            except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
                raise DamagedFileError(f"{self.path} is damaged ({error}). {_DELETE}") from None

    def clear(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
