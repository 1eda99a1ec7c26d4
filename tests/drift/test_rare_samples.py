"""The variance that single samples give the curvature of a natural step, against every outcome of minibatches of one sample."""

import math

import numpy as np
import pytest

from entclip.drift.rare_samples import LARGEST, fourth_moment, rare_sample_variance
from entclip.engines.base import Directive
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.tabular.exact import ExactEngine
from entclip.engines.tabular.sampled import SampledEngine
from entclip.engines.tokens.engine import TokensEngine
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import start_of
from entclip.objectives.base import View
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.none import NoClip
from entclip.policies.softmax import entropy, log_softmax
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Bernoulli, Rademacher, TableReward
from tests.tolerances import IDENTITY, assert_identity

OBJECTIVES = {"none": NoClip(), "clip": Clip(0.1, 0.1), "cispo": Cispo(0.1, 0.1)}
REWARDS = {"rademacher": Rademacher(), "bernoulli": Bernoulli(0.1), "table": TableReward((0.0, 0.0, 1.0, 3.0, 1.0))}


def _experiment(reward, objective, **update):
    rewards = {
        "rademacher": {"kind": "rademacher"},
        "bernoulli": {"kind": "bernoulli", "p": 0.1},
        "table": {"kind": "table", "values": [0.0, 0.0, 1.0, 3.0, 1.0]},
    }
    specs = {
        "none": {"kind": "none"},
        "clip": {"kind": "clip", "low": 0.1, "high": 0.1},
        "cispo": {"kind": "cispo", "low": 0.1, "high": 0.1},
    }
    return parse_experiment(
        {
            "policy": {"kind": "dirichlet", "vocab": 5, "contexts": 3},
            "perturbation": {"law": "flat", "rms": 0.3},
            "reward": rewards[reward],
            "update": {"geometry": "natural", "learning_rate": 0.1, "batch": 1, "minibatches": 1, "rollouts": 1} | update,
            "arm": [{"name": "a", "objective": specs[objective]}],
        }
    )


def _variance(experiment, reward, objective):
    start = start_of(experiment)
    log_probs, old = start.log_probs[:, 0], start.old_log_probs[:, 0]
    change = OBJECTIVES[objective].change(View.of(log_probs, old))
    moments, spec = Independent().moments(REWARDS[reward], np.exp(old)), experiment.update
    return rare_sample_variance(
        log_probs, old, entropy(log_probs), fourth_moment(change, moments), learning_rate=spec.learning_rate, batch=spec.batch
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("reward", REWARDS)
def test_it_is_the_mean_square_of_a_single_sample(reward, objective):
    experiment = _experiment(reward, objective)
    engine = ExactEngine()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    _, entry = engine.step(state, rollout, next(iter(rollout)), Directive())
    square = np.bincount(entry.context, entry.weight * entry.columns["curvature"] ** 2)
    assert np.all(square > 0)
    assert_identity(_variance(experiment, reward, objective), square, 16 * square)


def test_of_several_samples_it_is_part_of_the_variance():
    """Products of two samples add to it: two of a flat policy have about twice as much, and never less."""
    experiment = _experiment("rademacher", "none", batch=2)
    engine = ExactEngine()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    _, entry = engine.step(state, rollout, next(iter(rollout)), Directive())
    mean, square = (np.bincount(entry.context, entry.weight * entry.columns["curvature"] ** k) for k in (1, 2))
    single = _variance(experiment, "rademacher", "none") - mean**2 / 2  # of the multinomial, not the Poisson number
    assert np.all(single < square - mean**2)


def test_engines_have_the_same():
    experiment = _experiment("bernoulli", "clip", batch=8)
    want = _variance(experiment, "bernoulli", "clip")
    for engine in (SampledEngine(), ReducedEngine(kernels="numpy"), TokensEngine()):
        state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
        _, entry = engine.step(state, rollout, next(iter(rollout)), Directive())
        assert_identity(entry.columns["_rare_variance"], want, 16 * want)


def test_nodes_stand_for_the_actions_between_them():
    """60,000 actions of Zipf(1), 256 of them tracked: the sum over all is that over nodes."""
    experiment = parse_experiment(
        {
            "policy": {"kind": "zipf", "vocab": 60_000},
            "update": {"geometry": "natural", "learning_rate": 1e-4, "batch": 64, "minibatches": 1, "rollouts": 1},
            "arm": [{"name": "a"}],
        }
    )
    engine = ReducedEngine(kernels="numpy")
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    log_probs = log_softmax(-np.log(np.arange(1.0, 60_001)))[None]
    moments = Independent().moments(experiment.reward, np.exp(log_probs))
    change = NoClip().change(View.of(log_probs, log_probs))
    want = rare_sample_variance(
        log_probs, log_probs, entropy(log_probs), fourth_moment(change, moments), learning_rate=1e-4, batch=64
    )
    assert rollout.rare_variance is not None
    assert state.chunks[0].log_probs.shape[1] < 60_000
    # Nodes carry sums of cubics exactly, which is all that natural steps need; 1/pi_old is one over two nats to 1e-4.
    assert abs(rollout.rare_variance[0] / want[0] - 1) < 1e-3


@pytest.mark.parametrize("depth", [700.0, 1e4])
def test_a_probability_that_float64_cannot_hold_is_the_largest_variance(depth):
    log_probs = log_softmax(np.array([[0.0, -depth]]))
    change = NoClip().change(View.of(log_probs, log_probs))
    moments = Independent().moments(Rademacher(), np.exp(log_probs))
    got = rare_sample_variance(
        log_probs, log_probs, entropy(log_probs), fourth_moment(change, moments), learning_rate=1.0, batch=1
    )
    want = min(LARGEST, math.exp(min(depth, 700.0)) * (depth - 1) ** 2 / 4)
    assert abs(got[0] / want - 1) < 1e3 * IDENTITY["float64"] * depth


def test_a_prefix_that_is_visited_half_the_time_has_eight_times_the_variance():
    """Half as many samples of twice the step: half the events, of sixteen times the square."""
    log_probs = log_softmax(np.array([[0.3, -0.2, -1.0]]))
    change = NoClip().change(View.of(log_probs, log_probs))
    moments = Independent().moments(Rademacher(), np.exp(log_probs))
    of = {"learning_rate": 0.1, "batch": 4}
    whole = rare_sample_variance(log_probs, log_probs, entropy(log_probs), fourth_moment(change, moments), **of)
    half = rare_sample_variance(
        log_probs, log_probs, entropy(log_probs), fourth_moment(change, moments), visits=np.array([0.5]), **of
    )
    assert_identity(half, 8 * whole, 64 * whole)


def of_steps(log_probs, **more):
    change = NoClip().change(View.of(log_probs, log_probs))
    moments = Independent().moments(Rademacher(), np.exp(log_probs))
    of = {"learning_rate": 0.1, "batch": 4} | more
    return rare_sample_variance(log_probs, log_probs, entropy(log_probs), fourth_moment(change, moments), **of)


def test_it_falls_with_the_cube_of_the_batch_and_grows_with_the_fourth_power_of_the_step():
    log_probs = log_softmax(np.array([[0.3, -0.2, -1.0]]))
    one = of_steps(log_probs, batch=1)
    assert_identity(27 * of_steps(log_probs, batch=3), one, 64 * one)
    assert_identity(of_steps(log_probs, batch=1, learning_rate=0.3), 81 * one, 81 * 64 * one)


def test_an_entry_that_stands_for_no_action_adds_nothing():
    log_probs = log_softmax(np.array([[0.3, -0.2, -1.0]]))
    more = np.concatenate([log_probs, [[-9.0]]], axis=-1)  # its own would be the largest by far
    change = NoClip().change(View.of(more, more))
    fourth = fourth_moment(change, Independent().moments(Rademacher(), np.exp(more)))
    of = {"learning_rate": 0.1, "batch": 4}
    got = rare_sample_variance(more, more, entropy(log_probs), fourth, **of, number=np.array([[1.0, 1.0, 1.0, 0.0]]))
    assert_identity(got, of_steps(log_probs), 64 * got)
    twice = rare_sample_variance(more, more, entropy(log_probs), fourth, **of, number=np.array([[2.0, 2.0, 2.0, 0.0]]))
    assert_identity(twice, 2 * got, 64 * twice)


def test_a_context_does_not_hide_another():
    """Their sizes are 1e310 apart: as shares of the largest, the others are no floats."""
    contexts = [log_softmax(np.array(x)) for x in ([0.0, -0.2], [0.0, -700.0], [0.0, -20.0])]
    together = of_steps(np.stack(contexts))
    for got, alone in zip(together, contexts, strict=True):
        assert_identity(got, of_steps(alone), 64 * got)
