"""The table of causes for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from entclip.report.grid import causes_grid

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["table"]


def table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Entropy change by cause in nats, arms as rows: each cause measured and, where known, its theory along the path.

    Cells are text, standard errors in the last digits: -.0340(6) = -.0340 +- .0006. After a number of theory stands its check
    against the measured one: ok = agree, NO = reject, ? = inconclusive.

    Args:
        summary: the JSON object of a run, `Ledger.summary()`.
    """
    import pandas as pd

    grid = causes_grid(summary)
    columns: dict[str, list[str]] = {}
    for i, name in enumerate(grid.columns[1:], 1):
        columns[name] = [row[i].upper for row in grid.rows]
        if any(row[i].lower for row in grid.rows):
            columns[f"{name}, theory"] = [row[i].lower for row in grid.rows]
    return pd.DataFrame(columns, index=pd.Index([row[0].upper for row in grid.rows], name=grid.columns[0]), dtype=str)
