"""What `ledger_from_samples` made, read back from a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from entclip.ledger.from_samples import EUCLIDEAN
from entclip.objectives.base import CAUSES
from entclip.support.errors import DamagedFileError
from entclip.support.files import open_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_samples"]

_NUMBERS = ("log_ratio", "ratio", "advantage", "weight", "surprisal", *CAUSES)
_MAYBE_NULL = ("entropy", *EUCLIDEAN)
_FLAGS = ("own_baseline", "clipped_low", "clipped_high", "clipped_other")
_PLACES = ("sequence", "position")
_FIX = "Save the frame that ledger_from_samples returned with frame.to_parquet(FILE)."


def read_samples(path: Path) -> pd.DataFrame | None:
    """Read one row per token; None for a file that is something else.

    Raises: DamagedFileError for a frame of samples that lacks a column or a value, or holds something else in it.
    """
    import numpy as np
    import pyarrow.types as types
    from pyarrow import ArrowException, parquet

    if not path.is_file():
        return None
    with open_file(path, _FIX) as (file, _):
        try:
            stored = parquet.ParquetFile(file)
            if not {"sequence", "position", "surprisal"} <= set(stored.schema_arrow.names):
                return None
            table = stored.read().replace_schema_metadata(None)
        except (ArrowException, OSError):
            return None  # the reader of ledgers says what is wrong with it
    fits = dict.fromkeys((*_NUMBERS, *_MAYBE_NULL), types.is_floating) | dict.fromkeys(_FLAGS, types.is_boolean)
    fits |= dict.fromkeys(_PLACES, types.is_integer)
    if wrong := [f"no column {name}" for name in fits if name not in table.schema.names]:
        raise DamagedFileError(f"{path} is not a frame of ledger_from_samples: it has {wrong[0]}. {_FIX}")
    if wrong := [name for name, fit in fits.items() if not fit(table.schema.field(name).type)]:
        raise DamagedFileError(
            f"{path} is not a frame of ledger_from_samples: its column {wrong[0]} holds no such values. {_FIX}"
        )
    rows = table.to_pandas()
    if rows.empty or not np.all(np.isfinite(rows[list(_NUMBERS)].to_numpy(dtype=np.float64))):
        raise DamagedFileError(f"{path} is not a frame of ledger_from_samples: it has no rows, or lacks a number. {_FIX}")
    return rows
