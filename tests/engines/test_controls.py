"""Controls copy what their arm did: the share of samples that it removed by sign, or the size of its step; or are refused."""

import numpy as np
import pytest

from entclip import SpecError, run
from entclip.engines.base import Directive
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.arm import ArmLedger
from entclip.objectives.base import View
from entclip.objectives.drop import Keep
from entclip.runs.runner import directive_for
from tests.family import family

OBJECTIVES = family(0.2)
HARD = {"clip", "low_only", "none", "dual_clip", "dppo_tv", "flexible"}


def experiment_of(objective, control=None, **changes):
    data = {
        "policy": {"kind": "dirichlet", "vocab": 8, "contexts": 64, "floor": 0.3},
        "perturbation": {"law": "flat", "rms": 0.5},
        "update": {"geometry": "natural", "learning_rate": 0.1, "batch": 1024, "minibatches": 1, "rollouts": 1},
        "arm": [
            {"name": "like", "objective": objective},
            {"name": "control", "objective": control or {"kind": "none"}, "control": {"kind": "drop", "like": "like"}},
        ],
    }
    return parse_experiment(data | changes)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_drop_is_like_an_objective_that_removes_samples(name):
    if name in HARD:
        experiment_of(OBJECTIVES[name])
        return
    with pytest.raises(SpecError, match=r"arm control: control.kind = \"drop\" .* removes none whole.*match_kl"):
        experiment_of(OBJECTIVES[name])


@pytest.mark.parametrize("name", sorted(HARD))
def test_the_control_removes_what_was_removed_of_each_sign(name):
    """Whatever removed it: a dual clip removes samples of A < 0 beyond its cap, too, which no side counts."""
    experiment = experiment_of(OBJECTIVES[name])
    engine, books = SampledEngine(), ArmLedger("", "like", experiment)
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    minibatch = next(iter(rollout))
    sums = engine._sums(state, rollout, minibatch, slice(None), 0, False, Directive())
    _, entry = engine.step(state, rollout, minibatch, Directive())
    books.append(entry, state)
    keep = directive_for(experiment.arm[1], {"like": books}, 0).keep
    log_probs, old = state.log_probs[:, 0], state.old_log_probs[:, 0]
    gains, ratio = experiment.arm[0].build().change(View.of(log_probs, old)).gains, np.exp(log_probs - old)
    up, down = gains.plus == 0, gains.minus == 0
    if name in ("clip", "dual_clip"):
        given = OBJECTIVES[name]
        assert np.array_equal(up, ratio > 1 + given["high"])
        assert np.array_equal(down, (ratio < 1 - given["low"]) | (ratio > given.get("cap", np.inf)))
    want = Keep(*(1 - np.sum(n * gone) / np.sum(n) for n, gone in ((sums.n_plus, up), (sums.n_minus, down))))
    assert keep == pytest.approx(want, rel=1e-12)
    assert name == "none" or min(keep) < 0.95


@pytest.mark.statistical
@pytest.mark.parametrize("control", ["none", "clip", "dual_clip", "cispo", "sapo"])
def test_a_control_is_judged_by_what_theory_says_of_its_survivors(control):
    """At every seed, clips of its own included: these were rejected where the control's own clip removed survivors."""
    for seed in range(4):
        like = {"kind": "clip", "low": 0.2, "high": 0.2}
        spec = experiment_of(like, OBJECTIVES[control], seed=seed, replicas=4)
        arm = run(spec).summary()["arms"]["control"]
        assert arm["verdict"] != "reject", arm
        assert arm["verdict_curvature"] == "agree", "survivors are fewer, and their noise is judged"


def test_a_drop_in_groups_of_two_is_one():
    """Groups of two with a weight that CISPO only bounds ended in a negative chance of survival, and a rejected theory."""
    like = {"kind": "cispo", "low": 0.0, "high": float("inf")}
    update = {"geometry": "euclidean", "learning_rate": 0.01, "batch": 64, "minibatches": 2, "rollouts": 1}
    with pytest.raises(SpecError, match="removes none whole"):
        experiment_of(like, OBJECTIVES["dppo_tv"], advantage={"kind": "group", "size": 2}, update=update)
