"""States of the reduced engine: resumed, stepped twice, with more replicas, with nodes added, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from entclip import SpecError, load, run
from entclip.engines.base import Directive
from entclip.engines.reduced import engine as reduced
from entclip.engines.reduced import state as state_module
from entclip.engines.reduced.engine import ReducedEngine
from entclip.engines.samples import Samples, Sums
from entclip.experiments.experiment import parse_experiment
from entclip.experiments.sections import LedgerSpec
from entclip.ledger.arm import IdentityError
from tests.engines.reduced.comparison import ADAM, experiment_of, follow
from tests.tolerances import assert_unit_means


def test_stopped_run_resumes_bit_for_bit(tmp_path):
    update = ADAM | {"rollouts": 4, "weight_decay": 0.01}  # decay needs the logits, which log pi alone does not give
    experiment = experiment_of({"kind": "zipf", "vocab": 10**6}, {"low": 0.02, "high": 0.02}, replicas=70, update=update)
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
    monkeypatch.setattr(state_module, "CHUNK", 4)
    few, many = (run(experiment_of(replicas=r, ledger={"detail": "context"}), "reduced").to_frame("contexts") for r in (4, 6))
    merged = few.merge(many, on=["arm", "step", "replica", "context"], suffixes=("", "_many"))
    assert len(merged) == len(few)
    np.testing.assert_allclose(merged["measured"], merged["measured_many"], rtol=0, atol=1e-13)


def test_a_state_can_be_stepped_twice():
    """Steps are functions of the state: tracking new actions must not reach back into the state that was passed in."""
    engine, experiment = ReducedEngine(tracked=8, whole=8), experiment_of()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first, second = rollout.minibatches[:2]
    new, entry = engine.step(state, rollout, first, Directive())
    engine.step(state, rollout, second, Directive())
    again, same = engine.step(state, rollout, first, Directive())
    assert all(np.array_equal(entry.columns[k], same.columns[k]) for k in entry.columns)
    assert np.array_equal(new.chunks[0].log_probs, again.chunks[0].log_probs)


def test_injected_samples_are_checked():
    engine, experiment = ReducedEngine(), experiment_of(replicas=1)
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first, wrong = rollout.minibatches[0], Samples(np.full((3, 4), 500), np.ones((3, 4)))
    with pytest.raises(SpecError, match=r"outside 0\.\.499"):
        engine.step(state, rollout, dataclasses.replace(first, samples=wrong), Directive())
    with pytest.raises(SpecError, match="not sums over all actions"):
        engine.step(state, rollout, dataclasses.replace(first, sums=Sums(*np.zeros((4, 3, 500)))), Directive())


def test_antithetic_pairs_mirror_the_first_step():
    frame = run(experiment_of(antithetic=True, reward={"kind": "rademacher"}, ledger={"detail": "context"}), "reduced")
    rows = frame.to_frame("contexts").query("step == 0").pivot(index="context", columns="replica", values="unclipped")
    np.testing.assert_allclose(rows[0], -rows[1], rtol=0, atol=1e-14)
    assert np.abs(rows[0]).max() > 1e-4


def test_epochs_draw_the_same_samples_again_and_shuffles_keep_groups_together():
    twice = run(experiment_of(update={"epochs": 2}), "reduced").to_frame()
    assert twice["expected_clip_low"].isna().tolist() == ([False] * 3 + [True] * 3) * 2
    assert twice["count_plus"][:3].tolist() == twice["count_plus"][3:6].tolist()
    mixed = run(experiment_of(update={"minibatch": "shuffled"}), "reduced").to_frame()
    assert mixed["expected_clip_low"].isna().tolist() == [False, True, True] * 2


def test_controls_run_on_the_reduced_engine():
    arms = [
        {"name": "both", "low": 0.02, "high": 0.02},
        {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}},
        {"name": "matched", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
    ]
    changed = {"arm": parse_experiment({"arm": arms}).arm, "ledger": LedgerSpec(detail="context")}
    ledger = run(experiment_of(replicas=40).model_copy(update=changed), "reduced")
    frame = ledger.to_frame().set_index(["arm", "step"])
    assert_unit_means(ledger.to_frame("contexts").query("arm == 'matched'"), "step_variance", frame.loc["both"]["step_variance"])
    later = frame.loc["both"]["inner_step"] > 0
    assert (frame.loc["dropped"]["count_plus"] < frame.loc["both"]["count_plus"])[later].all()


STIFF = ADAM | {"learning_rate": 0.1, "eps": 1e-6, "minibatches": 20}


def test_nodes_are_added_before_they_are_missed():
    experiment = experiment_of({"kind": "normal_logits", "vocab": 3000, "sd": 3.0}, {"low": 0.2, "high": 0.2}, update=STIFF)
    start = ReducedEngine(nodes=10).start(experiment, experiment.arm[0].build())
    worst, _ = follow(experiment, ReducedEngine(nodes=10, tracked=64))
    assert worst < 1e-11
    assert start.population.basis.per_panel == 10


def test_a_state_with_added_nodes_is_restored_bit_for_bit():
    experiment = experiment_of({"kind": "normal_logits", "vocab": 3000, "sd": 3.0}, {"low": 0.2, "high": 0.2}, update=STIFF)
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
    experiment = experiment_of({"kind": "normal_logits", "vocab": 3000, "sd": 3.0}, {"low": 0.2, "high": 0.2}, update=STIFF)
    with pytest.raises(SpecError, match="at least 8"):
        ReducedEngine(nodes=4)
    with pytest.warns(UserWarning, match="needs more than 10 nodes a panel"), pytest.raises(IdentityError):
        follow(experiment, ReducedEngine(nodes=10, tracked=64))


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
        run(experiment_of(**changes), "reduced")


def test_headline_runs_on_the_reduced_engine_as_on_the_sampled_one():
    """A whole vocabulary of 64 is tracked; the start is the same, and the draws differ."""
    overrides = ["policy.contexts=64", "update.rollouts=1", "update.minibatches=8"]
    one, two = (run(load("headline", overrides), engine).summary()["arms"] for engine in ("sampled", "reduced"))
    for name in one:
        assert abs(one[name]["entropy_start"] - two[name]["entropy_start"]) < 1e-13
        se = np.hypot(one[name]["measured_se"], two[name]["measured_se"])
        assert abs(one[name]["measured"] - two[name]["measured"]) < 5 * se
        assert two[name]["verdict"] != "reject"
