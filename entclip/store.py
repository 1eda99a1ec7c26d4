"""Run folders: atomic writes, Parquet ledgers with their provenance, checkpoints for resuming.

Files are written under a temporary name and renamed, so a reader sees a whole file or none. A checkpoint holds one arm after a
whole rollout; its folder is named by the experiment's digest, so another experiment never picks it up.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from entclip.engines.base import Engine, State
from entclip.ledger import ArmLedger, Ledger
from entclip.spec import Experiment, SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Checkpoint", "ask_git", "prepare_folder", "read_frame", "read_provenance", "read_summary", "save_run", "to_json",
    "version_of", "write_atomic",
]  # fmt: skip

S = TypeVar("S", bound=State)
T = TypeVar("T")
_TABLES = {"updates": "ledger.parquet", "rollouts": "rollouts.parquet", "contexts": "contexts.parquet"}


def prepare_folder(out: Path) -> None:
    """Make the output folder and prove that it can be written, before any work is done."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".write-test-{os.getpid()}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise SpecError(f"cannot write to the output folder {out}: {error.strerror}. Choose another with --out.") from None


def write_atomic(path: Path, data: bytes) -> None:
    """Write the whole file or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def to_json(value: Any) -> str:
    """JSON with infinities as "inf"; NaN is an error."""

    def clean(x: Any) -> Any:
        if isinstance(x, dict):
            return {str(k): clean(v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [clean(v) for v in x]
        if isinstance(x, float | np.floating):
            return ("inf" if x > 0 else "-inf") if math.isinf(x) else float(x)
        return x.item() if isinstance(x, np.generic) else x

    return json.dumps(clean(value), indent=1, allow_nan=False)


def version_of(package: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def ask_git(*words: str) -> str:
    """What git says in the checkout that this file is in; "" without git or a checkout."""
    try:
        found = subprocess.run(["git", *words], cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip()


def _provenance(ledger: Ledger) -> dict[bytes, bytes]:
    experiment = ledger.experiment
    # The kernels of the reduced engine round differently.
    names = ("numpy", "scipy", "pandas", "pyarrow", *(("numba",) if ledger.engine == "reduced" else ()), "entclip")
    versions = {name: version_of(name) or "not installed" for name in names}
    record = {
        "experiment": experiment.to_toml(), "digest": experiment.digest, "versions": json.dumps(versions),
        "git_commit": ask_git("rev-parse", "HEAD") or "none",
        "engine": ledger.engine, "dtype": ledger.dtype, "device": ledger.device,
    }  # fmt: skip
    return {f"entclip.{k}".encode(): v.encode() for k, v in record.items()}


def save_run(ledger: Ledger, out: Path) -> None:
    """experiment.toml, ledger.parquet, rollouts.parquet (contexts.parquet with ledger.detail = "context") and summary.json."""
    import pyarrow as pa
    from pyarrow import parquet

    prepare_folder(out)
    extra = _provenance(ledger)
    for kind, name in _TABLES.items():
        frame = ledger.to_frame(kind)
        if frame.empty:
            continue
        table = pa.Table.from_pandas(frame, preserve_index=False)
        buffer = io.BytesIO()
        parquet.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **extra}), buffer)
        write_atomic(out / name, buffer.getvalue())
    write_atomic(out / "experiment.toml", ledger.experiment.to_toml().encode())
    write_atomic(out / "summary.json", to_json(ledger.summary()).encode())


def _read(run: Path, kind: str, reader: Callable[[Path], T]) -> T:
    path = Path(run) / _TABLES[kind]
    try:
        return reader(path)
    except FileNotFoundError:
        raise SpecError(f"{path} does not exist: {run} is not the folder of a finished run (look for summary.json).") from None
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path} is not a whole Parquet file ({error}): the file is truncated or damaged; run the experiment again."
        ) from None


def read_frame(run: Path, kind: str = "updates") -> pd.DataFrame:
    """A saved ledger as a DataFrame; SpecError if it is missing or damaged."""
    import pandas as pd

    return _read(run, kind, pd.read_parquet)


def read_provenance(run: Path) -> dict[str, str]:
    """What a saved ledger says of its making: experiment (TOML), digest, engine, dtype, device, versions (JSON), git_commit.

    Raises: SpecError if the ledger is missing or damaged.
    """
    from pyarrow import parquet

    stored = _read(run, "updates", parquet.read_schema).metadata or {}
    prefix = b"entclip."
    return {k.removeprefix(prefix).decode(): v.decode() for k, v in stored.items() if k.startswith(prefix)}


def read_summary(run: Path) -> dict[str, Any]:
    """The JSON object of a saved run; its ledger must be readable, too."""
    path = Path(run) / "summary.json"
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise SpecError(
            f"{path} does not exist: {run} is not the folder of a finished run. Make one with entclip run NAME --out {run}."
        ) from None
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{path} is not a whole JSON file ({error}): it is truncated or damaged; run the experiment again."
        ) from None
    read_frame(run)
    return dict(value)


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
