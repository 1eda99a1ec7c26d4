"""T12: neutral clip widths solved and simulated. `python -m tests.statistics.neutral_points` does more configurations."""

from __future__ import annotations

import dataclasses
import math

import pytest

from entclip.experiments.experiment import Experiment
from entclip.experiments.load import load
from entclip.experiments.sections import Arm
from entclip.prediction.meanfield import predict
from entclip.prediction.meanfield.forecast import PATHS
from entclip.prediction.neutral import STANDARD, NeutralPoint, neutral_clip
from entclip.support.errors import SpecError
from tests.statistics.neutral_points import GROUPS, simulate, simulated_drifts

# A quarter of the headline's updates, at about its noise: quick to predict and to simulate.
SHORT = ["policy.contexts=256", "update.batch=1024", "update.minibatches=16", "update.learning_rate=0.14", "update.rollouts=1"]
SMALL = ["policy.contexts=1", "update.minibatches=8", "update.learning_rate=1.0"]


def experiment(name: str) -> Experiment:
    if name == "groups":
        return load("headline", [*SHORT, *GROUPS, "update.learning_rate=0.28", "update.rollouts=2"])
    return load("headline", SHORT)


@pytest.fixture(scope="module")
def points() -> dict[str, NeutralPoint]:
    return {n: neutral_clip(experiment(n), highs=(h,))[0] for n, h in (("independent", 0.2), ("groups", 0.28))}


@pytest.mark.statistical
@pytest.mark.parametrize("name", ["independent", "groups"])
def test_neutral_widths_are_neutral_when_simulated(name: str, points: dict[str, NeutralPoint]) -> None:
    """At the solution the simulated drift is 0 within 3 standard errors; 20 % to either side it is not, with the right signs."""
    found = simulate(experiment(name), points[name])
    assert points[name].outside == ()
    assert found["neutral"], found
    assert found["sides"], found
    assert found["expected_z"] > 6


@pytest.mark.statistical
def test_a_wrong_width_is_not_neutral(points: dict[str, NeutralPoint]) -> None:
    """Falsifier: the same check must reject a width 20 % off, and a slope of the other sign."""
    right = points["independent"]
    assert right.low is not None
    assert right.slope is not None
    assert not simulate(experiment("independent"), dataclasses.replace(right, low=1.2 * right.low))["neutral"]
    assert not simulate(experiment("independent"), dataclasses.replace(right, slope=-right.slope))["sides"]


def test_the_slopes_are_those_of_the_curve(points: dict[str, NeutralPoint]) -> None:
    """by_high and by_rate against the widths solved at another eps_high and another learning rate; second order in the change."""
    here, spec = points["independent"], experiment("independent")
    assert here.low is not None
    assert here.by_high is not None
    assert here.by_rate is not None
    (wider,) = neutral_clip(spec, highs=(0.22,))
    faster = spec.model_copy(update={"update": spec.update.model_copy(update={"learning_rate": 1.1 * spec.update.learning_rate})})
    (quicker,) = neutral_clip(faster, highs=(0.2,))
    assert wider.low is not None
    assert quicker.low is not None
    # The second differences of the curve are below .1 of the change in log eps_high or log eta; the solver is good to 1e-4.
    assert abs(wider.low - here.low - 0.02 * here.by_high) < 0.1 * 0.1**2 + 3e-4
    assert abs(quicker.low - here.low - math.log(1.1) * here.by_rate) < 0.1 * 0.1**2 + 3e-4


def test_a_usual_width_has_its_drift(points: dict[str, NeutralPoint]) -> None:
    """The drift at the usual eps_low has the sign that the neutral width implies."""
    here = points["independent"]
    assert here.low is not None
    assert here.usual == STANDARD[0.2]
    assert here.drift_usual is not None
    assert (here.drift_usual < 0) == (here.usual > here.low)
    (other,) = neutral_clip(experiment("independent"), target=here.drift_usual, highs=(0.2,))
    assert other.low is not None
    assert abs(other.low - here.usual) < 1e-3


def test_a_euclidean_width_is_neutral_along_more_paths() -> None:
    """The last step of the root takes eight times the usual paths, and low_error is theirs; the usual ones are further off."""
    spec = load("headline_zipf", [*SHORT, "update.geometry=euclidean", "policy.vocab=16", "update.batch=64", *SMALL])
    (point,) = neutral_clip(spec, highs=(0.1,))
    assert point.low is not None
    assert point.slope is not None
    assert point.low_error is not None
    here = spec.model_copy(update={"arm": (Arm(name="x", low=point.low, high=0.1),)})
    fine, usual = (predict(here, paths=n).summary()["arms"]["x"] for n in (8 * PATHS, PATHS))
    assert math.isclose(point.low_error, fine["discretisation"] / abs(point.slope), rel_tol=0.1)
    # One secant step leaves its length times the relative error of the slope, a forward difference of a curve that bends.
    left, length = (abs(x["expected_measured"] / point.slope) for x in (fine, usual))
    assert left < min(length / 2, point.low_error)


@pytest.mark.statistical
def test_no_neutral_width_is_reported_as_none() -> None:
    """Zipf(1), high side off: noise alone raises entropy, so every eps_low does; simulated at three of them."""
    spec = load("headline_zipf", [*SHORT, "policy.contexts=512"])
    (point,) = neutral_clip(spec, highs=(math.inf,))
    assert point.low is point.slope is point.by_high is point.by_rate is None
    assert point.drift_off > 0
    assert all(d["drift"] > 3 * d["drift_se"] for d in simulated_drifts(spec, (0.1, 0.4, 1.0), math.inf))


def test_what_cannot_be_solved_is_refused() -> None:
    spec = experiment("independent")
    with pytest.raises(SpecError, match="grid"):
        neutral_clip(load("sign_map"))
    with pytest.raises(SpecError, match="target must be finite"):
        neutral_clip(spec, target=math.nan)
    with pytest.raises(SpecError, match="must be at least 0"):
        neutral_clip(spec, highs=(-0.1,))
