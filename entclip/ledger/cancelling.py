"""Updates whose causes cancel: sums over updates take their first-order change as one number, the line `step`.

Adam divides every cause by the second moment of the step that was taken, which is nearly 0 where causes took each other's
gradient back. Rows keep what was found, marked by the column `cancelling`; in a sum it would hide what all other rows say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entclip.ledger.columns import causes_in

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MARK", "cancelling_words", "joined", "joined_frame"]

MARK = "cancelling"
_WHOLE = "whole_step"
_LISTED = 8  # steps by number, at the most


def joined(columns: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the columns of an update as sums over updates take them, numbers or arrays over units.

    Where any unit is marked, causes are 0 and `whole_step` is their sum; others are returned as they are.
    """
    mark = columns.get(MARK, 0.0)
    if not (mark.any() if hasattr(mark, "any") else mark):
        return columns
    whole = sum(columns[name] for name in causes_in(columns))
    return {**columns, **dict.fromkeys(causes_in(columns), 0.0 * whole), _WHOLE: whole}


def joined_frame(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a frame of updates as sums over updates take it: `joined`, row by row."""
    if MARK not in rows or not (marked := rows[MARK].fillna(0.0) > 0).any():
        return rows
    rows = rows.copy()
    if _WHOLE not in rows:
        rows[_WHOLE] = 0.0
    causes = causes_in(rows.columns)
    whole = rows.loc[marked, causes].sum(axis=1)
    rows.loc[marked, causes] = 0.0
    rows.loc[marked, _WHOLE] = whole
    return rows


def cancelling_words(steps: Sequence[int]) -> str | None:
    """Say in which updates causes cancel, what that means, and where sums have them; None if in none."""
    if not steps:
        return None
    more = f" and {len(steps) - _LISTED} more" if len(steps) > _LISTED else ""
    return (
        f"In {len(steps)} update{'s' if len(steps) > 1 else ''} (step {', '.join(map(str, steps[:_LISTED]))}{more}) a cause is "
        "larger than what any gradient could do to entropy through Adam: causes are divided by the second moment of the step "
        "that was taken, nearly 0 where they took each other's gradient back. There they cancel, and only their sum means "
        "something. Rows are marked in the column cancelling; sums over updates have that sum in the line step. What the clip "
        "does there takes runs with and without it."
    )
