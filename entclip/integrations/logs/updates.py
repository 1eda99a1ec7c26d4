"""Of a log's rows those that are updates, each step once: what stands between them is kept beside them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np

from entclip.integrations.logs.log import Log
from entclip.integrations.logs.names import plain_name

__all__ = ["EPOCHS", "of_updates"]

EPOCHS = ("epoch", "training/epoch")

_RARE = 0.05  # of the rows: a step that goes back more often numbers something else


def of_updates(log: Log, telling: Collection[str], step: str | None, order: Sequence[str] = ()) -> Log:
    """Return the rows that have a number of a `telling` column, in the order of their steps; what an earlier launch had before a
    later one went back is left out.

    Numbers of rows that are left out between two updates (rewards of episodes) go to the later one where it has none, as means.

    Args:
        telling: names of columns that only updates have.
        step: the column of training steps, None where rows are not numbered by one that grows through the run.
        order: columns that number the rows where there is no such step: the rollout, the update in it.
    """
    has = np.zeros(log.rows, dtype=bool)
    for name in telling:
        has |= np.isfinite(log.columns[name])
    if has.any() and not has.all():
        log = _rows(log, has, {name: _carried(column, has) for name, column in log.columns.items()})
    log = _in_order(log, (step,) if step is not None else order)
    if step is None:
        return log
    epoch = next((column for name, column in log.columns.items() if plain_name(name) in EPOCHS), None)
    kept = _not_superseded(log.columns[step], epoch)
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


def _in_order(log: Log, numbers: Sequence[str]) -> Log:
    """The rows by what numbers them where each has a number of its own: a table may have the newest row first."""
    keys = np.array([log.columns[name] for name in numbers])
    if not keys.size or not np.isfinite(keys).all() or len(np.unique(keys, axis=1).T) < log.rows:
        return log
    order = np.lexsort(keys[::-1])
    return replace(log, columns={name: column[order] for name, column in log.columns.items()}, lines=log.lines[order])


def _not_superseded(step: np.ndarray, epoch: np.ndarray | None) -> np.ndarray:
    """Rows whose step no later row goes back to or before; all of them where steps are missing, go back often, or are counted
    anew in every epoch."""
    kept = np.ones(len(step), dtype=bool)
    back = np.flatnonzero(np.diff(step) < 0) + 1
    if not np.isfinite(step).all() or not 0 < len(back) <= max(_RARE * len(step), 1):
        return kept
    if epoch is not None and np.all(epoch[back] > epoch[back - 1]):
        return kept
    lengths = np.diff(np.concatenate(([0], back)))
    if len(back) > 1 and np.ptp(lengths) <= 1 and np.ptp(step[np.concatenate(([0], back))]) == 0:
        return kept
    for at in back:
        kept[:at] &= step[:at] < step[at]
    return kept
