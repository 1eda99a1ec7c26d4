"""Two runs set side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from entclip.report.grid import Cell, Grid, arms_of, origin, shown_parts
from entclip.report.numbers import value_of, with_error
from entclip.report.style import CAUSES
from entclip.support.errors import SpecError

__all__ = ["comparison_grid"]


_WHOLE = ("measured",)  # of all updates, whether they have a row or not


def comparison_grid(a: Mapping[str, Any], b: Mapping[str, Any]) -> Grid:
    """Tabulate run b minus run a, per arm in both: measured, its control-variate mean and each cause, with combined errors and z.

    Raises: SpecError for runs whose entropies are different quantities.
    """
    _refuse_different_quantities(a, b)
    arms_a, arms_b = arms_of(a), arms_of(b)
    common = [name for name in arms_a if name in arms_b]
    keys = ("measured", "measured_cv", *shown_parts([arms[name] for arms in (arms_a, arms_b) for name in common]))
    rows, partly = [], []
    for name in common:
        pair = arms_a[name], arms_b[name]
        units = (value_of(arm, "units") for arm in pair)
        cells = [Cell(name), Cell(" / ".join("-" if n is None else f"{n:.0f}" for n in units))]
        shares = [_share(arm) for arm in pair]
        alike = shares[0] == shares[1]
        if not alike:
            partly.append(f"{name} ({shares[0]} against {shares[1]} updates accounted)")
        cells += [_cell(pair, key) if alike or key in _WHOLE else Cell("-") for key in keys]
        rows.append(tuple(cells))
    notes = [
        f"a = {origin(a)}\nb = {origin(b)}",
        "Measured entropy change of b minus that of a, in nats, summed over the run. Errors are added in quadrature, as for "
        "independent runs; runs that share a seed share random numbers, so these errors are then no more than a guide. A run "
        "without an error (exact engine, or one independent unit) adds none. units: independent ones, of a / of b; with few of "
        "them z is one of Student's t.",
        *_what_else_differs(a, b),
    ]
    if partly:
        notes.append(f"Parts are sums over different updates, so only measured is compared: {', '.join(partly)}.")
    if alone := [*(f"{n} (a)" for n in arms_a if n not in arms_b), *(f"{n} (b)" for n in arms_b if n not in arms_a)]:
        notes.append(f"In one run only: {', '.join(alone)}.")
    if not common:
        notes.append("The runs have no arm in common.")
    columns = ("arm", "units", "measured", "control variate", *(CAUSES[key][0] for key in keys[2:]))
    return Grid("Difference of two runs, b - a", columns, tuple(rows), tuple(notes))


def _cell(pair: tuple[Mapping[str, Any], Mapping[str, Any]], key: str) -> Cell:
    before, after = (value_of(arm, key) for arm in pair)
    difference = None if before is None or after is None else after - before
    # An exact engine has no error at all: it adds none to the other run's.
    se = math.hypot(*(value_of(arm, f"{key}_se") or 0.0 for arm in pair))
    z = difference / se if difference is not None and se > 0 else None
    return Cell(with_error(difference, se), "z -" if z is None else f"z {z:+.1f}")


def _share(arm: Mapping[str, Any]) -> str:
    """How many updates of how many are accounted, in words; "all" whatever their number."""
    updates, skipped = value_of(arm, "updates"), value_of(arm, "skipped")
    return f"{updates:.0f} of {updates + skipped:.0f}" if updates is not None and skipped else "all"


def _measures(run: Mapping[str, Any]) -> str:
    """Say whose entropy a run's ledger has."""
    from entclip.engines.registry import described

    facts = described(run.get("engine"))
    return facts.measures if facts else "contexts that are not known here"


def _refuse_different_quantities(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    if _measures(a) == _measures(b):
        return
    said = [
        f"{run.get('experiment', '-')} (engine {run.get('engine', '-')}) measures the entropy of {_measures(run)}"
        for run in sorted((a, b), key=_measures)
    ]
    raise SpecError(
        f"cannot compare: {', '.join(said)}. Their difference means nothing: compare runs of one kind, or read them side by side "
        "with entclip report."
    )


def _what_else_differs(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    differ = [
        f"{key} {a.get(key, '-')} against {b.get(key, '-')}" for key in ("experiment", "rollouts") if a.get(key) != b.get(key)
    ]
    if not differ:
        return []
    return [
        f"Not only the arms are compared: {', '.join(differ)}. Sums over more rollouts are larger, and what differs between the "
        "experiments is part of the difference."
    ]
