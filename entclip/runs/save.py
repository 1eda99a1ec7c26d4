"""Run folders: atomic writes, Parquet ledgers with their provenance, checkpoints for resuming.

Files are written under a temporary name and renamed, so a reader sees a whole file or none. A checkpoint holds one arm after a
whole rollout; its folder is named by the experiment's digest, so another experiment never picks it up.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from entclip.ledger.folder import _TABLES
from entclip.runs.result import Ledger
from entclip.support.files import ask_git, prepare_folder, to_json, version_of, write_atomic

__all__ = ["save_run"]


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
