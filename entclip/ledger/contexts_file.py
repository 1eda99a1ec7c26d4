"""What `ledger_from_arrays` made, read back from a Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from entclip.ledger.frame_file import FrameFile
from entclip.objectives.base import CAUSES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ADDED", "read_contexts"]

ADDED = ("measured", "first_order", "curvature", "remainder")  # in nats; the last three add up to the first
_OTHERS = ("remainder_scale", *CAUSES, "ratio", "advantage", "weight", "pi_low", "pi_high")
_FRAME = FrameFile(
    "ledger_from_arrays",
    marks=frozenset({"context", "first_order"}),
    numbers=("entropy_before", "entropy", *ADDED, *_OTHERS),
    maybe_null=("gap_low", "gap_high"),
    flags=("clipped_low", "clipped_high"),
    places=("context",),
)


def read_contexts(path: Path) -> pd.DataFrame | None:
    """Read one row per context; None for a file that is something else.

    Raises: DamagedFileError for a frame of contexts that lacks a column or a value, or holds something else in it.
    """
    return _FRAME.read(path)
