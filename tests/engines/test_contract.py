"""What every engine shares: choosing one, what is refused, injected samples, starting tables."""

import dataclasses

import numpy as np
import pytest

from entclip import SpecError, load, run
from entclip.engines.base import Directive
from entclip.engines.named import engine_named
from entclip.engines.samples import Samples
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.start import start_of

SMALL = ["policy.contexts=3", "policy.vocab=8", "update.minibatches=2", "update.rollouts=1", "update.batch=16"]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("smapled", {}, "unknown engine 'smapled'"),
        ("sampled", {"device": "cuda"}, "the sampled engine has cpu only; use that, or an engine that has it: tokens, head, llm"),
        (
            "exact",
            {"dtype": "float32"},
            "the exact engine has float64 only; use that, or an engine that has it: tokens, head, llm",
        ),
        ("sampled", {"dtype": "float16"}, "dtype = 'float16': the sampled engine has float64 only; use that, no engine has it"),
    ],
)
def test_engines_that_are_not_there(name, options, message):
    with pytest.raises(SpecError, match=message):
        engine_named(name, **options)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["update.optimizer=adam"], "preconditions the euclidean gradient"),
        (["update.weight_decay=0.1"], "plain steps have no decay"),
        (["update.betas=[0.9, 1.0]"], "update.betas"),
    ],
)
def test_optimisers_that_do_not_fit(overrides, message):
    with pytest.raises(SpecError, match=message):
        load("headline", overrides)


@pytest.mark.parametrize("engine", ["sampled", "exact"])
def test_adam_is_refused_where_it_does_not_exist(engine):
    spec = load("headline", [*SMALL, "update.geometry=euclidean", "update.optimizer=adamw", "update.weight_decay=0.1"])
    with pytest.raises(SpecError, match="takes plain steps only, sgd; the engines reduced, tokens, head, llm have it"):
        run(spec, engine)


def test_tables_beyond_memory_are_refused_before_they_are_made(monkeypatch):
    monkeypatch.setattr("entclip.experiments.start.available_bytes", lambda: 16 * 2**30)
    spec = load("headline", ['policy={kind="zipf", vocab=1000000000, contexts=8}'])
    with pytest.raises(SpecError, match=r"59\.6 GiB.*reduced"):
        start_of(spec)
    # Drawn laws are lists on every engine: the advice to use the reduced one would come back to itself.
    spec = load("headline", ['policy={kind="normal_logits", vocab=1000000, contexts=1000}', "update.geometry=euclidean"])
    with pytest.raises(SpecError, match=r"7\.5 GiB.*use fewer contexts or actions\.$"):
        start_of(spec)
    spec = load("headline", ['policy={kind="normal_logits", vocab=1000000000, contexts=1}'])
    with pytest.raises(SpecError, match=r'7\.5 GiB.*the engine "reduced"'):
        start_of(spec)


def test_normal_logits_have_the_stated_spread():
    spec = load("headline", ['policy={kind="normal_logits", vocab=4000, contexts=5, sd=1.5}'])
    log_probs = start_of(spec).old_log_probs[:, 0]
    # The standard deviation of n normal numbers has the standard error sd/sqrt(2 n).
    spread = np.std(log_probs, axis=1, ddof=1)
    assert np.all(np.abs(spread - 1.5) < 5 * 1.5 / np.sqrt(2 * 4000))
    assert len(np.unique(log_probs[:, 0])) == 5  # contexts differ


def test_injected_samples_are_those_that_move_the_policy():
    engine = SampledEngine()
    spec = load("headline", [*SMALL, "update.geometry=euclidean"])
    state, rollout = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    actions, advantages = np.array([[1, 1], [2, 3], [7, 0]]), np.array([[1.0, -0.5], [2.0, 1.0], [-1.0, 0.25]])
    batch = dataclasses.replace(rollout.minibatches[0], samples=Samples(actions, advantages))
    new, _ = engine.step(state, rollout, batch, Directive())
    probs = np.exp(state.log_probs[:, 0])
    step = np.zeros_like(probs)
    for u in range(3):
        for a, value in zip(actions[u], advantages[u], strict=True):
            step[u] += 0.1 * value / 2 * (np.eye(8)[a] - probs[u])  # on-policy: every ratio is 1
    want = state.log_probs[:, 0] + step
    want -= np.log(np.exp(want).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(new.log_probs[:, 0], want, rtol=1e-13)
