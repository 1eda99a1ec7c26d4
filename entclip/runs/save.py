"""The files of a finished run, and the one moment at which they become visible together."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path

from entclip.ledger.manifest import MANIFEST, RUN_FILES, TABLES, FileName, Listed, Manifest
from entclip.ledger.schema import arrow_schema
from entclip.runs.result import Ledger
from entclip.support.errors import StorageError
from entclip.support.files import ask_git, to_json, write_through

__all__ = ["save_run"]


def save_run(ledger: Ledger, out: Path, versions: Mapping[str, str]) -> None:
    """Put a run into its folder, which the caller holds: experiment.toml, the tables, summary.json, manifest.json.

    All files are written under other names first. Then they are renamed, the manifest last: from that rename on the folder holds
    this run. Whoever reads it before, or after a kill in between, finds files that the manifest does not list, and says so.

    Args:
        versions: of the packages behind the run, by name.
    Raises: StorageError if a file cannot be written: a full disk shows before the first rename.
    """
    commit = ask_git("rev-parse", "HEAD") or "none"
    files = _files(ledger, {"versions": json.dumps(dict(versions)), "git_commit": commit})
    manifest = Manifest(
        experiment=ledger.experiment.name,
        seed=ledger.experiment.seed,
        **ledger.name._asdict(),
        inputs=ledger.inputs,
        versions=dict(versions),
        git_commit=commit,
        files={name: Listed.of(data) for name, data in files.items()},
    )
    _publish(out, files, manifest)


def _files(ledger: Ledger, made: Mapping[str, str]) -> dict[FileName, bytes]:
    """Content by name. A table says in its own metadata what it is of, for whoever takes it out of its folder."""
    about = {"experiment": ledger.experiment.to_toml(), **ledger.name._asdict(), **made}
    tables = {name: _parquet(ledger, kind, about) for kind, name in TABLES.items()}
    return {
        "experiment.toml": about["experiment"].encode(),
        **{name: data for name, data in tables.items() if data is not None},
        "summary.json": to_json(ledger.summary()).encode(),
    }


def _parquet(ledger: Ledger, kind: str, about: Mapping[str, str]) -> bytes | None:
    """A table of a run as Parquet; None if it has no rows. The same rows give the same bytes."""
    import pyarrow as pa
    from pyarrow import parquet

    frame = ledger.to_frame(kind)
    if frame.empty:
        return None
    schema = arrow_schema(kind, frame.columns.tolist()).with_metadata({f"entclip.{key}": value for key, value in about.items()})
    buffer, rows = io.BytesIO(), pa.Table.from_pandas(frame, schema, preserve_index=False)
    parquet.write_table(rows.replace_schema_metadata(schema.metadata), buffer)
    return buffer.getvalue()


def _publish(folder: Path, files: Mapping[FileName, bytes], manifest: Manifest) -> None:
    """Write all files under other names, then rename them, the manifest last; what an earlier run left besides goes before."""
    content = [*files.items(), (MANIFEST, manifest.to_bytes())]
    staged = [(folder / f".{name}.tmp", folder / name) for name, _ in content]
    try:
        try:
            for (temporary, _), (_, data) in zip(staged, content, strict=True):
                temporary.unlink(missing_ok=True)  # of a process that was killed
                write_through(temporary, data)
            for temporary, path in staged[:-1]:
                os.replace(temporary, path)
            for name in RUN_FILES:
                if name not in files:
                    (folder / name).unlink(missing_ok=True)
            os.replace(*staged[-1])
        finally:
            for temporary, _ in staged:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot save the run to {folder}: {error.strerror}. Its checkpoints stay: mend that and run it again."
        ) from None
