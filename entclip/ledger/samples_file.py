"""What `ledger_from_samples` made, read back from a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from entclip.ledger.frame_file import FrameFile
from entclip.ledger.from_samples import EUCLIDEAN
from entclip.objectives.base import CAUSES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_samples"]

_FRAME = FrameFile(
    "ledger_from_samples",
    marks=frozenset({"sequence", "position", "surprisal"}),
    numbers=("log_ratio", "ratio", "advantage", "weight", "surprisal", *CAUSES),
    maybe_null=("entropy", *EUCLIDEAN),
    flags=("own_baseline", "clipped_low", "clipped_high", "clipped_other"),
    places=("sequence", "position"),
)


def read_samples(path: Path) -> pd.DataFrame | None:
    """Read one row per token; None for a file that is something else.

    Raises: DamagedFileError for a frame of samples that lacks a column or a value, or holds something else in it.
    """
    return _FRAME.read(path)
