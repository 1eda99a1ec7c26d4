"""Tables of contrasts: every one, or summed up by regime; as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from entclip.findings.data import Catalogue
from entclip.findings.verdicts import Judged, count, finding_verdict, judge_finding

__all__ = ["all_rows", "by_regime", "contrasts_csv", "counts", "markdown_table", "row_of", "tally"]


def row_of(catalogue: Catalogue, judged: Judged) -> str:
    """Return the regime of a contrast, a row of tables and figures."""
    return judged.contrast.regime or catalogue.runs[judged.contrast.run].regime


def tally(catalogue: Catalogue, judged: Sequence[Judged]) -> tuple[int, int, int, int]:
    """Count the regimes that are for, against, divided and open: each once, however many contrasts it has.

    A regime is called as a finding is, from its own contrasts; what was not run does not count.
    """
    regimes: dict[str, list[Judged]] = {}
    for j in judged:
        regimes.setdefault(row_of(catalogue, j), []).append(j)
    called = [finding_verdict(members).removesuffix(" in part") for members in regimes.values()]
    kinds = ("reproduced", "contradicted", "conditional", "inconclusive")
    right, wrong, divided, still = (called.count(kind) for kind in kinds)
    return right, wrong, divided, still


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a Markdown table without the columns that are empty in every row."""
    used = [k for k in range(len(head)) if any(row[k] for row in rows)]
    lines = [[head[k] for k in used], ["---" for _ in used]]
    lines += [[row[k].replace("|", "\\|") for k in used] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def counts(judged: Sequence[Judged]) -> str:
    """Write how often each verdict occurs, as "3 reproduced, 1 open"."""
    names = ("reproduced", "contradicted", "open", "not run")
    return ", ".join(f"{n} {name}" for n, name in zip(count(judged), names, strict=True) if n)


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _spread(values: Sequence[float]) -> str:
    low, high = (_signed(end(values)) for end in (min, max)) if values else ("", "")
    return low if low == high else f"{low} to {high}"


def _own_gap(j: Judged) -> float | None:
    """Return the gap of the side that a contrast is about."""
    return {"clip_low": j.gap_low, "clip_high": j.gap_high}.get(j.contrast.column)


def _gap(j: Judged) -> str:
    own = _own_gap(j)
    if own is not None:
        return _signed(own)
    both = ["" if g is None else f"{g:+.2g}" for g in (j.gap_low, j.gap_high)]
    return " / ".join(both) if any(both) else ""


def _verdict(j: Judged) -> str:
    return f"open: {j.why}" if j.verdict == "open" and j.interval is None else j.verdict


def all_rows(catalogue: Catalogue, judged: Sequence[Judged]) -> str:
    """Return one row per contrast: value, interval, what was predicted, verdict, and the condition beside it."""
    head = ("regime", "case: arm", "column", "value", "99 % interval", "predicted", "verdict", "gap", "clipped, %", "walk/effect")
    rows = []
    for j in judged:
        clip = j.contrast.column in ("clip_low", "clip_high")
        rows.append(
            (
                row_of(catalogue, j),
                f"`{j.label}`",
                j.contrast.column,
                "" if j.value is None else _signed(j.value),
                "" if j.interval is None else f"{_signed(j.interval[0])} to {_signed(j.interval[1])}",
                j.predicted,
                _verdict(j),
                _gap(j),
                f"{100 * j.clipped:.2g}" if j.clipped else "",
                f"{j.walk / abs(j.value):.2g}" if clip and j.walk and j.value else "",
            )
        )
    return markdown_table(head, rows)


def by_regime(catalogue: Catalogue, judged: Sequence[Judged]) -> str:
    """Return one row per regime, column and prediction: the spread of values and gaps, and how many verdicts of each kind."""
    groups: dict[tuple[str, str, str], list[Judged]] = {}
    for j in judged:
        predicted = "sign of the gap" if j.contrast.sign == "gap" else "small" if j.contrast.within else j.predicted
        groups.setdefault((row_of(catalogue, j), j.contrast.column, predicted), []).append(j)
    rows = []
    for (regime, column, predicted), members in groups.items():
        values = [j.value for j in members if j.value is not None]
        gaps = [g for g in map(_own_gap, members) if g is not None]
        rows.append((regime, column, _spread(values), predicted, counts(members), _spread(gaps)))
    return markdown_table(("regime", "column", "values, smallest to largest", "predicted", "verdicts", "gaps"), rows)


def contrasts_csv(catalogue: Catalogue, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Write every contrast of every finding as CSV, a row each; numbers in nats, empty where there is none."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(
        (
            "finding",
            "run",
            "case_arm",
            "column",
            "value",
            "se",
            "low",
            "high",
            "predicted",
            "verdict",
            "why_open",
            "gap_low",
            "gap_high",
            "clipped",
            "walk",
        )
    )
    for finding in catalogue.findings:
        for j in judge_finding(catalogue.contrasts(finding), results):
            low, high = j.interval or (None, None)
            first, last = (j.value, j.se, low, high), (j.gap_low, j.gap_high, j.clipped, j.walk)
            numbers, more = (["" if v is None else f"{v:.4g}" for v in values] for values in (first, last))
            table.writerow(
                (finding.id, j.contrast.run, j.label, j.contrast.column, *numbers, j.predicted, j.verdict, j.why, *more)
            )
    return out.getvalue()
