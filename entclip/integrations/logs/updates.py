"""Of a log's rows those that are updates, each step once: what stands between them is kept beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from entclip.integrations.logs.log import Log

__all__ = ["of_updates"]

_RARE = 0.05  # of the rows: a step that goes back more often numbers something else


def of_updates(log: Log, telling: Collection[str], step: str | None) -> Log:
    """Return the rows that have a number of a `telling` column, of rows with one step, or of an earlier launch, the last.

    Numbers of rows that are left out between two updates (rewards of episodes) go to the later one where it has none, as means.

    Args:
        telling: names of columns that only updates have.
        step: the column of training steps, None where rows are not numbered by one that grows through the run.
    """
    has = np.zeros(log.rows, dtype=bool)
    for name in telling:
        has |= np.isfinite(log.columns[name])
    if has.any() and not has.all():
        log = _rows(log, has, {name: _carried(column, has) for name, column in log.columns.items()})
    if step is None:
        return log
    kept = _not_superseded(log.columns[step])
    return log if kept.all() else replace(_rows(log, kept, log.columns), superseded=int((~kept).sum()))


def _rows(log: Log, kept: np.ndarray, columns: Mapping[str, np.ndarray]) -> Log:
    return replace(log, columns={name: column[kept] for name, column in columns.items()}, lines=log.lines[kept])


def _carried(column: np.ndarray, has: np.ndarray) -> np.ndarray:
    """The column with gaps of updates filled by the mean of the rows since the update before."""
    own = np.flatnonzero(has)
    update = np.minimum(np.searchsorted(own, np.arange(len(column))), len(own) - 1)
    loose = np.isfinite(column) & ~has
    number = np.bincount(update[loose], minlength=len(own))
    total = np.bincount(update[loose], column[loose], len(own))
    out = column.copy()
    gaps = ~np.isfinite(column[own]) & (number > 0)
    out[own[gaps]] = total[gaps] / number[gaps]
    return out


def _not_superseded(step: np.ndarray) -> np.ndarray:
    """Rows whose step no later row goes back to or before; all of them where steps are missing or go back often."""
    kept = np.ones(len(step), dtype=bool)
    back = np.flatnonzero(np.diff(step) < 0) + 1
    if not np.isfinite(step).all() or not 0 < len(back) <= max(_RARE * len(step), 1):
        return kept
    for at in back:
        kept[:at] &= step[:at] < step[at]
    return kept
