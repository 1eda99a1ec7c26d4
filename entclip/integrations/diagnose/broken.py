"""Where a run broke: from some row on a number that its updates make is NaN or infinite, to the end of the log."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from entclip.integrations.logs.log import Log

__all__ = ["Broken", "before_it_broke"]


@dataclass(frozen=True)
class Broken:
    """name: as logged; line: of the file (or number of the record) from which on it has no number; rows: how many have none."""

    name: str
    line: int
    rows: int


def before_it_broke(log: Log, names: Iterable[str]) -> tuple[Log, Broken | None]:
    """Return the rows before any of `names` ends in NaN or infinity, and which of them did so first; all rows where none does.

    A column that has no number in any row was never computed: that is no break.
    """
    found: list[tuple[int, Broken]] = []
    for name in names:
        finite = np.flatnonzero(np.isfinite(log.columns[name]))
        at = log.infinite.get(name)
        if at is None or not finite.size:
            continue
        # The newest row may be the first of the file.
        last, newest_first = log.lines[finite[-1]], log.rows > 1 and log.lines[0] > log.lines[-1]
        after = at[at < last] if newest_first else at[at > last]
        if after.size:
            found.append((int(finite[-1]) + 1, Broken(name, int(after.max() if newest_first else after.min()), int(after.size))))
    if not found:
        return log, None
    rows, broken = min(found, key=lambda each: each[0])
    columns = {name: column[:rows] for name, column in log.columns.items()}
    return replace(log, columns=columns, lines=log.lines[:rows]), broken
