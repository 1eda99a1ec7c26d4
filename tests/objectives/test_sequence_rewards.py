"""Sequences with a reward to learn: what a token's advantage is depends on all tokens of its sequence. T5, T8, T16."""

from __future__ import annotations

from typing import Any

import pytest

from entclip.engines.serving import SEQUENCES, serves
from entclip.engines.tabular.facts import EXACT
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.objectives.base import Objective
from entclip.runs.runner import run
from tests.contexts import geometries
from tests.family import members
from tests.parts import apart, assert_beside_theory

MEMBERS = {name: o for name, o in members(0.1, EXACT.serves).items() if serves(EXACT, o, SEQUENCES) and name != "gapo"}
GROUPS = {"kind": "group", "size": 2}
REWARDS = [1.0, 0.0, 0.4, 1.0]  # of the sequences 00, 01, 10, 11: the worth of a token goes by the other


def on_sequences(member: Objective, geometry: str, **changes: Any) -> Experiment:
    """One minibatch of two sequences of two tokens, the policy already away from pi_old."""
    update = {"geometry": geometry, "learning_rate": 0.4, "batch": 2, "minibatches": 1, "rollouts": 1} | changes.pop("update", {})
    spec = {
        "policy": {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 2},
        "perturbation": {"law": "flat", "rms": 0.3},
        "reward": {"kind": "table", "values": REWARDS},
        "advantage": GROUPS,
        "update": update,
        "arm": [{"name": "a", "objective": member}],
    }
    return parse_experiment(spec | changes)


@geometries
@pytest.mark.parametrize("name", MEMBERS)
def test_every_outcome_is_the_theory(name: str, geometry: str) -> None:
    """Each cause is T5's and the curvature T8's to 1e-12, groups coupled; the same rewards in another order are not."""
    found = run(on_sequences(MEMBERS[name], geometry), "exact").summary()["arms"]["a"]
    assert not apart(found, found)
    other = on_sequences(MEMBERS[name], geometry, reward={"kind": "table", "values": [0.0, 1.0, 1.0, 0.4]})
    assert apart(found, run(other, "exact").summary()["arms"]["a"]), "falsifier"


@geometries
@pytest.mark.parametrize("name", ["clip", "gspo"])
def test_every_outcome_of_several_updates_of_independent_samples(name: str, geometry: str) -> None:
    changes: dict[str, Any] = {"advantage": {"kind": "independent"}, "update": {"minibatches": 2, "rollouts": 2}}
    found = run(on_sequences(MEMBERS[name], geometry, perturbation=None, **changes), "exact").summary()["arms"]["a"]
    assert not apart(found, found)
    assert abs(found["unclipped"]) > 1e-3


@pytest.mark.statistical
@geometries
@pytest.mark.parametrize("name", ["clip", "gspo"])
def test_samples_of_longer_sequences(name: str, geometry: str) -> None:
    """Three tokens, 512 replicas: every residual within five standard errors of theory along the path."""
    policy = {"kind": "autoregressive", "vocab": 3, "length": 3}
    reward = {"kind": "table", "values": [float(k % 5 == 0) for k in range(27)]}
    update = {"batch": 32, "minibatches": 3, "learning_rate": {"natural": 0.5, "euclidean": 6.0}[geometry]}
    spec = on_sequences(MEMBERS[name], geometry, policy=policy, reward=reward, replicas=512, perturbation=None, update=update)
    assert_beside_theory(run(spec).summary()["arms"]["a"])
