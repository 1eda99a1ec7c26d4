"""Readers of a saved run: its tables, its summary, its experiment. What they return is one run's, whole and checked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.manifest import MANIFEST, TABLES, FileName, Manifest, open_listed, read_manifest
from entclip.ledger.schema import fault_of_rows, fault_of_types
from entclip.ledger.summary import parse_summary
from entclip.support.bounded import parse_toml
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.files import open_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SavedRun", "fault_of_size", "open_run", "read_frame", "read_ledger", "read_summary"]
T = TypeVar("T")

_AGAIN = "Run the experiment again."
_DENSEST = 200  # bytes in memory for one in the file, at the most: rows hold many numbers that do not repeat
_SMALL = 2**28  # bytes in memory that need no such proof


@dataclass(frozen=True)
class SavedRun:
    """A finished run in its folder. Each file is checked against the manifest when it is read.

    Raises (all methods): DamagedFileError if a file is missing, altered, of another run, or does not hold what it should.
    """

    folder: Path
    manifest: Manifest

    def frame(self, kind: str = "updates") -> pd.DataFrame:
        """Read a table: "updates", "rollouts" or "contexts", as `Ledger.to_frame` makes them."""
        if kind not in TABLES:
            raise ValueError(f"kind must be one of {sorted(TABLES)}, got {kind!r}.")
        path = self.folder / TABLES[kind]
        with open_listed(self.folder, self.manifest, TABLES[kind]) as file:
            frame = _table(path, file, kind)
        if kind == "updates":
            rows = Counter(f"{case}/{arm}" if case else arm for case, arm in zip(frame["case"], frame["arm"], strict=True))
            if rows != (updates := {name: arm["updates"] for name, arm in self.summary()["arms"].items()}):
                name = next(name for name in {**updates, **rows} if rows.get(name) != updates.get(name))
                there = f"{rows[name]} updates of arm {name}, and summary.json {updates.get(name, 0)}"
                raise DamagedFileError(f"{path} has {there}: they are not of one run. {_AGAIN}")
        return frame

    def summary(self) -> dict[str, Any]:
        """Return the JSON object of the run."""
        value = self._parsed("summary.json", parse_summary)
        if any(value[key] != there for key, there in self.manifest if key in value):
            raise DamagedFileError(f"{self.folder / 'summary.json'} is not of the run that {MANIFEST} names. {_AGAIN}")
        return value

    def toml(self) -> str:
        """Return the experiment as text, to run it again."""
        return self._parsed("experiment.toml", bytes.decode)

    def experiment(self) -> Experiment:
        """Return the experiment that was run."""
        return self._parsed("experiment.toml", lambda data: parse_experiment(parse_toml(data.decode(), "the experiment")))

    def _parsed(self, name: FileName, parse: Callable[[bytes], T]) -> T:
        with open_listed(self.folder, self.manifest, name) as file:
            try:
                return parse(file.read())
            except ValueError as error:
                first = str(error).split("\n")[0].rstrip(".")
                raise DamagedFileError(f"{self.folder / name} does not hold what it should: {first}. {_AGAIN}") from None


def open_run(run: str | Path) -> SavedRun:
    """Open a finished run, once all its files are known to be those that its manifest lists.

    Raises: SpecError if the folder holds no finished run; DamagedFileError if a file is missing, altered, or of another run.
    """
    saved = SavedRun(Path(run), read_manifest(Path(run)))
    for name in saved.manifest.files:
        with open_listed(saved.folder, saved.manifest, name):
            pass
    return saved


def read_frame(run: str | Path, kind: str = "updates") -> pd.DataFrame:
    """Read a table of a saved run as a DataFrame: "updates", "rollouts" or "contexts".

    Raises: SpecError if the folder holds no finished run; DamagedFileError if a file is missing, altered, or of another run.
    """
    return open_run(run).frame(kind)


def read_summary(run: str | Path) -> dict[str, Any]:
    """Read the JSON object of a saved run.

    Raises: SpecError if the folder holds no finished run; DamagedFileError if a file is missing, altered, or of another run.
    """
    return open_run(run).summary()


def read_ledger(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return rows of updates and, by arm, summaries: of a run folder, of the ledger.parquet in one, or of a ledger without its
    folder.

    The summaries of a ledger without its folder are empty. Raises: SpecError if there is no such path; DamagedFileError.
    """
    if not os.path.lexists(path):
        raise SpecError(f"{path} does not exist: give the folder of a run, or a ledger.parquet.")
    if not path.is_dir():
        if path.name != TABLES["updates"] or not os.path.lexists(path.parent / MANIFEST):
            with open_file(path, "Give the folder of a run, or a ledger.parquet.") as (file, _):
                return _table(path, file, "updates"), {}
        path = path.parent
    run = open_run(path)
    return run.frame(), dict(run.summary()["arms"])


def _table(path: Path, file: BufferedReader, kind: str) -> pd.DataFrame:
    """A table out of an open file, by its own columns: what pandas wrote about it into the file is not read."""
    from pyarrow import parquet

    try:
        stored = parquet.ParquetFile(file)
        fault = fault_of_types(kind, stored.schema_arrow) or fault_of_size(stored.metadata, os.fstat(file.fileno()).st_size)
        frame = None if fault else stored.read().replace_schema_metadata(None).to_pandas()
    except Exception as error:  # pyarrow raises a dozen kinds of error on damaged bytes
        first = next(iter(str(error).splitlines()), type(error).__name__)[:200]
        raise DamagedFileError(f"{path} is not a whole Parquet file ({first}): it is truncated or damaged. {_AGAIN}") from None
    if frame is not None:
        fault = fault_of_rows(kind, frame)
    if fault or frame is None:
        raise DamagedFileError(f"{path} is not a table of {kind} that entclip wrote: {fault}. {_AGAIN}")
    return frame


def fault_of_size(metadata: Any, size: int) -> str | None:
    """Say whether a table claims more numbers than its file can hold: a few bytes can claim to be 10^12 rows."""
    claimed = 8 * metadata.num_rows * metadata.num_columns
    return f"it claims {metadata.num_rows:,} rows, and has {size:,} bytes" if claimed > max(_SMALL, _DENSEST * size) else None
