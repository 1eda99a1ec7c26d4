"""Neutral clip widths simulated: no drift at the predicted width, a drift 20 % to either side of it.

    python -m tests.statistics.neutral_points --out docs/data/neutral.json

Drifts are control-variate means (`measured_cv`): measured minus the deviations of the realised causes and curvature from their
expectations along the path. Those have mean 0 given the path (T5, T8; `entclip check` tests it), so that leaving them out changes
the error of the mean and not the mean. Where the raw mean has the smaller standard error it is taken; both are stored. Exit code
1 if a point fails.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.experiments.sections import Arm
from entclip.experiments.start import start_of
from entclip.prediction.neutral import NeutralPoint, neutral_clip
from entclip.runs.runner import run
from entclip.support.files import prepare_folder, to_json, write_atomic

FACTORS = (0.8, 1.0, 1.2)  # of the predicted eps_low
RESOLUTION = 12.0  # standard errors, at least, in the predicted drift 20 % from the point
PILOT = 64  # units
MOST = 100_000
GROUPS = ["advantage.kind=group", "advantage.size=8", "reward.kind=bernoulli", "reward.p=0.5"]
EUCLIDEAN = ["update.geometry=euclidean", "update.batch=256", "update.learning_rate=4.0", "update.minibatches=16"]
# Experiment, overrides, eps_high; nats per rollout to aim at: 0.
CONFIGURATIONS: dict[str, tuple[str, list[str], float]] = {
    "headline, .2": ("headline", [], 0.2),
    "headline, .28": ("headline", [], 0.28),
    "headline, high side off": ("headline", [], math.inf),
    "Zipf(1), .2": ("headline_zipf", [], 0.2),
    "groups of 8, .28": ("headline", [*GROUPS, "update.learning_rate=0.2", "update.rollouts=2"], 0.28),
    "B 1024, K 16, .2": ("headline", ["update.batch=1024", "update.minibatches=16", "update.learning_rate=0.14"], 0.2),
    "euclidean, .1": ("headline", [*EUCLIDEAN, "update.rollouts=1"], 0.1),
}
# No eps_low is neutral: the drift is positive at all of these.
WITHOUT: dict[str, tuple[str, list[str], float]] = {"Zipf(1), high side off": ("headline_zipf", [], math.inf)}
LOWS = (0.05, 0.2, 0.5, 1.0)


def simulated_drifts(experiment: Experiment, lows: tuple[float, ...], high: float) -> list[dict[str, Any]]:
    """Simulated drift per run at each eps_low, nats, with its standard error; control-variate and raw means beside it."""
    arms = tuple(Arm(name=f"x{i}", low=low, high=high) for i, low in enumerate(lows))
    found = run(experiment.model_copy(update={"arm": arms})).summary()["arms"]
    out = []
    for arm, low in zip(arms, lows, strict=True):
        m = found[arm.name]
        best = "measured_cv" if m["measured_cv_se"] <= m["measured_se"] else "measured"
        both = {k: m[k] for k in ("measured_cv", "measured_cv_se", "measured", "measured_se")}
        out.append({"eps_low": low, "drift": m[best], "drift_se": m[f"{best}_se"], "estimator": best} | both)
    return out


def simulate(experiment: Experiment, point: NeutralPoint) -> dict[str, Any]:
    """The drift of a run at the point and 20 % to either side, on the experiment's own contexts.

    Replicas make the standard error at most a twelfth of the drift predicted 20 % away, judged by a pilot run with another seed:
    a neutral width that is off by 5 % has a drift of 3 standard errors.

    Returns: a record with the drifts, their scores z, and `measured_low`, where the line of the predicted slope through the drift
    measured at the point is 0.
    """
    assert point.low is not None
    assert point.slope is not None
    slope = point.slope * experiment.update.rollouts
    pilot = experiment.model_copy(
        update={"policy": experiment.policy.model_copy(update={"contexts": PILOT}), "seed": experiment.seed + 1}
    )
    scatter = simulated_drifts(pilot, (point.low,), point.high)[0]["drift_se"] * math.sqrt(PILOT)
    units = (RESOLUTION * scatter / (0.2 * point.low * slope)) ** 2
    contexts = len(start_of(experiment).old_log_probs)
    replicas = max(1, min(math.ceil(units / contexts), MOST // contexts))
    lows = tuple(f * point.low for f in FACTORS)
    drifts = simulated_drifts(experiment.model_copy(update={"replicas": replicas}), lows, point.high)
    z = [d["drift"] / d["drift_se"] for d in drifts]
    middle = drifts[1]
    return {
        "units": replicas * contexts,
        "predicted_low": point.low,
        "predicted_low_error": point.low_error,
        "measured_low": point.low - middle["drift"] / slope,
        "measured_low_se": middle["drift_se"] / abs(slope),
        "expected_z": 0.2 * point.low * abs(slope) / middle["drift_se"],
        "drifts": drifts,
        "z": z,
        "neutral": abs(z[1]) <= 3,
        "sides": abs(z[0]) > 3 and abs(z[2]) > 3 and z[0] * slope < 0 < z[2] * slope,
    }


def verify(name: str, overrides: list[str], high: float) -> dict[str, Any]:
    """Solve a configuration and simulate its point, or, where there is none, several eps_low."""
    spec = load(name, overrides)
    (point,) = neutral_clip(spec, highs=(high,))
    record = {"experiment": name, "overrides": overrides, "eps_high": high, "outside": list(point.outside)}
    if point.low is None:
        drifts = simulated_drifts(spec, LOWS, high)
        return record | {"predicted_low": None, "drifts": drifts, "z": [d["drift"] / d["drift_se"] for d in drifts]}
    slopes = {"slope": point.slope, "by_high": point.by_high, "by_rate": point.by_rate}
    return record | slopes | simulate(spec, point)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.statistics.neutral_points", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/data/neutral.json"))
    options = parser.parse_args()
    prepare_folder(options.out.parent)
    records = {}
    for label, case in (CONFIGURATIONS | WITHOUT).items():
        records[label] = verify(*case)
        print(label, records[label], flush=True)
        write_atomic(options.out, to_json(records).encode())
    failed = [k for k in CONFIGURATIONS if not (records[k]["predicted_low"] and records[k]["neutral"] and records[k]["sides"])]
    failed += [k for k in WITHOUT if records[k]["predicted_low"] is not None or min(records[k]["z"]) <= 3]
    print(f"failed: {', '.join(failed) or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
