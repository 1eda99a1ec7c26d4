"""A frame of the ledger of arrays or of samples, read back from a Parquet file and judged by the columns that it has to have."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from entclip.ledger.folder import fault_of_size
from entclip.support.errors import DamagedFileError
from entclip.support.files import open_file

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FrameFile"]


@dataclass(frozen=True)
class FrameFile:
    """What a file of a frame looks like: the function that made it, columns by which it is known, and all that it has to have.

    Attributes:
        numbers: finite everywhere.   maybe_null: numbers that can be null.   flags: booleans.   places: integers.
    """

    maker: str
    marks: frozenset[str]
    numbers: tuple[str, ...]
    maybe_null: tuple[str, ...]
    flags: tuple[str, ...]
    places: tuple[str, ...]

    def read(self, path: Path) -> pd.DataFrame | None:
        """Read the rows of a file; None for a file that is something else.

        Raises: DamagedFileError for a frame that lacks a column or a value, or holds something else in it.
        """
        import numpy as np
        import pyarrow.types as types
        from pyarrow import ArrowException, parquet

        fix = f"Save the frame that {self.maker} returned with frame.to_parquet(FILE)."
        wrong = f"{path} is not a frame of {self.maker}"
        fits = dict.fromkeys((*self.numbers, *self.maybe_null), types.is_floating) | dict.fromkeys(self.flags, types.is_boolean)
        fits |= dict.fromkeys(self.places, types.is_integer)
        if not path.is_file():
            return None
        with open_file(path, fix) as (file, _):
            try:
                stored = parquet.ParquetFile(file)
                names = stored.schema_arrow.names
                if not self.marks <= set(names):
                    return None
                if fault := fault_of_size(stored.metadata, os.fstat(file.fileno()).st_size):
                    raise DamagedFileError(f"{path} is damaged: {fault}. {fix}")
                table = stored.read(columns=[name for name in names if name in fits]).replace_schema_metadata(None)
            except (ArrowException, OSError):
                return None  # the reader of ledgers says what is wrong with it
        if name := _first(name for name in fits if name not in table.schema.names):
            raise DamagedFileError(f"{wrong}: it has no column {name}. {fix}")
        if name := _first(field.name for field in table.schema if not fits[field.name](field.type)):
            raise DamagedFileError(f"{wrong}: its column {name} holds no such values. {fix}")
        rows = table.to_pandas()
        if rows.empty or not np.all(np.isfinite(rows[list(self.numbers)].to_numpy(dtype=np.float64))):
            raise DamagedFileError(f"{wrong}: it has no rows, or lacks a number. {fix}")
        return rows


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)
