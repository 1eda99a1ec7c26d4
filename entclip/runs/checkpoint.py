"""Checkpoints: one file per arm after each whole rollout, so that an interrupted run resumes."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from entclip.engines.base import Engine, State
from entclip.experiments.experiment import Experiment
from entclip.ledger.arm import ArmLedger
from entclip.support.errors import SpecError
from entclip.support.files import prepare_folder, write_atomic

__all__ = ["Checkpoint"]
S = TypeVar("S", bound=State)


class Checkpoint:
    """One file per arm after each whole rollout, in a folder named by digest and engine inside the run folder."""

    def __init__(self, out: Path, experiment: Experiment, engine: Engine[Any, Any], device: str, dtype: str) -> None:
        prepare_folder(out)
        self.engine = engine
        self.folder = out / f".checkpoint-{experiment.digest}-{engine.name}-{dtype}-{device}"
        self.folder.mkdir(exist_ok=True)

    def _path(self, books: ArmLedger) -> Path:
        # Case labels hold characters that file systems refuse; their position in the digest-named folder is what matters.
        safe = "".join(ch if ch.isalnum() or ch in "._-" else "_" for ch in f"{books.case}-{books.arm}")
        return self.folder / f"{safe}.npz"

    def save(self, books: ArmLedger, state: State) -> None:
        """Store the books and the engine's arrays."""
        record = {
            "rollout": state.rollout, "rows": books.rows, "details": books.details, "summaries": books.summaries,
            "entropy_start": books.entropy_start, "entropy_end": books.entropy_end, "expected": books._entropy_expected,
            "case": books.case, "arm": books.arm, "totals": sorted(books.totals), "skipped": books.skipped,
            "drawn": books.drawn,
        }  # fmt: skip
        arrays: dict[str, Any] = {f"total_{k}": v for k, v in books.totals.items()}
        arrays |= {f"state_{k}": v for k, v in self.engine.pack(state).items()}
        buffer = io.BytesIO()
        np.savez(buffer, record=np.frombuffer(json.dumps(record).encode(), dtype=np.uint8), **arrays)
        write_atomic(self._path(books), buffer.getvalue())

    def load(self, books: ArmLedger, state: S) -> S:
        """The state after the last whole rollout, or `state`; a damaged file is reported, never silently used."""
        path = self._path(books)
        if not path.exists():
            return state
        try:
            with np.load(path, allow_pickle=False) as data:
                record = json.loads(bytes(data["record"]))
                if (record["case"], record["arm"]) != (books.case, books.arm):
                    return state
                books.totals = {k: data[f"total_{k}"] for k in record["totals"]}
                stored = {k.removeprefix("state_"): data[k] for k in data.files if k.startswith("state_")}
                new: S = self.engine.unpack(state, stored)
                books.skipped, books.drawn = record["skipped"], record["drawn"]
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise SpecError(f"the checkpoint {path} is damaged ({error}): delete it to start this arm again.") from None
        new.rollout = record["rollout"]
        books.rows, books.details, books.summaries = record["rows"], record["details"], record["summaries"]
        books.entropy_start, books.entropy_end, books._entropy_expected = (
            record["entropy_start"],
            record["entropy_end"],
            record["expected"],
        )
        return new

    def clear(self) -> None:
        """The run is whole: its ledger replaces the checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)
