"""Rows in which a metric is no number, of a run that goes on: which they are, and that the rest holds."""

from __future__ import annotations

import numpy as np

from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.finding import Finding, claim
from entclip.integrations.diagnose.run import MADE, Run

__all__: list[str] = []

_MANY = 0.1  # of the rows
_NAMED = 3  # lines that are named one by one
_GROUPS, _NAMES = 3, 12  # of metrics with the same gaps, whose lines are told; names in one list


@claim("gaps")
def _gaps(run: Run) -> Finding | None:
    """A number is dropped where it is needed, the row stays: one NaN among sixty does not unmake the other fifty-nine."""
    found = {name: np.intersect1d(at, run.log.lines) for name, at in run.log.infinite.items() if name in run.log.columns}
    found = {name: at for name, at in found.items() if at.size and np.isfinite(run.log.columns[name]).any()}
    if not found:
        return None
    made = {name for alias, name in run.present if alias.quantity in MADE}
    first = sorted(found, key=lambda name: (name not in made, -found[name].size))
    together: dict[tuple[int, ...], list[str]] = {}
    for name in first:
        together.setdefault(tuple(found[name].tolist()), []).append(name)
    groups = list(together.values())
    texts = [f"{_and(names)} in {found[names[0]].size} of {run.log.rows} ({_places(run, found[names[0]])})" for names in groups]
    rest = [name for names in groups[_GROUPS:] for name in names]
    texts, more = texts[:_GROUPS], f"; also {_and(rest)}" if rest else ""
    grave = any(name in made or at.size > _MANY * run.log.rows for name, at in found.items())
    return Finding(
        "gaps",
        ("no-number-in-rows",),
        "warn" if grave else "info",
        f"Rows without a number (NaN, infinite or over 1e15): {'; '.join(texts)}{more}. They are left out of what needs that "
        "metric, and everything else holds.",
        tuple(
            Evidence(f"{name}, rows without a number", float(at.size), first=int(at.min()), last=int(at.max()), rows=int(at.size))
            for name, at in found.items()
        ),
        reason="the metric has numbers again afterwards",
        change="Look at what these steps had that others had not: an empty batch, a response without tokens, an overflow."
        if grave
        else "",
    )


def _and(names: list[str]) -> str:
    """Names as a list in words; of very many the first and how many more."""
    if len(names) > _NAMES:
        return f"{', '.join(names[:_NAMES])} and {len(names) - _NAMES} more metrics"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _places(run: Run, at: np.ndarray) -> str:
    """Their lines, one by one or as a span."""
    unit = run.log.unit
    if at.size == 1:
        return f"{unit} {at[0]}"
    if at.size <= _NAMED:
        return f"{unit}s {', '.join(str(line) for line in at)}"
    return f"{unit}s {at.min()} to {at.max()}"
