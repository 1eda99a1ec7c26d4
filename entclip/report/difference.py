"""Two runs set side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from entclip.report.grid import Cell, Grid, arms_of, origin, shown_parts
from entclip.report.numbers import value_of, with_error
from entclip.report.style import CAUSES
from entclip.report.terminal import rich_table

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["comparison"]


def comparison(a: Mapping[str, Any], b: Mapping[str, Any]) -> Table:
    """Run b minus run a, per arm in both: measured, its control-variate mean and each cause, with combined errors and z."""
    arms_a, arms_b = arms_of(a), arms_of(b)
    common = [name for name in arms_a if name in arms_b]
    keys = ("measured", "measured_cv", *shown_parts([arms[name] for arms in (arms_a, arms_b) for name in common]))
    rows = []
    for name in common:
        cells = [Cell(name)]
        for key in keys:
            before, after = value_of(arms_a[name], key), value_of(arms_b[name], key)
            difference = None if before is None or after is None else after - before
            errors = [value_of(arms[name], f"{key}_se") for arms in (arms_a, arms_b)]
            # An exact engine has no error at all: it adds none to the other run's.
            se = math.hypot(*(e or 0.0 for e in errors))
            z = difference / se if difference is not None and se > 0 else None
            cells.append(Cell(with_error(difference, se), "z -" if z is None else f"z {z:+.1f}"))
        rows.append(tuple(cells))
    notes = [
        f"a = {origin(a)}\nb = {origin(b)}",
        "Measured entropy change of b minus that of a, in nats, summed over the run. Errors are added in quadrature, as for "
        "independent runs; runs that share a seed share random numbers, so these errors are then no more than a guide. A run "
        "without an error (exact engine, or one independent unit) adds none.",
    ]
    if alone := [*(f"{n} (a)" for n in arms_a if n not in arms_b), *(f"{n} (b)" for n in arms_b if n not in arms_a)]:
        notes.append(f"In one run only: {', '.join(alone)}.")
    if not common:
        notes.append("The runs have no arm in common.")
    columns = ("arm", "measured", "control variate", *(CAUSES[key][0] for key in keys[2:]))
    return rich_table(Grid("Difference of two runs, b - a", columns, tuple(rows), tuple(notes)))
