"""What a table of a run holds, before it is rendered for a terminal, as GitHub markdown, as HTML or for a notebook.

Entropy changes are in nats, summed over the run. `expected_*` is theory conditional on the realised path, so it is called "theory
along the path" wherever it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entclip.ledger.cancelling import MARK
from entclip.ledger.columns import COLUMNS
from entclip.report.numbers import fixed, value_of, with_error
from entclip.report.style import CAUSES

__all__ = [
    "PARTS",
    "SIGNS",
    "Cell",
    "Grid",
    "accounted",
    "arms_of",
    "causes_grid",
    "clips_grid",
    "has_theory",
    "origin",
    "shown_parts",
    "text_grid",
]

PARTS = tuple(c.name for c in COLUMNS if c.kind == "cause" or c.expected or c.quiet)
_OPTIONAL = tuple(c.name for c in COLUMNS if c.quiet)
_MARKS = {"agree": "ok", "reject": "NO", "inconclusive": "?"}

_WHAT = (
    "Entropy changes in nats, summed over the run; standard error in the last digits, -.0340(6) = -.0340 +- .0006. "
    "Upper line: measured. Lower line: theory along the path (its expectation given the policies that the run visited, "
    "not a forecast), with the check of the two against each other: ok = agree, NO = reject, ? = inconclusive. "
    "control variate = measured without the noise of the causes: sampled parts replaced by theory along the path. "
    "units: independent ones, behind standard errors and verdicts. Causes + curvature + remainder = measured."
)
_WHAT_MEASURED = (
    "Entropy changes in nats, summed over the run; standard error in the last digits, -.0340(6) = -.0340 +- .0006. "
    "Causes are first-order parts of the realised step; there is no expectation to judge them by. "
    "units: independent ones, behind standard errors. Causes + curvature + remainder = measured."
)
SIGNS = (
    "Signs: under a random reward a clip at the low bound is expected to raise entropy where gap_low > 0, one at the high bound "
    "to lower it where gap_high > 0 (the usual case; both gaps are in the second table). What a run realises scatters around it "
    "by its standard error; momentum, shared parameters and a reward that depends on the action can turn it. The same read from "
    "the settings: raising eps_high means less clipping at the high bound, hence higher entropy; raising eps_low means less "
    "clipping at the low bound, hence lower entropy."
)
_CLIPS = (
    "clip fraction: share of samples whose gradient was clipped. pi: probability of the actions beyond the bound. gap: mean "
    "entropy value of those actions minus the policy's mean (- where no action was beyond the bound). kl, ratio max: current "
    "against old policy. collapses: contexts that lost over 1 nat and half their entropy within a rollout. Entropy in nats."
)


@dataclass(frozen=True)
class Cell:
    """What is shown in one field: an upper and a lower line, and the verdict that colours them."""

    upper: str
    lower: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Grid:
    """A table before it is rendered for a terminal or as markdown.

    prose: names of the columns that hold sentences, which may wrap; the others but the first hold numbers, which may not.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    prose: tuple[str, ...] = ()


def text_grid(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, prose: Sequence[str] = (), notes: Sequence[str] = ()
) -> Grid:
    """Make a grid of one line per field, from plain text."""
    return Grid(title, tuple(columns), tuple(tuple(map(Cell, row)) for row in rows), tuple(notes), tuple(prose))


def arms_of(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return dict(summary.get("arms") or {})


def shown_parts(arms: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the causes and curvature; those that not every run has only if some arm has any."""
    present = list(arms)
    return tuple(
        part
        for part in PARTS
        if part not in _OPTIONAL or any(value_of(arm, key) for arm in present for key in (part, f"expected_{part}"))
    )


def has_theory(arms: Iterable[Mapping[str, Any]]) -> bool:
    """Tell whether any part has an expectation to stand beside: a language model's has none."""
    return any(value_of(arm, f"expected_{part}") is not None for arm in arms for part in PARTS)


def origin(summary: Mapping[str, Any]) -> str:
    """Return which run this is, in one line."""
    fields = ", ".join(f"{key} {summary.get(key, '-')}" for key in ("engine", "seed", "rollouts", "digest"))
    return f"{summary.get('experiment', '-')}: {fields}"


def accounted(arm: Mapping[str, Any]) -> str:
    """Return how many of an arm's updates the parts are sums over, in words; empty if over all of them."""
    updates, skipped = value_of(arm, "updates"), value_of(arm, "skipped")
    return f"{updates:g} of {updates + skipped:g} updates" if updates is not None and skipped else ""


def _accounted_note(arms: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    said = {name: words for name, arm in arms.items() if (words := accounted(arm))}
    if not said:
        return ()
    same = len(set(said.values())) == 1 and len(said) == len(arms)
    shares = f" in every arm: {next(iter(said.values()))}" if same else f": {', '.join(' '.join(pair) for pair in said.items())}"
    return (
        f"Accounted{shares}. The parts are sums over those; measured is the change over all updates. What the others did is "
        "the line not accounted, with which the parts add up to measured.",
    )


def _cancelling_note(arms: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    said = {name: share for name, arm in arms.items() if (share := value_of(arm, MARK))}
    if not said:
        return ()
    shares = ", ".join(f"{name} {share:.0%}" for name, share in said.items())
    return (
        f"Causes cancel under Adam in some accounted updates ({shares}): each is larger than what any gradient could do. The "
        "line step has the sum of theirs; the lines of causes are sums over the other updates.",
    )


def _part_cell(arm: Mapping[str, Any], part: str) -> Cell:
    expected, verdict = value_of(arm, f"expected_{part}"), str(arm.get(f"verdict_{part}") or "")
    measured, theory = with_error(value_of(arm, part), value_of(arm, f"{part}_se")), with_error(expected, None)
    decimals = len(measured.partition("(")[0].rpartition(".")[2])
    if expected and decimals > 4 and "(" in measured and "e" not in measured + theory:
        theory = fixed(expected, decimals, True)  # as many decimals as the number that it stands under
    if mark := _MARKS.get(verdict):
        theory += f" {mark}"
    return Cell(measured, theory, verdict)


def causes_grid(summary: Mapping[str, Any]) -> Grid:
    arms = arms_of(summary)
    parts, theory = shown_parts(arms.values()), has_theory(arms.values())
    rows = []
    totalled = ("measured", "measured_cv") if theory else ("measured",)
    counted = any(value_of(arm, "units") is not None for arm in arms.values())  # an exact engine has none
    for name, arm in arms.items():
        totals = [Cell(with_error(value_of(arm, key), value_of(arm, f"{key}_se"))) for key in totalled]
        remainder = Cell(with_error(value_of(arm, "remainder"), value_of(arm, "remainder_se")))
        units = (Cell("-" if (n := value_of(arm, "units")) is None else f"{n:.0f}"),) if counted else ()
        verdict = str(arm.get("verdict") or "-")
        cells = [_part_cell(arm, p) for p in parts]
        if theory:
            rows.append((Cell(name), *totals, *cells, remainder, *units, Cell(verdict, verdict=verdict)))
        else:
            rows.append((Cell(name), *totals, *(Cell(cell.upper) for cell in cells), remainder, *units))
    names = ("arm", "measured", *(("control variate",) if theory else ()), *(CAUSES[p][0] for p in parts), "remainder")
    columns = (*names, *(("units",) if counted else ()), *(("verdict",) if theory else ()))
    notes = (_WHAT if theory else _WHAT_MEASURED, *_accounted_note(arms), *_cancelling_note(arms), SIGNS)
    return Grid(f"Entropy change by cause, {origin(summary)}", columns, tuple(rows), notes)


def clips_grid(summary: Mapping[str, Any]) -> Grid:
    keys = ("clip_fraction_low", "clip_fraction_high", "pi_low", "pi_high", "gap_low", "gap_high", "kl", "ratio_max", "collapses")
    rows = []
    for name, arm in arms_of(summary).items():
        start, end = ("-" if (h := value_of(arm, f"entropy_{when}")) is None else f"{h:.4f}" for when in ("start", "end"))
        cells = [Cell(with_error(value_of(arm, key), None, sign=key.startswith("gap"))) for key in keys[:-1]]
        collapses = value_of(arm, "collapses")
        cells.append(Cell("-" if collapses is None else f"{collapses:.4g}"))
        rows.append((Cell(name), *cells, Cell(f"{start} -> {end}")))
    columns = ("arm", *(k.replace("fraction_", "").replace("_", " ") for k in keys), "entropy")
    columns = tuple(c.replace("clip low", "clip fraction low").replace("clip high", "clip fraction high") for c in columns)
    return Grid("Clipping and distance", columns, tuple(rows), (_CLIPS,))
