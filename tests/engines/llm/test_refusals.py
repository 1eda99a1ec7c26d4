"""What the llm engine refuses, reports and says while it works."""

import dataclasses

import pytest
import torch

from entclip import SpecError, load, run
from entclip.engines.base import Directive
from entclip.engines.llm.engine import LlmEngine
from tests.engines.llm.columns import columns


def test_equal_rewards_move_nothing(small):
    c = columns(small("rollout.reward=format", "update.optimizer=sgd"), updates=1)  # untrained weights answer nothing
    assert not c["measured"].any()
    assert not c["count_plus"].any()


def test_what_a_rollout_saw_is_in_its_summary(small):
    frame = run(small("rollout.reward=format"), "llm", dtype="float32").to_frame("rollouts")
    assert frame.loc[0, "reward"] == 0
    assert frame.loc[0, "flat_groups"] == 1
    assert frame.loc[0, "pass_at_8"] == 0
    assert 1 <= frame.loc[0, "response_tokens"] <= 6


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (['reward={kind="table", values=[0.0, 1.0]}'], "one reward per action of a bandit"),
        (["rollout.reward=correct", "antithetic=true"], "mirrors random rewards"),
        (["rollout.reward=correct", 'advantage={kind="independent"}'], "needs the reward's exact mean"),
        (["rollout.task=digit"], "choose digits, sums, small_sums, or reasoning_gym"),
        (["rollout.max_new_tokens=60"], "over the model's 64"),
        (["policy.model=/nowhere"], "cannot load the model"),
        (["rollout.task=sums"], "no character 'A'.*it knows the task digits"),
    ],
)
def test_what_cannot_be_run(small, overrides, message):
    with pytest.raises(SpecError, match=message):
        run(small(*overrides), "llm", dtype="float32")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["rollout.staleness=5"], "can lag by one rollout at most"),
        (['advantage={kind="group", size=1}'], "a group of 1 equals its own mean"),
        (["update.batch=12"], "not divisible by advantage.size"),
        (["ledger.every=2", "ledger.momentum=cause"], "momentum"),
        (["weights=[1.0]"], "no weights"),
    ],
)
def test_what_cannot_be_specified(small, overrides, message):
    with pytest.raises(SpecError, match=message):
        small(*overrides)


def test_language_models_belong_to_this_engine():
    spec = load("llm_headline")
    with pytest.raises(SpecError, match="for the llm engine"):
        run(spec, "sampled")
    with pytest.raises(SpecError, match=r"about language models, but policy\.kind"):
        load("headline", ["rollout.probes=4"])
    if not torch.cuda.is_available():
        with pytest.raises(SpecError, match="no CUDA device"):
            run(spec, "llm", device="cuda")


def test_a_gradient_that_is_not_finite_is_reported(small):
    spec = small("update.optimizer=sgd")
    engine = LlmEngine(dtype="float64")
    state = engine.start(spec, spec.arm[0].build())
    state, rollout = engine.roll_out(state)
    bad = dataclasses.replace(rollout.responses[0], advantages=torch.full((64, 1), float("nan"), dtype=torch.float64))
    broken = dataclasses.replace(rollout, responses=[bad, bad])
    with pytest.raises(SpecError, match=r"NaN or infinity.*learning_rate"):
        engine.step(state, broken, rollout.minibatches[0], Directive())


def test_it_says_what_it_is_doing_before_each_long_step(small, caplog):
    spec = small("update.minibatches=1", "replicas=2")
    with caplog.at_level("INFO", logger="entclip"):
        run(spec, "llm", dtype="float32")
    assert [record.message for record in caplog.records] == [
        "loading the model untrained",
        "generating 4 responses as probe contexts",
        "rollout 1 of 1, replica 1 of 2: generating 16 responses",
        "rollout 1 of 1, replica 2 of 2: generating 16 responses",
        "rollout 1 of 1, replica 1 of 2: update 1 of 1",
        "rollout 1 of 1, replica 2 of 2: update 1 of 1",
    ]
    caplog.clear()
    run(spec, "llm", dtype="float32")
    assert not caplog.records  # nobody asked
