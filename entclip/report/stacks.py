"""What the figure of a run over its rollouts draws: per arm and rollout the measured change, its causes and their theory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from entclip.report.grid import PARTS, arms_of
from entclip.report.numbers import finite, half_width, value_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Stack", "by_arm", "stacks"]

_MOST = 40  # groups in a panel: more rollouts are put together


@dataclass(frozen=True)
class Stack:
    """One group of the figure, in nats.

    label: the rollouts in it, counted from 1. measured: the entropy change; half: half of its 95 % interval, None where there is
    no standard error. parts: causes, curvature and remainder by column, which add up to measured. expected: the theory along the
    path of those parts that have one.
    """

    label: str
    measured: float
    half: float | None
    parts: Mapping[str, float]
    expected: Mapping[str, float]

    @property
    def expected_total(self) -> float | None:
        """Return theory of the whole change; None if some part that acted has none."""
        known = all(part in self.expected for part, value in self.parts.items() if part != "remainder" and value != 0)
        return math.fsum(self.expected.values()) if self.expected and known else None


def by_arm(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each arm, named as in the JSON object of a run: "arm", or "case/arm" in an experiment with cases."""
    import pandas as pd

    cases = frame["case"] if "case" in frame else frame["arm"].map(lambda _: "")
    names = [f"{case}/{arm}" if case else str(arm) for case, arm in zip(cases, frame["arm"], strict=True)]
    # As a series: a list is a list of keys for pandas, where it is as long as one row or names columns.
    return {str(name): rows for name, rows in frame.groupby(pd.Series(names, frame.index), sort=False)}


def stacks(
    frame: pd.DataFrame, arms: Sequence[str] | None = None, summary: Mapping[str, Any] | None = None
) -> dict[str, list[Stack]]:
    """Return per arm one `Stack` for each rollout, the run's own last (left out if there is one rollout).

    Over 40 rollouts, neighbours are put together. Several rollouts have the sum of their intervals, which is the widest that
    theirs can be; the run's own comes from `summary` if that is given.

    Raises: ValueError for a frame without rollouts and for an arm that it does not have.
    """
    missing = {"arm", "rollout", "measured"} - set(frame.columns)
    if missing or frame.empty or "inner_step" in frame:
        wrong = (
            f"has no column {', '.join(sorted(missing))}" if missing else "has no rows" if frame.empty else "is one of updates"
        )
        raise ValueError(f'the frame {wrong}: give Ledger.to_frame("rollouts") or read_frame(run, "rollouts").')
    found, known = by_arm(frame), arms_of(summary or {})
    chosen = list(found) if arms is None else list(arms)
    for name in chosen:
        if name not in found:
            raise ValueError(f"the run has no arm {name!r}: choose from {', '.join(found)}.")
    return {name: _of_arm(found[name], known.get(name, {})) for name in chosen}


def _of_arm(rows: pd.DataFrame, summary: Mapping[str, Any]) -> list[Stack]:
    records: list[dict[Any, Any]] = [{"units": summary.get("units")} | record for record in rows.to_dict("records")]
    size = math.ceil(len(records) / _MOST)
    out = [_together(records[i : i + size]) for i in range(0, len(records), size)]
    if len(records) > 1:
        whole = _together(records)
        half = half_width(summary, "measured") if "measured_se" in summary else whole.half
        out.append(Stack("run", whole.measured, half, whole.parts, whole.expected))
    return out


def _together(records: Sequence[Mapping[str, Any]]) -> Stack:
    def total(column: str) -> float | None:
        values = [finite(value_of(record, column)) for record in records]
        return None if None in values else math.fsum(v for v in values if v is not None)

    halves = [half_width(record, "measured") for record in records]
    half = None if None in halves else math.fsum(h for h in halves if h is not None)
    first, last = (int(records[i]["rollout"]) + 1 for i in (0, -1))
    parts = {part: value for part in (*PARTS, "remainder") if (value := total(part)) is not None}
    expected = {part: value for part in PARTS if (value := total(f"expected_{part}")) is not None}
    return Stack(str(first) if first == last else f"{first}-{last}", total("measured") or 0.0, half, parts, expected)
