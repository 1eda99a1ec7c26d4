"""Every member against every outcome of a minibatch (the exact engine), and against samples."""

from __future__ import annotations

from typing import Any

import pytest

from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.objectives.base import Objective
from entclip.runs.runner import run
from tests.contexts import geometries
from tests.family import members
from tests.parts import apart, assert_beside_theory

MEMBERS = members(0.2, SampledEngine.facts.serves)
# What single members are for: right and wrong answers; rewards whose exact mean is known.
SETTINGS: dict[str, dict[str, Any]] = {
    "gapo": {"reward": {"kind": "bernoulli", "p": 0.3}},
    "cde": {"advantage": {"kind": "independent"}},
}
MOVE = [0.7, -0.5, 0.4, -0.6]  # ratios above and below the bounds of every member


def one_update(geometry: str, objective: Objective, **changes: Any) -> Experiment:
    """One minibatch of two samples from four actions, the policy already away from pi_old."""
    return parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": 4, "exponent": 1.2},
            "perturbation": {"law": "array", "values": MOVE},
            "reward": {"kind": "table", "values": [1.0, 0.0, 0.5, 0.2]},
            "advantage": {"kind": "group", "size": 2},
            "update": {"geometry": geometry, "learning_rate": 0.3, "batch": 2, "minibatches": 1, "rollouts": 1},
            "arm": [{"name": "a", "objective": objective}],
        }
        | changes
    )


@geometries
@pytest.mark.parametrize("name", MEMBERS)
def test_enumeration_agrees_with_theory(name: str, geometry: str) -> None:
    """Each cause is T5's and the curvature T8's to 1e-12 of all terms; another member's theory is seen to be another's."""
    setting = SETTINGS.get(name, {})
    found = run(one_update(geometry, MEMBERS[name], **setting), "exact").summary()["arms"]["a"]
    assert not apart(found, found)
    another = MEMBERS["low_only" if name == "none" else "none"]
    other = run(one_update(geometry, another, **setting), "exact").summary()["arms"]["a"]
    assert apart(found, other), "falsifier"


@pytest.mark.statistical
@geometries
@pytest.mark.parametrize("name", MEMBERS)
def test_samples_agree_with_theory(name: str, geometry: str) -> None:
    """Two updates of 1,024 replicas: every residual within five standard errors, and theory without one cause is rejected."""
    update = {"geometry": geometry, "learning_rate": {"natural": 0.2, "euclidean": 1.5}[geometry], "batch": 16, "minibatches": 2}
    setting = SETTINGS.get(name, {}) | {"replicas": 1024, "update": update | {"rollouts": 1}}
    experiment = one_update(geometry, MEMBERS[name], **setting)
    assert_beside_theory(run(experiment).summary()["arms"]["a"])
