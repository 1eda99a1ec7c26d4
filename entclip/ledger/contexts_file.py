"""What `ledger_from_arrays` made, read back from a Parquet file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from entclip.ledger.folder import fault_of_size
from entclip.objectives.base import CAUSES
from entclip.support.errors import DamagedFileError
from entclip.support.files import open_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ADDED", "read_contexts"]

ADDED = ("measured", "first_order", "curvature", "remainder")  # in nats; the last three add up to the first
_NUMBERS = ("entropy_before", "entropy", *ADDED, "remainder_scale", *CAUSES, "ratio", "advantage", "weight", "pi_low", "pi_high")
_FLAGS = ("clipped_low", "clipped_high")
_MAYBE_NULL = ("gap_low", "gap_high")
_FIX = "Save the frame that ledger_from_arrays returned with frame.to_parquet(FILE)."


def read_contexts(path: Path) -> pd.DataFrame | None:
    """Read one row per context; None for a file that is something else.

    Raises: DamagedFileError for a frame of contexts that lacks a column or a value, or holds something else in it.
    """
    import numpy as np
    import pyarrow.types as types
    from pyarrow import ArrowException, parquet

    if not path.is_file():
        return None
    with open_file(path, _FIX) as (file, _):
        try:
            stored = parquet.ParquetFile(file)
            if not {"context", "first_order"} <= set(stored.schema_arrow.names):
                return None
            if fault := fault_of_size(stored.metadata, os.fstat(file.fileno()).st_size):
                raise DamagedFileError(f"{path} is damaged: {fault}. {_FIX}")
            frame = stored.read(columns=["context", *_NUMBERS, *_FLAGS, *_MAYBE_NULL]).replace_schema_metadata(None)
        except (ArrowException, OSError):
            return None  # the reader of ledgers says what is wrong with it
    fits = dict.fromkeys((*_NUMBERS, *_MAYBE_NULL), types.is_floating) | dict.fromkeys(_FLAGS, types.is_boolean)
    fits["context"] = types.is_integer
    if wrong := [f"no column {name}" for name in fits if name not in frame.schema.names]:
        raise DamagedFileError(f"{path} is not a frame of ledger_from_arrays: it has {wrong[0]}. {_FIX}")
    if wrong := [f.name for f in frame.schema if not fits[f.name](f.type)]:
        raise DamagedFileError(f"{path} is not a frame of ledger_from_arrays: its column {wrong[0]} holds no such values. {_FIX}")
    rows = frame.to_pandas()
    if rows.empty or not np.all(np.isfinite(rows[list(_NUMBERS)].to_numpy(dtype=np.float64))):
        raise DamagedFileError(f"{path} is not a frame of ledger_from_arrays: it has no rows, or lacks a number. {_FIX}")
    return rows
