"""Points on both sides of a border of a phase map, simulated: does the sign change where the prediction says it does?

A border is the zero of a margin, in nats over the run: gap_low's is clip_low and gap_high's is minus clip_high (T6: each has the
sign of its gap); dominance's is |clip_low| + |clip_high| - |curvature|, positive where the clips outweigh noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.prediction.maps.phase_map import Plane, case_at
from entclip.prediction.meanfield import predict
from entclip.runs.runner import run
from entclip.support.errors import SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BORDERS", "Border", "border_points", "crossings", "simulate_border"]

Border = Literal["gap_low", "gap_high", "dominance"]
BORDERS: tuple[Border, ...] = ("gap_low", "gap_high", "dominance")
_TERMS = ("clip_low", "clip_high", "curvature")
_LIMIT = 5.0  # standard errors, as everywhere
_AIM = 8.0  # standard errors that the predicted margin should have
_PILOT = 128  # units


def _weights(border: Border, means: Sequence[float]) -> np.ndarray:
    """The margin as a linear form in clip_low, clip_high and curvature."""
    if border == "dominance":
        return np.array([1.0, 1.0, -1.0]) * np.sign(means)
    return np.array([1.0, 0.0, 0.0] if border == "gap_low" else [0.0, -1.0, 0.0])


def _case(plane: Plane, x: float, y: float) -> Experiment:
    return case_at(plane.experiment, {plane.x.name: x, plane.y.name: y}, ("both",))


def _predicted(case: Experiment, border: Border) -> tuple[float, bool]:
    """The margin, and whether the configuration meets the prediction's conditions of validity."""
    arm = predict(case).summary()["arms"]["both"]
    terms = [arm[f"expected_{t}"] for t in _TERMS]
    return float(_weights(border, terms) @ terms), not arm["outside"]


def border_points(
    plane: Plane, border: Border, heights: Iterable[float], offsets: Sequence[float], between: tuple[float, float]
) -> pd.DataFrame:
    """Points at the given distances on both sides of a predicted border, one row each. Claims T6, T11.

    Args:
        plane: its x axis is searched, with its y axis at each of `heights`.
        offsets: positive distances from the border, in units of the x axis.
        between: values of x on different sides of the border, at every height.
    Returns: DataFrame with border, the two coordinates, at (the predicted border's x), offset (signed), predicted (margin, nats)
        and valid (does the prediction hold itself to be valid there?).
    Raises: SpecError where the margin has the same sign at both ends of `between`.
    """
    import pandas as pd
    from scipy import optimize

    def margin(x: float, y: float) -> float:
        return _predicted(_case(plane, x, y), border)[0]

    def row(y: float) -> list[dict[str, Any]]:
        if margin(between[0], y) * margin(between[1], y) > 0:
            raise SpecError(f"map: {border} has one sign from {between[0]:g} to {between[1]:g} at {plane.y.name} = {y:g}.")
        at = float(optimize.brentq(margin, *between, args=(y,), xtol=1e-3))
        out = []
        for offset in sorted([-d for d in offsets] + list(offsets)):
            value, valid = _predicted(_case(plane, at + offset, y), border)
            place = {plane.x.name: at + offset, plane.y.name: y}
            out.append({"border": border} | place | {"at": at, "offset": offset, "predicted": value, "valid": valid})
        return out

    with ThreadPoolExecutor(2) as workers:
        return pd.DataFrame([r for rows in workers.map(row, heights) for r in rows])


def simulate_border(plane: Plane, points: pd.DataFrame, *, most: int = 16384, jobs: int = 2) -> pd.DataFrame:
    """The points simulated: the margin's measured mean over units, from the realised causes, no theory in it.

    Units (replicas) are as many as give the predicted margin 8 standard errors, judged by the scatter of a pilot run with another
    seed, at least 256 and at most `most`. agree: measured and predicted have the same sign, measured at 5 standard errors;
    reject: opposite signs, at 5 standard errors; inconclusive otherwise.

    Returns: a copy with measured, measured_se (nats), units and verdict.
    """

    def one(p: dict[str, Any]) -> dict[str, Any]:
        case = _case(plane, p[plane.x.name], p[plane.y.name])
        pilot = case.model_copy(update={"replicas": _PILOT, "seed": case.seed + 1})
        scatter = _measured(pilot, p["border"])[1] * math.sqrt(_PILOT)
        units = min(max(256, math.ceil((_AIM * scatter / p["predicted"]) ** 2)), most)
        value, se = _measured(case.model_copy(update={"replicas": units}), p["border"])
        right = "agree" if value * p["predicted"] > 0 else "reject"
        verdict = right if abs(value) > _LIMIT * se else "inconclusive"
        return {"measured": value, "measured_se": se, "units": units, "verdict": verdict}

    with ThreadPoolExecutor(jobs) as workers:
        found = list(workers.map(one, points.to_dict(orient="records")))
    return points.assign(**{name: [f[name] for f in found] for name in found[0]})


def _measured(case: Experiment, border: Border) -> tuple[float, float]:
    totals = run(case, jobs=1).arms["both"].totals
    terms = np.stack([totals[t] for t in _TERMS])
    margin = _weights(border, terms.mean(axis=1).tolist()) @ terms
    return float(margin.mean()), float(margin.std(ddof=1)) / math.sqrt(len(margin))


def crossings(points: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Predicted and measured position of a border at each height: the zero of a quadratic through the simulated margins.

    Returns: DataFrame with border, y, predicted, measured and measured_se, in units of the x axis.
    """
    import pandas as pd

    out = []
    for (border, height), rows in points.groupby(["border", y], sort=False):
        design = np.stack([rows["offset"].to_numpy() ** k for k in range(3)], axis=1)
        weight = 1 / rows["measured_se"].to_numpy()
        covariance = np.linalg.inv((design * weight[:, None] ** 2).T @ design)
        c = covariance @ (design * weight[:, None] ** 2).T @ rows["measured"].to_numpy()
        roots = np.roots(c[::-1])
        root = float(np.real(roots[np.argmin(np.abs(roots))]))
        slope = c[1] + 2 * c[2] * root
        se = math.sqrt(np.array([1, root, root**2]) @ covariance @ np.array([1, root, root**2])) / abs(slope)
        at = float(rows["at"].iloc[0])
        out.append({"border": border, y: height, "predicted": at, "measured": at + root, "measured_se": se})
    return pd.DataFrame(out)
