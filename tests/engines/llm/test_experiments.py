"""Every shipped experiment about language models runs, shrunk and on untrained weights; docs/llm.md has what they say."""

import pytest

from entclip import load, run
from entclip.experiments.load import experiment_names

NAMES = [name for name in experiment_names() if load(name).policy.kind == "language_model"]


@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name):
    spec = load(name)
    small = ["policy.model=untrained", "replicas=2", "update.minibatches=2", "update.rollouts=1", "rollout.probes=4"]
    summary = run(load(name, small), "llm", dtype="float32").summary()
    assert list(summary["arms"]) == [arm.name for arm in spec.arm]
    for arm in summary["arms"].values():
        names = ("unclipped", "clip_low", "clip_high", "other", "momentum", "weight_decay", "unaccounted")
        parts = [arm[p] for p in names if p in arm]
        assert abs(sum(parts) + arm["curvature"] + arm["remainder"] - arm["measured"]) < 1e-12
        assert arm["verdict"] == "inconclusive"  # there is no expectation to judge by


def test_there_are_some():
    assert {"llm", "llm_headline", "llm_six", "llm_controls", "llm_true_reward"} <= set(NAMES)
