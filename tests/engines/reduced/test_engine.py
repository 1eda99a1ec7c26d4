"""The reduced engine is the dense simulation: every column, step by step, on the same samples."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from entclip import SpecError, load, run
from entclip.engines.base import Directive
from entclip.engines.reduced import engine as reduced
from entclip.engines.reduced import state as state_module
from entclip.engines.reduced import update as books
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.reduced.minibatch import samples_of
from entclip.engines.reduced.state import places
from entclip.engines.samples import Samples, Sums
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.sections import LedgerSpec
from entclip.experiments.start import start_of
from entclip.ledger.arm import ArmLedger, IdentityError
from entclip.objectives.base import Keep
from tests.family import family
from tests.tolerances import IDENTITY, assert_unit_means

ZIPF = {"kind": "zipf", "vocab": 500, "contexts": 3}
GROUP = {"kind": "group", "size": 4}
UPDATE = {"geometry": "euclidean", "learning_rate": 3.0, "batch": 32, "minibatches": 3, "rollouts": 2}


def _experiment(policy=ZIPF, arm=None, **changes):
    changes["update"] = UPDATE | changes.get("update", {})
    defaults = {"reward": {"kind": "bernoulli", "p": 0.4}, "advantage": GROUP, "replicas": 2}
    return parse_experiment(defaults | {"policy": policy, "arm": [{"name": "a"} | (arm or {})]} | changes)


def _draw(rng, experiment, probs, batch):
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


def _compare(experiment, engine=None, keep=None):
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
            samples = _draw(rng, experiment, theirs.old_sequence_probs, spec.batch)
            if keep is not None:
                lost = rng.random(samples.actions.shape) > np.where(samples.advantages > 0, keep.plus, keep.minus)
                samples = Samples(samples.actions, np.where(lost, 0.0, samples.advantages))
            origin, steps = a, steps + 1
            a, entry = engine.step(a, mine, dataclasses.replace(x, samples=samples), Directive(keep=keep))
            b, want = dense.step(b, theirs, dataclasses.replace(y, samples=samples), Directive(keep=keep))
            ledger.append(entry, origin)
            assert set(entry.columns) == set(want.columns)
            for name in set(want.columns) - {"_scale"}:  # sums of absolute values have kinks; it only scales rounding
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
    worst = _compare(_experiment(arm={"objective": family(0.02)[name]}, update={"geometry": geometry, "learning_rate": rate}))
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
)  # fmt: skip
def test_every_law_reward_and_advantage(geometry, changes):
    update = {"geometry": geometry, "learning_rate": 0.01 if geometry == "natural" else 3.0} | changes.get("update", {})
    # A language model's rarest tokens would take over in one natural step.
    if geometry == "natural" and changes.get("policy", {}).get("kind") == "snapshot":
        update["learning_rate"] = 1e-9
    worst = _compare(_experiment(**{"arm": {"low": 0.02, "high": 0.03}} | changes | {"update": update}))
    assert max(worst.values()) < 1, {k: v for k, v in worst.items() if v > 0.1}


def test_random_drop_is_the_dense_one():
    worst = _compare(_experiment(arm={"objective": "none"}), keep=Keep(0.7, 0.4))
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
    worst = _compare(_experiment(policy, arm, update=update, replicas=3))
    assert max(worst.values()) < 1, {k: v for k, v in worst.items() if v > 0.1}
    # Natural steps leave unsampled ratios equal: only a bound on probability differences can part them.
    assert bool(seen) == (geometry == "euclidean" or "dppo" in str(arm))


def _log_softmax(x):
    x = x - x.max(axis=-1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=-1, keepdims=True))


class _Dense:
    """An independent dense simulation of torch's Adam and AdamW, and of plain steps, maximising the clipped surrogate."""

    def __init__(self, experiment):
        clip = experiment.arm[0].build()
        self.spec, self.low, self.high = experiment.update, clip.low, clip.high
        self.theta = np.tile(start_of(experiment).log_probs[:, 0], (experiment.replicas, 1))
        self.m, self.v, self.t = np.zeros_like(self.theta), np.zeros_like(self.theta), 0
        self.roll_out()

    def roll_out(self):
        self.old = _log_softmax(self.theta)

    def step(self, samples):
        u, unit = self.spec, np.arange(len(self.theta))[:, None]
        log_probs = _log_softmax(self.theta)
        ratio = np.exp((log_probs - self.old)[unit, samples.actions])
        kept = np.where(samples.advantages > 0, ratio <= 1 + self.high, ratio >= 1 - self.low)
        push = ratio * samples.advantages * kept / u.batch
        gradient = np.zeros_like(self.theta)
        np.add.at(gradient, (np.broadcast_to(unit, push.shape), samples.actions), push)
        pull = push.sum(axis=1, keepdims=True)
        # Groups cancel up to rounding, which Adam would divide by its own size: what it makes of that is no result.
        gradient -= np.exp(log_probs) * np.where(np.abs(pull) < 1e-15, 0.0, pull)
        self.t += 1
        if u.optimizer == "sgd":
            self.theta = self.theta + u.learning_rate * gradient
        else:
            if u.optimizer == "adamw":
                self.theta = self.theta * (1 - u.learning_rate * u.weight_decay)
            else:
                gradient = gradient - u.weight_decay * self.theta
            b1, b2 = u.betas
            self.m, self.v = b1 * self.m + (1 - b1) * gradient, b2 * self.v + (1 - b2) * gradient**2
            root = np.sqrt(self.v / (1 - b2**self.t)) + u.eps
            self.theta = self.theta + u.learning_rate * self.m / (1 - b1**self.t) / root
        new = _log_softmax(self.theta)
        return -np.sum(np.exp(new) * new, axis=1)


def _follow(experiment, engine):
    """The largest difference of entropy from the dense simulation over a whole run on the reduced engine's own samples."""
    state, dense = engine.start(experiment, experiment.arm[0].build()), _Dense(experiment)
    ledger, worst, entries = ArmLedger("", "a", experiment), 0.0, []
    for _ in range(experiment.update.rollouts):
        state, rollout = engine.roll_out(state)
        dense.roll_out()
        before = engine.observe(state)
        for minibatch in rollout:
            parts = [
                samples_of(state, rollout, minibatch, sampler, rows, key, mirror, None)
                for (rows, key, mirror), sampler in zip(places(state), rollout.samplers, strict=True)
            ]
            samples = Samples(*(np.concatenate(x) for x in zip(*parts, strict=True)))
            origin = state
            state, entry = engine.step(state, rollout, minibatch, Directive())
            ledger.append(entry, origin)
            entries.append(entry)
            worst = max(worst, float(np.max(np.abs(dense.step(samples) - entry.columns["entropy"]))))
        ledger.end_rollout(state, before, engine.observe(state))
        state.rollout += 1
    return worst, entries


ADAM = {"optimizer": "adam", "learning_rate": 0.01, "batch": 16}
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
    experiment = _experiment(policy, {"low": 0.02, "high": 0.02}, update=update | {"minibatches": 8, "rollouts": 3})
    worst, entries = _follow(experiment, ReducedEngine())
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
    experiment = _experiment(
        policy, {"low": 0.2, "high": 0.2}, replicas=1, update=update | {"batch": 16, "minibatches": 4, "rollouts": 30}
    )
    assert _follow(experiment, ReducedEngine())[0] < 1e-10


def test_a_billion_actions_run_and_agree_with_the_theory():
    experiment = _experiment({"kind": "zipf", "vocab": 10**9}, {"low": 0.1, "high": 0.1}, replicas=40, update={"batch": 16})
    arm = run(experiment, "reduced").summary()["arms"]["a"]
    assert arm["verdict"] != "reject"
    # H of Zipf(1) is log Z + (1/Z) sum log(a)/a; the sums to 1e9 by Euler-Maclaurin with Stieltjes' constants.
    log_v, z = np.log(1e9), np.log(1e9) + 0.5772156649015329 + 0.5e-9
    tail = log_v**2 / 2 - 0.0728158454836767 + log_v / 2e9
    assert abs(arm["entropy_start"] - (np.log(z) + tail / z)) < 1e-12


def test_stopped_run_resumes_bit_for_bit(tmp_path):
    update = ADAM | {"rollouts": 4, "weight_decay": 0.01}  # decay needs the logits, which log pi alone does not give
    experiment = _experiment({"kind": "zipf", "vocab": 10**6}, {"low": 0.02, "high": 0.02}, replicas=70, update=update)
    whole = run(experiment, "reduced", out=tmp_path / "whole").to_frame()

    def stop_late(arm, done, total):
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, "reduced", out=tmp_path / "cut", jobs=1, progress=stop_late)
    seen = []
    resumed = run(experiment, "reduced", out=tmp_path / "cut", jobs=1, progress=lambda arm, done, total: seen.append(done))
    assert seen[0] == 7, "two whole rollouts of three updates were kept"
    assert resumed.to_frame().equals(whole)


def test_more_replicas_keep_the_earlier_ones(monkeypatch):
    monkeypatch.setattr(state_module, "CELL", 4)
    few, many = (run(_experiment(replicas=r, ledger={"detail": "context"}), "reduced").to_frame("contexts") for r in (4, 6))
    merged = few.merge(many, on=["arm", "step", "replica", "context"], suffixes=("", "_many"))
    assert len(merged) == len(few)
    np.testing.assert_allclose(merged["measured"], merged["measured_many"], rtol=0, atol=1e-13)


def test_a_state_can_be_stepped_twice():
    """Steps are functions of the state: tracking new actions must not reach back into the state that was passed in."""
    engine, experiment = ReducedEngine(tracked=8, whole=8), _experiment()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first, second = rollout.minibatches[:2]
    new, entry = engine.step(state, rollout, first, Directive())
    engine.step(state, rollout, second, Directive())
    again, same = engine.step(state, rollout, first, Directive())
    assert all(np.array_equal(entry.columns[k], same.columns[k]) for k in entry.columns)
    assert np.array_equal(new.cells[0].log_probs, again.cells[0].log_probs)


def test_injected_samples_are_checked():
    engine, experiment = ReducedEngine(), _experiment(replicas=1)
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first, wrong = rollout.minibatches[0], Samples(np.full((3, 4), 500), np.ones((3, 4)))
    with pytest.raises(SpecError, match=r"outside 0\.\.499"):
        engine.step(state, rollout, dataclasses.replace(first, samples=wrong), Directive())
    with pytest.raises(SpecError, match="not sums over all actions"):
        engine.step(state, rollout, dataclasses.replace(first, sums=Sums(*np.zeros((4, 3, 500)))), Directive())


def test_antithetic_pairs_mirror_the_first_step():
    frame = run(_experiment(antithetic=True, reward={"kind": "rademacher"}, ledger={"detail": "context"}), "reduced")
    rows = frame.to_frame("contexts").query("step == 0").pivot(index="context", columns="replica", values="unclipped")
    np.testing.assert_allclose(rows[0], -rows[1], rtol=0, atol=1e-14)
    assert np.abs(rows[0]).max() > 1e-4


def test_epochs_draw_the_same_samples_again_and_shuffles_keep_groups_together():
    twice = run(_experiment(update={"epochs": 2}), "reduced").to_frame()
    assert twice["expected_clip_low"].isna().tolist() == ([False] * 3 + [True] * 3) * 2
    assert twice["count_plus"][:3].tolist() == twice["count_plus"][3:6].tolist()
    mixed = run(_experiment(update={"minibatch": "shuffled"}), "reduced").to_frame()
    assert mixed["expected_clip_low"].isna().tolist() == [False, True, True] * 2


def test_controls_run_on_the_reduced_engine():
    arms = [
        {"name": "both", "low": 0.02, "high": 0.02},
        {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}},
        {"name": "matched", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
    ]
    changed = {"arm": parse_experiment({"arm": arms}).arm, "ledger": LedgerSpec(detail="context")}
    ledger = run(_experiment(replicas=40).model_copy(update=changed), "reduced")
    frame = ledger.to_frame().set_index(["arm", "step"])
    assert_unit_means(ledger.to_frame("contexts").query("arm == 'matched'"), "step_variance", frame.loc["both"]["step_variance"])
    later = frame.loc["both"]["inner_step"] > 0
    assert (frame.loc["dropped"]["count_plus"] < frame.loc["both"]["count_plus"])[later].all()


STIFF = ADAM | {"learning_rate": 0.1, "eps": 1e-6, "minibatches": 20}


def test_nodes_are_added_before_they_are_missed():
    experiment = _experiment({"kind": "normal_logits", "vocab": 3000, "sd": 3.0}, {"low": 0.2, "high": 0.2}, update=STIFF)
    start = ReducedEngine(nodes=10).start(experiment, experiment.arm[0].build())
    worst, _ = _follow(experiment, ReducedEngine(nodes=10, tracked=64))
    assert worst < 1e-11
    assert start.population.basis.per_panel == 10


def test_a_state_with_added_nodes_is_restored_bit_for_bit():
    experiment = _experiment({"kind": "normal_logits", "vocab": 3000, "sd": 3.0}, {"low": 0.2, "high": 0.2}, update=STIFF)
    engine = ReducedEngine(nodes=10, tracked=64)
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for minibatch in rollout.minibatches[:6]:
        state, _ = engine.step(state, rollout, minibatch, Directive())
    assert state.population.basis.per_panel > 10
    restored = engine.unpack(engine.start(experiment, experiment.arm[0].build()), engine.pack(state))
    state.rollout = restored.rollout = 1
    after = []
    for start in (state, restored):
        begun, rollout = engine.roll_out(start)
        after.append(engine.step(begun, rollout, rollout.minibatches[0], Directive())[1].columns)
    assert all(np.array_equal(after[0][name], after[1][name]) for name in after[0])


def test_too_few_nodes_are_reported(monkeypatch):
    monkeypatch.setattr(reduced, "MAX_NODES", 10)
    experiment = _experiment({"kind": "normal_logits", "vocab": 3000, "sd": 3.0}, {"low": 0.2, "high": 0.2}, update=STIFF)
    with pytest.raises(SpecError, match="at least 8"):
        ReducedEngine(nodes=4)
    with pytest.warns(UserWarning, match="needs more than 10 nodes a panel"), pytest.raises(IdentityError):
        _follow(experiment, ReducedEngine(nodes=10, tracked=64))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": {"kind": "autoregressive"}}, "single tokens only"),
        ({"policy": {"kind": "zipf", "vocab": 10**6}, "perturbation": {"rms": 0.1}, "update": {"rollouts": 1}}, "over the limit"),
        ({"policy": {"kind": "zipf", "vocab": 10**8, "exponent": -1.0}}, "use a positive exponent"),
        ({"policy": {"kind": "zipf", "vocab": 3000}, "reward": {"kind": "table", "values": [1.0, 0.0]}}, "3000 actions"),
        ({"weights": [1.0, 2.0], "policy": {"kind": "snapshot"}}, "2 entries for 256 contexts"),
        ({"policy": {"kind": "snapshot", "contexts": 1000}}, "1 to 256"),
    ],
)
def test_refusals_say_why(changes, message):
    with pytest.raises(SpecError, match=message):
        run(_experiment(**changes), "reduced")


def test_headline_runs_on_the_reduced_engine_as_on_the_sampled_one():
    """A whole vocabulary of 64 is tracked; the start is the same, and the draws differ."""
    overrides = ["policy.contexts=64", "update.rollouts=1", "update.minibatches=8"]
    one, two = (run(load("headline", overrides), engine).summary()["arms"] for engine in ("sampled", "reduced"))
    for name in one:
        assert abs(one[name]["entropy_start"] - two[name]["entropy_start"]) < 1e-13
        se = np.hypot(one[name]["measured_se"], two[name]["measured_se"])
        assert abs(one[name]["measured"] - two[name]["measured"]) < 5 * se
        assert two[name]["verdict"] != "reject"
