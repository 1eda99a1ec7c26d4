"""Arms and signs that share pi_old share its rollout: made once, and the ledger is as if each had made its own."""

import numpy as np
import pytest

from entclip import run
from entclip.engines.llm import beginning, respond, threads
from entclip.engines.llm.engine import LlmEngine
from entclip.engines.llm.task import task_named

ARMS = ['{name="both", low=0.2, high=0.2}', '{name="high_only", low=1.0, high=0.2}']
SHAPE = ("replicas=4", "antithetic=true", "update.minibatches=2", "update.learning_rate=1e-3")


@pytest.mark.parametrize("minibatch", ["groups", "shuffled"])
def test_the_ledger_is_as_if_every_arm_had_made_its_own_rollout(small, monkeypatch, minibatch):
    made = []
    sample = beginning.sample
    monkeypatch.setattr(beginning, "sample", lambda *a: (made.append((a[1].stream, a[3])), sample(*a))[1])
    shape = (*SHAPE, "update.rollouts=2", f"update.minibatch={minibatch}")
    together = run(small(*shape, f"arm=[{','.join(ARMS)}]"), "llm", dtype="float32")
    # Two pairs once in the first rollout, whatever the arm and the sign; then four replicas of two arms on their own.
    assert sorted(made) == [(0, 0), *[(0, 1)] * 4, (1, 0), *[(1, 1)] * 4]
    for name, arm in zip(("both", "high_only"), ARMS, strict=True):
        alone = run(small(*shape, f"arm=[{arm}]"), "llm", dtype="float32")
        assert alone.arms[name].rows == together.arms[name].rows
        assert alone.summary()["arms"][name] == together.summary()["arms"][name]


def test_partners_say_the_same_as_they_would_alone(small):
    spec = small(*SHAPE)
    engine = LlmEngine(dtype="float32")
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    for replica, shared in zip(state.replicas, rollout.responses, strict=True):
        own = respond.sample(spec, replica, task_named(spec.rollout_rules.task), 0)
        assert own.sequences.ids.equal(shared.sequences.ids)
        assert own.old_log_probs.equal(shared.old_log_probs)
        assert all(a.equal(b) for a, b in zip(own.old, shared.old, strict=True))
    first, second = (rollout.responses[k].sequences.ids for k in (0, 1))
    assert not first.equal(second)  # pairs differ


def test_another_experiment_begins_anew(small):
    engine = LlmEngine(dtype="float32")
    one, other = small(), small("seed=1")
    begun = engine.begin(one)
    assert engine.begin(small()) is begun
    assert engine.begin(other).experiment == other
    assert not engine.begin(other).knows(engine.begin(other).replica(0, False), 0)


def test_prompts_that_are_run_once_a_group_change_nothing_but_rounding(small, monkeypatch):
    """A large model shares the keys and values of a prompt; the whole ledger of an update says so."""

    def ledger():
        return run(small("update.minibatches=3", "rollout.micro_batch=9"), "llm", dtype="float64").to_frame()

    plain = ledger()
    monkeypatch.setattr(threads, "_SMALL", 0)
    shared, frame = ledger(), plain.select_dtypes("number")
    np.testing.assert_allclose(shared[frame.columns].astype(float), frame.astype(float), rtol=1e-6, atol=1e-11)
    assert not shared.equals(plain)  # it did go another way
