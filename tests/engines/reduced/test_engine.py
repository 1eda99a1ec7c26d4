"""The reduced engine is the dense simulation: every column, step by step, on the same samples."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from entclip import run
from entclip.engines.base import Directive
from entclip.engines.reduced import update as books
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.samples import Samples
from entclip.engines.tabular.sampled import SampledEngine
from entclip.ledger.arm import ArmLedger
from entclip.ledger.by_sign import SIGNS
from entclip.objectives.base import Keep
from tests.engines.reduced.comparison import ADAM, experiment_of, follow
from tests.family import family
from tests.tolerances import IDENTITY


def draw(rng, experiment, probs, batch):
    """Samples of dense probabilities (U, V) with the experiment's advantages."""
    actions = np.stack([rng.choice(probs.shape[1], size=batch, p=p / p.sum()) for p in probs])
    reward = experiment.reward
    if reward.kind == "gaussian":
        values = rng.normal(reward.mean, reward.std, actions.shape)
    elif reward.kind == "table":
        values = np.asarray(reward.values)[actions]
    else:
        values = rng.choice(reward.levels, size=actions.shape, p=reward.level_probs[0])
    size = experiment.advantage.size
    if size > 1:
        return Samples(actions, experiment.advantage.of_rewards(values.reshape(len(probs), -1, size)).reshape(actions.shape))
    return Samples(actions, values - values.mean(axis=1, keepdims=True))


def compare(experiment, engine=None, keep=None):
    """Run both engines on the same samples: largest difference by column, in units of its tolerance."""
    dense, engine = SampledEngine(), engine or ReducedEngine(tracked=8, whole=8)
    arm, spec = experiment.arm[0], experiment.update
    a, b = engine.start(experiment, arm.build()), dense.start(experiment, arm.build())
    rng, ledger, worst, steps = np.random.default_rng(7), ArmLedger("", arm.name, experiment), {}, 0
    for _ in range(spec.rollouts):
        (a, mine), (b, theirs) = engine.roll_out(a), dense.roll_out(b)
        before = engine.observe(a)
        np.testing.assert_allclose(before["entropy"], dense.observe(b)["entropy"], rtol=1e-12)
        for x, y in zip(mine, theirs, strict=True):
            samples = draw(rng, experiment, theirs.old_sequence_probs, spec.batch)
            if keep is not None:
                lost = rng.random(samples.actions.shape) > np.where(samples.advantages > 0, keep.plus, keep.minus)
                samples = Samples(samples.actions, np.where(lost, 0.0, samples.advantages))
            origin, steps = a, steps + 1
            a, entry = engine.step(a, mine, dataclasses.replace(x, samples=samples), Directive(keep=keep))
            b, want = dense.step(b, theirs, dataclasses.replace(y, samples=samples), Directive(keep=keep))
            ledger.append(entry, origin)
            assert set(entry.columns) == set(want.columns) - set(SIGNS)
            for name in set(entry.columns) - {"_scale"}:  # sums of absolute values have kinks; it only scales rounding
                value, other = entry.columns[name], want.columns[name]
                # Each update adds the rounding of its sums to the policy that the next one starts from.
                tolerance = IDENTITY["float64"] * steps * (1 + want.columns["entropy_before"] + np.abs(other))
                if name == "_rare_variance":
                    # The square of a standard error, made of pi^-3, which the few nodes of natural steps do not sum exactly: a
                    # twentieth of it is a fortieth of the error that verdicts are judged by. A snapshot's tail spans so many
                    # orders of pi that its nodes see next to nothing of it: then the error that was seen judges alone.
                    snapshot = experiment.policy.kind == "snapshot"
                    tolerance = np.where(snapshot & (value < other), np.inf, 0.05 * np.abs(other))
                worst[name] = max(worst.get(name, 0.0), float(np.max(np.abs(value - other) / tolerance)))
        ledger.end_rollout(a, before, engine.observe(a))
        a.rollout, b.rollout = a.rollout + 1, b.rollout + 1
    return worst


@pytest.mark.parametrize(("geometry", "name"), list(itertools.product(["natural", "euclidean"], family(0.02))))
def test_every_column_is_the_dense_one(geometry, name):
    rate = 0.01 if geometry == "natural" else 3.0
    worst = compare(experiment_of(arm={"objective": family(0.02)[name]}, update={"geometry": geometry, "learning_rate": rate}))
    assert max(worst.values()) < 1, {k: v for k, v in worst.items() if v > 0.1}


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    "changes",
    [
        {"advantage": {"kind": "independent"}},
        {"reward": {"kind": "gaussian"}, "advantage": {"kind": "group", "size": 8, "scale": "std", "eps": 0.1}},
        {"weights": [0.5, 1.0, 1.5]},
        {"policy": {"kind": "normal_logits", "vocab": 400, "contexts": 3, "sd": 1.5}},
        {"policy": {"kind": "uniform", "vocab": 300, "contexts": 2}},
        {"policy": {"kind": "peaked", "vocab": 300, "logit": 4.0, "contexts": 2}},
        {"policy": {"kind": "peaked", "vocab": 300, "logit": -3.0, "contexts": 2}},
        {"policy": {"kind": "zipf", "vocab": 300, "exponent": -0.8}},
        {"policy": {"kind": "zipf", "vocab": 300, "exponent": 0.0}},
        {"policy": {"kind": "dirichlet", "vocab": 60}, "reward": {"kind": "table", "values": [1.0, 0.0, 0.5] * 20}},
        {
            "policy": {"kind": "dirichlet", "vocab": 60, "contexts": 3},
            "perturbation": {"law": "sqrt", "rms": 0.3},
            "update": {"rollouts": 1},
        },
        {"policy": {"kind": "snapshot", "contexts": 2}, "update": {"minibatches": 2}, "replicas": 1},
    ],
)
def test_every_law_reward_and_advantage(geometry, changes):
    update = {"geometry": geometry, "learning_rate": 0.01 if geometry == "natural" else 3.0} | changes.get("update", {})
    # A language model's rarest tokens would take over in one natural step.
    if geometry == "natural" and changes.get("policy", {}).get("kind") == "snapshot":
        update["learning_rate"] = 1e-9
    worst = compare(experiment_of(**{"arm": {"low": 0.02, "high": 0.03}} | changes | {"update": update}))
    assert max(worst.values()) < 1, {k: v for k, v in worst.items() if v > 0.1}


def test_random_drop_is_the_dense_one():
    worst = compare(experiment_of(arm={"objective": "none"}), keep=Keep(0.7, 0.4))
    assert max(worst.values()) < 1, worst


TIGHT = [{"objective": family(0.0002)[name]} for name in ("clip", "ce_gppo", "dppo_tv", "dual_clip")]


@pytest.mark.parametrize("arm", TIGHT)
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_bounds_that_cut_through_the_unsampled_actions(geometry, arm, monkeypatch):
    """Clip widths so small that a bound lies between two unsampled actions: the sums are still those over actions."""
    seen, cut = [], books.cut
    monkeypatch.setattr(books, "cut", lambda *args: seen.append(1) or cut(*args))
    policy = {"kind": "normal_logits", "vocab": 700, "contexts": 3, "sd": 1.0}
    update = {"geometry": geometry, "learning_rate": 0.02 if geometry == "natural" else 6.0, "minibatches": 4}
    worst = compare(experiment_of(policy, arm, update=update, replicas=3))
    assert max(worst.values()) < 1, {k: v for k, v in worst.items() if v > 0.1}
    # Natural steps leave unsampled ratios equal: only a bound on probability differences can part them.
    assert bool(seen) == (geometry == "euclidean" or "dppo" in str(arm))


NORMAL = {"kind": "normal_logits", "vocab": 5000, "sd": 2.0}


@pytest.mark.parametrize("policy", [NORMAL, {"kind": "zipf", "vocab": 5000}], ids=["normal", "zipf"])
@pytest.mark.parametrize(
    "update",
    [
        ADAM,
        ADAM | {"betas": [0.5, 0.9], "eps": 1e-4},
        ADAM | {"optimizer": "adamw", "weight_decay": 0.1},
        ADAM | {"weight_decay": 0.001},
    ],
)
def test_adam_is_the_dense_adam(policy, update):
    """Entropies to 1e-11, the causes with momentum and decay add up (the ledger checks them), and no expectation is made up."""
    experiment = experiment_of(policy, {"low": 0.02, "high": 0.02}, update=update | {"minibatches": 8, "rollouts": 3})
    worst, entries = follow(experiment, ReducedEngine())
    assert worst < 1e-11
    columns = entries[-1].columns
    assert np.all(columns["momentum"] != 0)
    assert not any(name.startswith("expected_") for name in columns)
    assert ("weight_decay" in columns) == ("weight_decay" in update)


@pytest.mark.slow
@pytest.mark.parametrize("update", [{"learning_rate": 20.0}, ADAM], ids=["euclidean", "adam"])
@pytest.mark.parametrize(
    "policy", [{"kind": "normal_logits", "vocab": 50_000, "sd": 2.0}, {"kind": "zipf", "vocab": 151_936}], ids=["50k", "152k"]
)
def test_thirty_rollouts_at_a_language_models_size(policy, update):
    experiment = experiment_of(
        policy, {"low": 0.2, "high": 0.2}, replicas=1, update=update | {"batch": 16, "minibatches": 4, "rollouts": 30}
    )
    assert follow(experiment, ReducedEngine())[0] < 1e-10


def test_a_billion_actions_run_and_agree_with_the_theory():
    experiment = experiment_of({"kind": "zipf", "vocab": 10**9}, {"low": 0.1, "high": 0.1}, replicas=40, update={"batch": 16})
    arm = run(experiment, "reduced").summary()["arms"]["a"]
    assert arm["verdict"] != "reject"
    # H of Zipf(1) is log Z + (1/Z) sum log(a)/a; the sums to 1e9 by Euler-Maclaurin with Stieltjes' constants.
    log_v, z = np.log(1e9), np.log(1e9) + 0.5772156649015329 + 0.5e-9
    tail = log_v**2 / 2 - 0.0728158454836767 + log_v / 2e9
    assert abs(arm["entropy_start"] - (np.log(z) + tail / z)) < 1e-12
