"""Simulated cells of a phase map, judged against their prediction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.start import start_of
from entclip.policies.softmax import Geometry
from entclip.prediction.maps.phase_map import _FLOOR, ROOM, Cell, _causes, case_at
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from entclip.support.workers import in_threads

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["spread", "verify"]


def verify(
    frame: pd.DataFrame, cells: Iterable[Cell], *, units: int = 512, progress: Callable[[], None] | None = None
) -> pd.DataFrame:
    """Return a copy of a map with the given cells (ix, iy) simulated and judged, every arm of them.

    measured is the control-variate mean of the sampled engine over at least `units` contexts x replicas, or the raw mean where
    that has the smaller standard error; measured_sign is its sign at 5 standard errors, else 0. agree: predicted within max(3
    standard errors, 5 % (natural) or 10 % (euclidean) of the sum of absolute causes, .001 nat). reject: further off than that and
    than 5 standard errors. Otherwise, and where 3 standard errors exceed both the causes and .001 nat, inconclusive. Where that
    room exceeds the total, agreement on size does not include the sign: read measured_sign.

    The simulation starts from the map's own policies (the experiment's seed). `progress` is called after each cell.
    Raises: SpecError for a cell that is not on the map or was refused.
    """
    out = frame.copy()
    out.attrs = frame.attrs
    base, hold = parse_experiment(frame.attrs["experiment"]), frame.attrs["hold"]
    axes = [frame.attrs[k]["name"] for k in ("x", "y")]
    arms = list(dict.fromkeys(frame["arm"]))
    chosen = list(dict.fromkeys(cells))
    jobs: list[tuple[Any, Experiment]] = []
    for ix, iy in chosen:
        rows = frame[(frame["ix"] == ix) & (frame["iy"] == iy)]
        if rows.empty:
            raise SpecError(f"map: there is no cell ({ix}, {iy}).")
        if (rows["status"] == "refused").any():
            raise SpecError(f"map: cell ({ix}, {iy}) has no prediction to verify: {rows['reason'].iloc[0]}")
        case = case_at(base, {a: float(rows[a].iloc[0]) for a in axes}, arms, hold)
        contexts = len(start_of(case).old_log_probs)
        jobs.append((rows, case.model_copy(update={"replicas": max(case.replicas, math.ceil(units / contexts))})))

    def simulated(job: tuple[Any, Experiment]) -> dict[str, Any]:
        found: dict[str, Any] = run(job[1], jobs=1).summary()["arms"]
        if progress is not None:
            progress()
        return found

    for (rows, case), found in zip(jobs, in_threads(simulated, jobs, 2), strict=True):
        for index, arm in rows["arm"].items():
            m = found[arm]
            # The control variates lose their use, and gain noise, where the steps are too large for second order.
            best = "measured_cv" if m["measured_cv_se"] <= m["measured_se"] else "measured"
            values = {"measured": m[best], "measured_se": m[f"{best}_se"]}
            sure = abs(values["measured"]) > 5 * values["measured_se"]
            values["measured_sign"] = math.copysign(1.0, values["measured"]) if sure else 0.0
            for term in ("clip_low", "clip_high", "curvature"):
                values |= {f"measured_{term}": m[term], f"measured_{term}_se": m[f"{term}_se"]}
            for name, value in values.items():
                out.loc[index, name] = value
            out.loc[index, "verdict"] = _judge(rows.loc[index], values["measured"], values["measured_se"], case.update.geometry)
    return out


def _judge(row: Any, measured: float, se: float, geometry: Geometry) -> str:
    causes, off = _causes(row), abs(row["expected_measured"] - measured)
    room = max(ROOM[geometry] * causes, _FLOOR)
    if off > max(5 * se, room):
        return "reject"
    if 3 * se > max(causes, _FLOOR):
        return "inconclusive"
    return "agree" if off <= max(3 * se, room) else "inconclusive"


def spread(frame: pd.DataFrame, count: int) -> list[Cell]:
    """Choose `count` predicted cells far from each other, the first nearest the middle; a quarter of them outside validity."""
    chosen: list[Cell] = []
    cells = {k: sorted(set(_cells(frame[frame["status"] == k]))) for k in ("valid", "outside")}
    # A quarter is spent where the prediction may fail.
    inside = max(count - len(cells["outside"]), count - count // 4) if cells["valid"] else 0
    for status, until in (("valid", inside), ("outside", count), ("valid", count)):
        free = [c for c in cells[status] if c not in chosen]
        middle = np.mean(free, axis=0) if free else None
        while free and len(chosen) < until:
            near = [-math.dist(c, middle) for c in free] if not chosen else [min(math.dist(c, d) for d in chosen) for c in free]  # type: ignore[arg-type]
            chosen.append(free.pop(int(np.argmax(near))))
    return chosen


def _cells(frame: pd.DataFrame) -> list[Cell]:
    return [(int(i), int(j)) for i, j in zip(frame["ix"], frame["iy"], strict=True)]
