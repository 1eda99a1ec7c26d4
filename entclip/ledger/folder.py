"""Readers of a saved run: its frames, its provenance, its summary."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from entclip.support.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_frame", "read_provenance", "read_summary"]
T = TypeVar("T")
_TABLES = {"updates": "ledger.parquet", "rollouts": "rollouts.parquet", "contexts": "contexts.parquet"}


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
