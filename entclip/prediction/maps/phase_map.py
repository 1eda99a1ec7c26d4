"""Phase maps: the predicted terms of one run over a plane of settings, the borders between regimes, and cells simulated to check.

A plane is data: two axes, each a name and values, applied to an experiment. A map is a DataFrame with one row per cell and arm;
`phase_figure.figure` draws it. Everything predicted is T11's forecast (no sampling); everything measured is the sampled engine's.

Dimensionless groups of a cell (`groups`), with N = V - 1 for natural steps and N = P2 + P2^2 - 2 P3 for euclidean ones,
P_k = sum_a pi0_a^k, m2 = E[A^2], M = E|A|/2:

    sigma           eta sqrt(K m2 N / B): the pi0-weighted root mean square of log r at the end of an unclipped rollout, to first
                    order. About eta sqrt(K m2 V / B) natural, eta sqrt(K m2 P2 / B) euclidean, for flat policies.
    low_in_sigma, high_in_sigma   -log(1 - eps_low)/sigma, log(1 + eps_high)/sigma: the bounds in units of that noise.
    samples         K B / (V - 1) natural, K B N euclidean: samples of a rollout that bear on one action. One sample moves the
                    log-ratio of its own action by about sigma/sqrt(samples) (euclidean: eta sqrt(m2)/B).
    takeover        eta/(B pi_min) over log(1/pi_min) (natural; 0 euclidean): one sample's push on the rarest action against
                    what it is short of the whole policy.
    push            eta M max(pi0) (euclidean; eta M natural) over the narrower width: one minibatch's pull inside the band.
    noise_number    T9's drift of one unclipped rollout is noise_number sigma^2 as long as sigma is small.
    entropy_share   H/log V: 1 for the uniform policy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from entclip.drift.noise import noise_drift
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.load import load
from entclip.experiments.start import start_of, takeover_ratio
from entclip.objectives.clip import Clip
from entclip.policies.softmax import Geometry
from entclip.prediction.meanfield import predict
from entclip.prediction.meanfield.forecast import MAX_REMAINDER, PATHS, check_covered
from entclip.prediction.meanfield.law import sample_law
from entclip.prediction.size import forecast_size
from entclip.support.errors import SpecError
from entclip.support.foresight import Size, refuse_oversize
from entclip.support.memory import available_bytes
from entclip.support.workers import in_threads

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "AXES",
    "PLANES",
    "Axis",
    "Plane",
    "case_at",
    "groups",
    "map_size",
    "phase_map",
    "plane",
    "records",
]

AxisName = Literal["concentration", "step", "batch", "minibatches", "eps_low", "eps_high"]
Cell = tuple[int, int]

# The usual range of each axis: its first and last value, their spacing, and whether values are whole numbers.
AXES: dict[str, tuple[float, float, Literal["linear", "log"], bool]] = {
    "concentration": (0.0, 2.0, "linear", False),
    "step": (0.05, 5.0, "log", False),
    "batch": (128, 32768, "log", True),
    "minibatches": (2, 32, "log", True),
    "eps_low": (0.05, 0.4, "log", False),
    "eps_high": (0.05, 0.5, "log", False),
}
ARMS = ("none", "both", "low_only", "high_only")
PLANES = ("concentration", "batch", "widths")
TERMS = ("unclipped", "clip_low", "clip_high", "other", "curvature")
_FORECAST = (
    *(f"expected_{t}" for t in (*TERMS, "remainder", "measured")),
    "gap_low",
    "gap_high",
    "pi_low",
    "pi_high",
    "clip_fraction_low",
    "clip_fraction_high",
    "frozen_probability",
)
_MEASURED = ("measured", *(f"measured_{t}" for t in ("clip_low", "clip_high", "curvature")))
_CELL, _SET_UP = 4_000.0, 5e-3  # a cell's row takes so many bytes, and so many seconds beside its prediction
MAX_POINTS = 1000  # an axis has at most so many
_LEAST_CLIPPED = 1e-7  # mean probability beyond a bound; below it a gap is a ratio of rounding errors
# T11's stated validity: a prediction is off by at most this share of the sum of absolute causes, or by _FLOOR nats.
ROOM = {"natural": 0.05, "euclidean": 0.10}
_FLOOR = 0.001


@dataclass(frozen=True)
class Axis:
    """One side of a plane. concentration: exponent of a Zipf policy; step: sigma (see `groups`), from which eta follows; batch,
    minibatches: B and K; eps_low, eps_high: widths of the arms that clip on that side."""

    name: AxisName
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.name not in AXES:
            raise SpecError(f"map: no axis {self.name!r}: choose one of {', '.join(AXES)}.")
        if not self.values or any(b <= a for a, b in zip(self.values, self.values[1:], strict=False)):
            raise SpecError(f"map: the values of {self.name} must increase, got {self.values}.")

    @property
    def log(self) -> bool:
        return AXES[self.name][2] == "log"

    @classmethod
    def default(cls, name: AxisName, points: int, multiple: int = 1) -> Axis:
        """Return an axis of `points` values over the usual range; batches are multiples of the group size."""
        if name not in AXES:
            raise SpecError(f"map: no axis {name!r}: choose one of {', '.join(AXES)}.")
        if not 1 <= points <= MAX_POINTS:
            raise SpecError(f"map: {points:,} points on the axis {name}: choose from 1 to {MAX_POINTS:,}.")
        first, last, spacing, whole = AXES[name]
        values = np.linspace(first, last, points) if spacing == "linear" else np.geomspace(first, last, points)
        if whole:
            unit = multiple if name == "batch" else 1
            values = np.unique(np.maximum(unit, np.round(values / unit) * unit))
        return cls(name, tuple(float(v) for v in values))


@dataclass(frozen=True)
class Plane:
    """A named plane: the experiment and the two axes, everything `phase_map` needs."""

    name: str
    experiment: Experiment
    x: Axis
    y: Axis


def plane(name: str, geometry: Geometry = "natural", points: int | None = None) -> Plane:
    """Return one of the planes that ship: "concentration", "batch" or "widths". One rollout each, rewards +/-1, clip .2/.2.

    concentration: Zipf exponent x sigma; natural V = 64, B = 2048, K = 16; euclidean V = 256, B = 64, K = 32.
    batch: B x K at fixed eta, that for which sigma is .2 at B = 2048 (64 euclidean) and K = 16; Zipf(1) natural, one Dirichlet(2)
    draw euclidean, V = 64.
    widths: eps_low x eps_high for `headline` (euclidean: its policy and its sigma at B = 64).
    """
    if name not in PLANES:
        raise SpecError(f"map: no plane {name!r}: choose one of {', '.join(PLANES)}.")
    natural = geometry == "natural"
    if points is None:  # these take about a minute for each plane on two cores
        points = {("concentration", True): 13, ("concentration", False): 7, ("widths", False): 5}.get((name, natural), 9)
    if points < 2:
        raise SpecError(f"map: a plane needs at least 2 points per axis, got {points}.")
    if name == "widths":
        base = load("headline", ["update.rollouts=1"])
        if not natural:
            sigma = groups(base)["sigma"]
            update = base.update.model_copy(update={"geometry": "euclidean", "batch": 64})
            base = _with_sigma(base.model_copy(update={"update": update}), sigma)
        return Plane(name, base, Axis.default("eps_high", points), Axis.default("eps_low", points))
    if name == "concentration":
        policy = {"kind": "zipf", "vocab": 64 if natural else 256, "exponent": 1.0}
        base = _base(policy, geometry, batch=2048 if natural else 64, minibatches=16 if natural else 32)
        return Plane(name, base, Axis.default("concentration", points), Axis.default("step", points))
    zipf, dirichlet = {"kind": "zipf", "exponent": 1.0}, {"kind": "dirichlet", "alpha": 2.0}
    base = _base((zipf if natural else dirichlet) | {"vocab": 64}, geometry, batch=2048 if natural else 64)
    lengths = Axis.default("minibatches", points)
    if natural:
        return Plane(name, base, Axis.default("batch", points), lengths)
    return Plane(name, base, Axis("batch", tuple(v / 32 for v in Axis.default("batch", points).values if v % 32 == 0)), lengths)


def _base(policy: dict[str, Any], geometry: Geometry, batch: int, minibatches: int = 16) -> Experiment:
    update = {"geometry": geometry, "learning_rate": 1.0, "batch": batch, "minibatches": minibatches, "rollouts": 1}
    data = {"name": f"map_{geometry}", "policy": policy | {"contexts": 1}, "update": update}
    return _with_sigma(parse_experiment(data), 0.2)


def _spread_number(log_probs: np.ndarray, geometry: Geometry) -> float:
    """Return N, the pi0-weighted variance of log r per update over eta^2 m2/B (T11's variances at r = 1), mean over contexts."""
    if geometry == "natural":
        return float(log_probs.shape[-1] - 1)
    p2, p3 = (np.sum(np.exp(k * log_probs), axis=-1) for k in (2, 3))
    return float(np.mean(p2 + p2**2 - 2 * p3))


def groups(experiment: Experiment) -> dict[str, float]:
    """Return the dimensionless groups of a configuration, as the module's docstring defines them, and P2 = sum pi0^2."""
    u, logp = experiment.update, start_of(experiment).old_log_probs[:, 0, :]
    law = sample_law(experiment.reward, experiment.advantage)
    m2, m = law.moment("plus_sq") + law.moment("minus_sq"), law.moment("plus")
    number = _spread_number(logp, u.geometry)
    sigma = u.learning_rate * math.sqrt(u.minibatches * m2 * number / u.batch)
    low, high = _widths(experiment)
    step = noise_drift(logp, learning_rate=u.learning_rate, second_moment=m2, batch=u.batch, geometry=u.geometry)
    largest = float(np.exp(logp.max())) if u.geometry == "euclidean" else 1.0
    per = number if u.geometry == "euclidean" else 1 / number
    return {
        "eta": u.learning_rate,
        "sigma": sigma,
        "low_in_sigma": -math.log1p(-low) / sigma if low < 1 else math.inf,
        "high_in_sigma": math.log1p(high) / sigma,
        "samples": u.batch * u.minibatches * per,
        "takeover": takeover_ratio(experiment),
        "push": u.learning_rate * m * largest / min(low, high),
        "noise_number": u.minibatches * float(np.mean(step)) / sigma**2,
        "entropy_share": float(np.mean(-np.sum(np.exp(logp) * logp, axis=-1))) / math.log(logp.shape[-1]),
        "P2": float(np.mean(np.sum(np.exp(2 * logp), axis=-1))),
    }


def _with_sigma(case: Experiment, sigma: float) -> Experiment:
    eta = case.update.learning_rate * sigma / groups(case)["sigma"]
    return case.model_copy(update={"update": case.update.model_copy(update={"learning_rate": eta})})


def _widths(experiment: Experiment) -> tuple[float, float]:
    """Return the widths of the first arm that clips on both sides, else .2/.2."""
    for arm in experiment.arm:
        objective = arm.build()
        if isinstance(objective, Clip) and objective.low < 1 and math.isfinite(objective.high):
            return objective.low, objective.high
    return 0.2, 0.2


def case_at(base: Experiment, place: Mapping[str, float], arms: Sequence[str], hold: str = "eta") -> Experiment:
    """Return the experiment at a place of a plane: values of axes by name. `arms` and `hold` as in `phase_map`."""
    data = base.model_dump(exclude_none=True)
    low, high = _widths(base)
    low, high = place.get("eps_low", low), place.get("eps_high", high)
    if "concentration" in place:
        vocab = start_of(base).old_log_probs.shape[-1]
        data["policy"] = {"kind": "zipf", "vocab": vocab, "contexts": 1, "exponent": place["concentration"]}
    for name in ("batch", "minibatches"):
        if name in place:
            data["update"][name] = int(place[name])
    widths = {"both": (low, high), "low_only": (low, math.inf), "high_only": (1.0, high)}
    data["arm"] = [
        {"name": a, "objective": "none"} if a == "none" else {"name": a, "low": widths[a][0], "high": widths[a][1]} for a in arms
    ]
    case = parse_experiment(data)
    sigma = place.get("step", groups(base)["sigma"] if hold == "sigma" else None)
    return case if sigma is None else _with_sigma(case, sigma)


def phase_map(
    experiment: Experiment,
    x: Axis | AxisName,
    y: Axis | AxisName,
    *,
    points: int = 9,
    arms: Sequence[str] = ("both",),
    hold: Literal["eta", "sigma"] = "eta",
    progress: Callable[[], None] | None = None,
) -> pd.DataFrame:
    """Predict an experiment over a plane: one row per cell and arm, in nats per run. Claims T6, T9, T11.

    Args:
        experiment: one case (no grid) with a random reward. Its arms only give the widths: those of the first one that clips on
            both sides.
        x, y: an Axis, or a name for `points` values over its usual range.
        arms: of none, both, low_only, high_only.
        hold: what stays when the policy, B or K changes: the learning rate, or sigma. A `step` axis sets sigma itself.
        progress: called after each cell.

    Returns: a DataFrame. ix, iy, the two coordinates and arm name the row; `groups` follow; then the forecast: expected_* terms
        and total (expected_measured), gaps, clip fractions; dominance = (|clip_low| + |clip_high|)/|curvature|; inequality: are
        both gaps positive (None where nothing is clipped on a side that the arm clips)? status is "valid"; "outside" where
        conditions under which the prediction was checked are not met: one euclidean sample moves a log-ratio by more than half
        the narrower width; "refused" where T11 does not describe the cell, or the remainder is over a fifth of the causes: then
        there are no numbers. reason says which. measured* and verdict are filled by `verify`.
    Raises: SpecError for a grid, an unknown axis or arm, what `predict` does not cover, or where T11 covers no cell at all.
    """
    import pandas as pd

    multiple = experiment.advantage.size
    x, y = (a if isinstance(a, Axis) else Axis.default(a, points, multiple) for a in (x, y))
    if experiment.grid:
        raise SpecError("map: the experiment has a grid; choose one of its cases by --set.")
    if x.name == y.name:
        raise SpecError(f"map: both axes are {x.name}.")
    if not arms or (unknown := [a for a in arms if a not in ARMS]):
        raise SpecError(f"map: no arm {unknown[0] if arms else ''!r}: choose from {', '.join(ARMS)}.")
    check_covered(experiment.model_copy(update={"arm": ()}))
    refuse_oversize(map_size(experiment, x, y, arms), available_bytes(), f"the map of {experiment.name}", "use fewer points")
    places = [(i, j) for j in range(len(y.values)) for i in range(len(x.values))]

    def one(cell: Cell) -> list[dict[str, Any]]:
        place: dict[str, float] = {x.name: x.values[cell[0]], y.name: y.values[cell[1]]}
        case = case_at(experiment, place, arms, hold)
        key = {"ix": cell[0], "iy": cell[1]} | place
        found = [key | {"arm": a} | groups(case) | row for a, row in _forecast(case).items()]
        if progress is not None:
            progress()
        return found

    rows = [row for cell in in_threads(one, places, 2) for row in cell]
    if all(row["status"] == "refused" for row in rows):
        raise SpecError(str(rows[0]["reason"]))
    frame = pd.DataFrame(rows)
    for name in _MEASURED:
        frame[name] = frame[f"{name}_se"] = math.nan
    frame["measured_sign"] = math.nan
    frame["verdict"] = ""
    frame.attrs = {
        "experiment": experiment.model_dump(exclude_none=True),
        "x": {"name": x.name, "values": x.values},
        "y": {"name": y.name, "values": y.values},
        "hold": hold,
    }
    return frame


def map_size(experiment: Experiment, x: Axis, y: Axis, arms: Sequence[str] = ("both",)) -> Size:
    """Estimate what predicting every cell of a plane takes; each costs at most what the cell of the largest values does."""
    most = case_at(experiment, {axis.name: axis.values[-1] for axis in (x, y)}, arms)
    cells = len(x.values) * len(y.values)
    one = forecast_size(most, PATHS, times=cells)
    return Size({**one.held, f"{cells:,} cells": _CELL * cells * len(arms)}, one.seconds + _SET_UP * cells, one.work)


def _forecast(case: Experiment) -> dict[str, dict[str, Any]]:
    """Return the predicted columns of each arm, or the reason for there being none."""
    names = [arm.name for arm in case.arm]
    try:
        found = predict(case).summary()["arms"]
    except SpecError as error:
        return {n: _refused(str(error)) for n in names}
    out = {}
    for name in names:
        arm = found[name]
        row: dict[str, Any] = {k: math.nan if arm[k] is None else float(arm[k]) for k in _FORECAST}
        causes, left = _causes(row), abs(row["expected_remainder"])
        if not left <= max(MAX_REMAINDER * causes, _FLOOR):
            share = left / causes if causes > 0 else math.inf
            out[name] = _refused(f"the predicted remainder, {left:.2g} nats, is {share:.2g} of the causes: second order fails.")
            continue
        gaps = []
        for side in ("low", "high"):
            if row[f"pi_{side}"] < _LEAST_CLIPPED:
                row[f"gap_{side}"] = math.nan
            if name in ("both", f"{side}_only"):
                gaps.append(row[f"gap_{side}"])
        reasons = list(arm["outside"])
        noise = abs(row["expected_curvature"])
        clips = abs(row["expected_clip_low"]) + abs(row["expected_clip_high"])
        row["dominance"] = clips / noise if noise > 0 else math.inf
        row["inequality"] = None if not gaps or any(map(math.isnan, gaps)) else all(g > 0 for g in gaps)
        out[name] = {"status": "outside" if reasons else "valid", "reason": "; ".join(reasons), **row}
    return out


def _refused(reason: str) -> dict[str, Any]:
    nothing = dict.fromkeys((*_FORECAST, "dominance"), math.nan)
    return {"status": "refused", "reason": reason, **nothing, "inequality": None}


def _causes(row: Any) -> float:
    """Add up the absolute predicted causes and curvature."""
    return float(sum(abs(row[f"expected_{t}"]) for t in TERMS))


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as plain data for JSON: NaN is None."""
    return [
        {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
        for row in frame.astype(object).to_dict(orient="records")
    ]
