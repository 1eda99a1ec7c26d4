"""The schemas of the tables that a run saves: which columns, of which type, and where a number may be missing.

They follow from the table of columns: a row holds keys, columns, and what the ledger adds of a column (expected_NAME, NAME_se,
residual_NAME_se, residual_NAME_skewness).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from entclip.ledger.columns import COLUMNS, SCHEMA_VERSION, UNSPLIT, column_named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["arrow_schema", "fault_of_rows", "fault_of_types", "type_of"]

Type = Literal["text", "whole", "number"]

_ROLLOUT = ("schema_version", "case", "arm", "seed", "rollout")
_UPDATE = (*_ROLLOUT, "step", "inner_step")
_KEYS = {"rollouts": _ROLLOUT, "updates": _UPDATE, "contexts": (*_UPDATE, "replica", "context")}
_ONE_ROW = {
    "updates": ("case", "arm", "step"),
    "rollouts": ("case", "arm", "rollout"),
    "contexts": ("case", "arm", "step", "replica", "context"),
}
_TEXT = ("case", "arm")
_COUNTS = ("units", *(c.name for c in COLUMNS if c.unit in ("updates", "units")))
# Of every engine and experiment, with a number in every row.
_PARTS = tuple(c.name for c in COLUMNS if c.kind in ("cause", "part") and c.filled == "engine" and not c.optional)
_FILLED = tuple(c.name for c in COLUMNS if c.filled == "engine" and not c.optional and not c.name.startswith("_"))
_RATIOS = ("samples", "measured_median", "log_ratio_rms", "clip_fraction_low", "clip_fraction_high")
_NUMBERS = {
    "updates": (*_FILLED, *_RATIOS),
    "rollouts": (*_PARTS, "entropy_before", "entropy"),
    "contexts": _FILLED,
}
_MAYBE_NULL = {"updates": ("gap_low", "gap_high"), "rollouts": (), "contexts": ()}  # there is no gap where nothing was clipped


def type_of(kind: str, name: str) -> Type:
    """Return the type of a table's column. ValueError for a name that such a table cannot have."""
    if name in _TEXT:
        return "text"
    if name in _KEYS[kind] or name in _COUNTS:
        return "whole"
    base = re.fullmatch(r"(?:residual_)?(.+?)(?:_se|_skewness)?", name)
    if not re.fullmatch(r"(sequence_entropy|entropy_at_\d+)_before", name):
        column_named(base[1] if base else name)
    return "number"


def arrow_schema(kind: str, names: list[str]) -> Any:
    """Return the Arrow schema of a table: text, int64, float64. A column's type does not depend on what is in it."""
    import pyarrow as pa

    types = {"text": pa.string(), "whole": pa.int64(), "number": pa.float64()}
    return pa.schema([(name, types[type_of(kind, name)]) for name in names])


def fault_of_types(kind: str, schema: Any) -> str | None:
    """Return what is wrong with the columns of a file, in a few words; None if they are those of such a table."""
    import pyarrow.types as types

    fits = {
        "text": (types.is_string, types.is_large_string),
        "whole": (types.is_integer, types.is_null),
        "number": (types.is_floating, types.is_integer, types.is_null),
    }
    names = schema.names
    if missing := [name for name in (*_KEYS[kind], *_NUMBERS[kind], *_MAYBE_NULL[kind]) if name not in names]:
        return f"it has no column {', '.join(missing[:4])}"
    if len(set(names)) < len(names):
        return f"two columns are named {max(names, key=names.count)!r}"
    for field in schema:
        try:
            wanted = type_of(kind, field.name)
        except ValueError:
            return f"it has a column {field.name[:60]!r}, which no ledger has"
        if not any(fit(field.type) for fit in fits[wanted]):
            return f"its column {field.name} holds {str(field.type)[:60]}, not {_WORDS[wanted]}"
    return None


def fault_of_rows(kind: str, frame: pd.DataFrame) -> str | None:
    """Return what is wrong with the rows of a table whose columns are right, in a few words; None if nothing is."""
    import numpy as np

    if frame.empty:
        return "it has no rows"
    for name in (*_KEYS[kind], *_NUMBERS[kind]):
        lacks = frame[name].isna()
        if name in UNSPLIT and "whole_step" in frame:
            lacks &= frame["whole_step"].isna()
        if bool(lacks.any()):
            return f"its column {name} lacks a value"
    for name in frame.columns:
        if type_of(kind, name) == "number" and bool(np.isinf(frame[name].to_numpy(dtype=np.float64)).any()):
            return f"its column {name} holds infinity"
    if list(versions := frame["schema_version"].unique()) != [SCHEMA_VERSION]:
        return f"it has schema_version {versions[0]}, and this entclip reads {SCHEMA_VERSION}"
    if bool((frame[[key for key in _KEYS[kind] if key not in _TEXT]] < 0).to_numpy().any()):
        return "it counts below 0"
    twice = frame.duplicated(list(_ONE_ROW[kind]))
    if bool(twice.any()):
        row = frame[twice].iloc[0]
        return f"it has a row twice, {', '.join(f'{key} {row[key]}' for key in _ONE_ROW[kind] if row[key] != '')}"
    return None


_WORDS = {"text": "text", "whole": "whole numbers", "number": "numbers"}
