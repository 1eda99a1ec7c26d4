"""Members with more than a ratio to look at, against every outcome of a minibatch (the exact engine) and against samples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entclip.drift.expected import expected_entropy_drift
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.experiments.start import start_of
from entclip.ledger.columns import PARTS
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.clip import Clip
from entclip.objectives.flexible import Flexible
from entclip.policies.softmax import SoftmaxPolicy
from entclip.runs.runner import run
from tests.tolerances import SIGMAS

geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])
GROUPS = {"reward": {"kind": "bernoulli", "p": 0.3}, "advantage": {"kind": "group", "size": 2}}
TABLE = {"reward": {"kind": "table", "values": [1.0, 0.0, 0.5, 0.2]}, "advantage": {"kind": "group", "size": 2, "scale": "std"}}
settings = pytest.mark.parametrize("setting", [GROUPS, TABLE], ids=["groups", "table"])
MOVE = [0.3, -0.25, 0.15, -0.25]  # ratios 1.21, .70, 1.04, .70 of probabilities .58, .17, .17, .08
# At pi = 0 no action is beyond a bound; with the slopes the likely ones are, .70 at .17 and not at .08 among them.
FLEXIBLE = Flexible(0.34, 0.3, -0.33, -0.25)


def one_update(geometry: str, setting: dict[str, Any], objective: Objective, **changes: Any) -> Experiment:
    """One minibatch of two samples from four actions, the policy already away from pi_old."""
    return parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": 4},
            "perturbation": {"law": "array", "values": MOVE},
            "update": {"geometry": geometry, "learning_rate": 0.3, "batch": 2, "minibatches": 1, "rollouts": 1},
            "arm": [{"name": "a", "objective": objective}],
        }
        | setting
        | changes
    )


def theory(experiment: Experiment, objective: Objective) -> dict[str, float]:
    """T5 and T8 of that update under an objective of the caller's choice."""
    start, update = start_of(experiment), experiment.update
    terms = expected_entropy_drift(
        SoftmaxPolicy(start.log_probs[:, 0]), Clip(), experiment.reward, old_policy=SoftmaxPolicy(start.old_log_probs[:, 0]),
        learning_rate=update.learning_rate, geometry=update.geometry, advantage=experiment.advantage, objective=objective,
        order=2, batch=update.batch,
    )  # fmt: skip
    return {part: float(np.mean(getattr(terms, part))) for part in PARTS}


def differing(found: dict[str, Any], expected: dict[str, float]) -> set[str]:
    """Parts that are over 1e-12 of all terms apart."""
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    return {part for part in PARTS if abs(found[part] - expected[part]) > room}


class OldProbability(Flexible):
    """A wrong member: widths by pi_old."""

    def change(self, view: View) -> Change:
        return super().change(replace(view, log_probs=np.log(view.old_probs)))


WRONG_FLEXIBLE = {
    "no slopes": Clip(0.34, 0.3),
    "no slope below": Flexible(0.34, 0.3, 0.0, -0.25),
    "no slope above": Flexible(0.34, 0.3, -0.33, 0.0),
    "sides swapped": Flexible(0.3, 0.34, -0.25, -0.33),
    "pi_old": OldProbability(0.34, 0.3, -0.33, -0.25),
}


@geometries
@settings
def test_flexible_bounds_against_every_outcome(setting: dict[str, Any], geometry: str) -> None:
    """Each cause is T5's and the curvature T8's to 1e-12; a wrong width would be seen."""
    experiment = one_update(geometry, setting, FLEXIBLE)
    found = run(experiment, "exact").summary()["arms"]["a"]
    assert differing(found, {part: found[f"expected_{part}"] for part in PARTS}) == set()
    assert differing(found, theory(experiment, FLEXIBLE)) == set()
    assert min(abs(found[part]) for part in ("clip_low", "clip_high", "curvature")) > 1e-4, "the test must have something to see"
    for name, wrong in WRONG_FLEXIBLE.items():
        assert differing(found, theory(experiment, wrong)) & {"clip_low", "clip_high"}, name
    flat = {part: 0.0 if part == "curvature" else found[part] for part in PARTS}
    assert differing(found, flat) == {"curvature"}


@pytest.mark.statistical
@geometries
def test_flexible_bounds_on_samples(geometry: str) -> None:
    """Means of the sampled engine over 4,096 replicas, three updates of two rollouts: within five standard errors of theory."""
    rate = {"natural": 0.5, "euclidean": 4.0}[geometry]
    update = {"geometry": geometry, "learning_rate": rate, "batch": 32, "minibatches": 3, "rollouts": 2}
    spec = {"policy": {"kind": "zipf", "vocab": 8}, "replicas": 4096, "update": update, "perturbation": None}
    low = {"kind": "flexible", "low": 0.05, "high": 0.1, "low_slope": -0.05, "high_slope": -0.1}
    found = run(one_update(geometry, GROUPS, FLEXIBLE, **spec, arm=[{"name": "a", "objective": low}])).summary()["arms"]["a"]
    for part in ("clip_low", "clip_high", "curvature"):
        residual, se = found[part] - found[f"expected_{part}"], found[f"residual_{part}_se"]
        assert abs(residual) <= SIGMAS * se, part
        assert abs(found[f"expected_{part}"]) > 2 * SIGMAS * se, "falsifier: a part left out would be seen"


def test_flexible_limits() -> None:
    for wrong, message in (
        ({"low": 1.2}, r"clip\.low must be in \[0, 1\], got 1\.2"),
        ({"low": 0.3, "low_slope": -0.4}, r"flexible\.low_slope = -0\.4 makes the low width -0\.1 at pi = 1"),
        ({"low": 0.3, "low_slope": 0.8}, r"flexible\.low_slope = 0\.8 makes the low width 1\.1 at pi = 1"),
        ({"high": 0.1, "high_slope": -0.2}, r"flexible\.high_slope = -0\.2 makes the high width -0\.1 at pi = 1"),
        ({"high_slope": float("nan")}, "high_slope"),
    ):
        with pytest.raises(ValueError, match=message):
            Flexible(**wrong)
    assert Flexible(1.0, float("inf"), 0.0, 0.0).width == float("inf")
