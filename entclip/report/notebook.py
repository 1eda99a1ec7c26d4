"""The table of causes for a notebook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from entclip.report.grid import causes_grid
from entclip.report.numbers import with_error

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["table"]

_NOTHING = "-"  # of a number that is not there


def table(summary: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulate the entropy change by cause in nats, arms as rows: each cause measured and, where known, its theory along the
    path.

    Cells are text, standard errors in the last digits: -.0340(6) = -.0340 +- .0006. After a number of theory stands its check
    against the measured one: ok = agree, NO = reject, ? = inconclusive. Columns without any number are left out.

    Args:
        summary: the JSON object of a run, `Ledger.summary()`, or of a forecast, whose every number is a forecast.
    """
    import pandas as pd

    grid = causes_grid(summary)
    columns: dict[str, list[str]] = {}
    totals = [arm.get("expected_measured") for arm in summary["arms"].values()]  # of a forecast only
    word = "theory" if None in totals else "forecast"
    for i, name in enumerate(grid.columns[1:], 1):
        measured, theory = ([getattr(row[i], line) for row in grid.rows] for line in ("upper", "lower"))
        if set(measured) != {_NOTHING}:
            columns[name] = measured
        if any(theory):
            columns[f"{name}, {word}"] = theory
    if None not in totals:
        columns["total, forecast"] = [with_error(total, None) for total in totals]
    return pd.DataFrame(columns, index=pd.Index([row[0].upper for row in grid.rows], name=grid.columns[0]), dtype=str)
