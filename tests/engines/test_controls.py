"""Controls copy what their arm did: the share of samples that it removed by sign, or the size of its step; or are refused."""

import dataclasses

import numpy as np
import pytest

from entclip import SpecError, run
from entclip.engines.base import Directive
from entclip.engines.minibatches import take_moments
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.samples import Samples
from entclip.engines.tabular.exact import ExactEngine
from entclip.engines.tabular.sampled import SampledEngine
from entclip.engines.tabular.table import matched_rate
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.arm import ArmLedger
from entclip.objectives.base import Keep, View
from entclip.runs.runner import directive_for
from tests.family import family, members
from tests.tolerances import IDENTITY, assert_unit_means

OBJECTIVES = family(0.2)
HARD = {name for name, member in members(0.2).items() if member.hard}


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
    sums = engine._sums(state, rollout, minibatch, slice(None), 0, False, None)
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


TOKENS = {"kind": "dirichlet", "vocab": 4, "contexts": 2}
SEQUENCES = {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 2}
TABLE = {"kind": "table", "values": [0.0, 1.0, 1.0, 3.0]}
REWARDS = {"random": {"kind": "bernoulli", "p": 0.3}, "table": TABLE}
ADVANTAGES = {"independent": {"kind": "independent"}, "groups": {"kind": "group", "size": 2, "scale": "std"}}


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("advantage", ADVANTAGES)
@pytest.mark.parametrize("policy", [TOKENS, SEQUENCES], ids=["tokens", "sequences"])
@pytest.mark.parametrize("objective", ["none", "clip"])
def test_the_matched_rate_is_that_of_every_outcome(policy, advantage, reward, geometry, objective):
    """E Var_pi(step) over all outcomes and prefixes, weighted as the ledger weighs them, is linear in the squared rate.

    Of the second minibatch, when the policies differ, and of contexts of unequal weight.
    """
    spec = parse_experiment(
        {
            "policy": policy,
            "weights": [0.5, 1.5],
            "reward": REWARDS[reward],
            "advantage": ADVANTAGES[advantage],
            "update": {"geometry": geometry, "learning_rate": 0.3, "batch": 2, "minibatches": 2, "rollouts": 1},
            "arm": [{"name": "a", "objective": OBJECTIVES[objective]}],
        }
    )
    engine = ExactEngine()
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    first, second = rollout
    state, _ = engine.step(state, rollout, first, Directive())
    _, entry = engine.step(state, rollout, second, Directive())
    realised = float(entry.weight @ entry.columns["step_variance"] / entry.weight.sum())
    own = dataclasses.replace(
        rollout, old_sequence_probs=rollout.old_sequence_probs[state.origin], moments=take_moments(rollout.moments, state.origin)
    )
    rate = matched_rate(state, own, realised, [slice(0, len(state.weight))])
    assert rate == pytest.approx(0.3, rel=1e3 * IDENTITY["float64"])


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("advantage", ADVANTAGES)
@pytest.mark.parametrize("name", ["reduced", "tokens"])
def test_engines_match_the_same_rate(name, advantage, reward, geometry):
    """The rate that one update of the control takes, read off its step's variance: groups and weighted contexts included."""
    spec = parse_experiment(
        {
            "policy": {"kind": "dirichlet", "vocab": 4, "contexts": 2},
            "perturbation": {"law": "flat", "rms": 0.4},
            "weights": [0.5, 1.5],
            "reward": REWARDS[reward],
            "advantage": ADVANTAGES[advantage],
            "update": {"geometry": geometry, "learning_rate": 0.3, "batch": 8, "minibatches": 1, "rollouts": 1},
            "arm": [{"name": "a", "objective": OBJECTIVES["clip"]}],
        }
    )
    rng = np.random.default_rng(2)
    samples = Samples(rng.integers(0, 4, (2, 8)), rng.normal(size=(2, 8)))

    def variance(engine):
        state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
        minibatch = dataclasses.replace(next(iter(rollout)), samples=samples)
        _, entry = engine.step(state, rollout, minibatch, Directive(step_variance=1e-3))
        return entry.columns["step_variance"]

    other = ReducedEngine(kernels="numpy") if name == "reduced" else TokensEngine()
    np.testing.assert_allclose(variance(other), variance(SampledEngine()), rtol=1e3 * IDENTITY["float64"])


@pytest.mark.statistical
@pytest.mark.parametrize("reward", REWARDS)
def test_a_matched_control_of_sequences_takes_steps_of_that_size(reward):
    """All prefixes count, by how often they are visited: with the first one alone the steps were .53 and 4.3 times as large."""
    update = {"geometry": "euclidean", "learning_rate": 2.0, "batch": 64, "minibatches": 4, "rollouts": 1}
    spec = parse_experiment(
        {
            "replicas": 400,
            "policy": {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 4},
            "reward": REWARDS[reward],
            "update": update,
            "ledger": {"detail": "context"},
            "arm": [
                {"name": "both", "low": 0.1, "high": 0.1},
                {"name": "matched", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
            ],
        }
    )
    ledger = run(spec)
    frame, units = ledger.to_frame(), ledger.to_frame("contexts")
    target = frame[frame["arm"] == "both"].set_index("step")["step_variance"]
    matched = units[units["arm"] == "matched"]
    assert_unit_means(matched, "step_variance", target)
    for wrong in (0.53, 4.3):
        with pytest.raises(AssertionError):
            assert_unit_means(matched, "step_variance", wrong * target)


def test_natural_steps_of_sequences_with_a_table_of_rewards_run():
    """The run of the report, which ended in a message about broadcasting: every part lies beside its expectation.

    Five standard errors of means over 16 units (4 replicas of 4 contexts), three parts of two arms.
    """
    spec = parse_experiment(
        {
            "replicas": 4,
            "policy": {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 4},
            "reward": {"kind": "table", "values": [0.0, 1.0, 0.0, 1.0]},
            "update": {"geometry": "natural", "batch": 64, "minibatches": 4, "rollouts": 1},
            "arm": [
                {"name": "both", "low": 0.2, "high": 0.2},
                {"name": "kl", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
            ],
        }
    )
    for arm in run(spec).summary()["arms"].values():
        for part in ("unclipped", "clip_low", "curvature"):
            assert abs(arm[part] - arm[f"expected_{part}"]) <= 5 * arm[f"{part}_se"], part
