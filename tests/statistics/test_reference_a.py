"""Reference A: the paper's headline in one tabular run, against an independent simulation and the published numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.experiments.load import experiment_names, load
from entclip.ledger.columns import PARTS
from entclip.ledger.verdict import judge
from entclip.runs.runner import run

# Mean entropy change over 1,000 contexts and its standard error, from an implementation that shares nothing with this one.
PUBLISHED = {
    "headline": {
        "none": (-0.0295, 0.0007),
        "both": (-0.0340, 0.0006),
        "low_only": (0.0073, 0.0006),
        "high_only": (-0.0741, 0.0007),
        "clip_higher": (-0.0150, 0.0005),
        "tight_low": (0.0532, 0.0005),
    },
    "headline_zipf": {
        "none": (0.0207, 0.0015),
        "both": (-0.0436, 0.0012),
        "low_only": (0.1174, 0.0013),
        "high_only": (-0.1632, 0.0015),
        "clip_higher": (0.0265, 0.0013),
        "tight_low": (0.2679, 0.0009),
    },
}


@pytest.fixture(scope="module")
def headline():
    return run(load("headline")).summary()["arms"]


def _assert_published(arms, name):
    for arm, (value, se) in PUBLISHED[name].items():
        assert abs(arms[arm]["measured"] - value) <= 5 * math.hypot(arms[arm]["measured_se"], se), arm


@pytest.mark.slow
@pytest.mark.statistical
def test_headline_zipf_agrees_with_the_published_run():
    arms = run(load("headline_zipf")).summary()["arms"]
    _assert_published(arms, "headline_zipf")
    assert {a["verdict"] for a in arms.values()} == {"agree"}


@pytest.mark.slow
@pytest.mark.statistical
def test_headline_agrees_with_the_published_run(headline):
    _assert_published(headline, "headline")
    order = ["tight_low", "low_only", None, "clip_higher", "none", "both", "high_only"]
    values = [0.0 if n is None else headline[n]["measured_cv"] for n in order]
    assert values == sorted(values, reverse=True)


@pytest.mark.slow
@pytest.mark.statistical
def test_headline_agrees_with_theory_and_its_falsifiers_do_not(headline):
    assert {a["verdict"] for a in headline.values()} == {"agree"}
    swapped = dict(
        headline["both"],
        expected_clip_low=headline["both"]["expected_clip_high"],
        expected_clip_high=headline["both"]["expected_clip_low"],
    )
    dropped = dict(headline["high_only"], expected_clip_high=0.0)
    flat = dict(headline["tight_low"], expected_curvature=0.0)
    off = dict(headline["tight_low"], expected_clip_low=1.05 * headline["tight_low"]["expected_clip_low"])
    for wrong in (swapped, dropped, flat, off):
        assert judge(wrong)["verdict"] == "reject"


def _independent_run(low: float, high: float, contexts: int, updates: int, seed: int) -> np.ndarray:
    """The headline's first rollout, written out in a few lines of numpy with nothing of the package."""
    rng = np.random.default_rng(seed)
    old = 0.9 * rng.dirichlet(np.full(64, 2.0), size=contexts) + 0.1 / 64
    theta = np.log(old)
    for _ in range(updates):
        pi = np.exp(theta - np.log(np.exp(theta).sum(1, keepdims=True)))
        ratio = pi / old
        counts = rng.multinomial(2048, old)
        up = rng.binomial(counts, 0.5)
        weight = up * (ratio <= 1 + high) - (counts - up) * (ratio >= 1 - low)
        theta = theta + 0.1 * weight / (2048 * old)
    pi = np.exp(theta - np.log(np.exp(theta).sum(1, keepdims=True)))
    return -(pi * np.log(pi)).sum(1) + (old * np.log(old)).sum(1)


@pytest.mark.statistical
@pytest.mark.parametrize(("arm", "low", "high"), [("both", 0.2, 0.2), ("tight_low", 0.1, math.inf), ("high_only", 1.0, 0.2)])
def test_first_rollout_agrees_with_an_independent_simulation(arm, low, high):
    ours = run(
        load("headline", ["update.rollouts=1"]).model_copy(
            update={"arm": tuple(a for a in load("headline").arm if a.name == arm)}
        )
    )
    ours = ours.summary()["arms"][arm]
    other = _independent_run(low, high, contexts=256, updates=64, seed=1)
    se = math.hypot(ours["measured_se"], other.std(ddof=1) / math.sqrt(len(other)))
    assert abs(ours["measured"] - other.mean()) <= 5 * se
    assert sum(abs(ours[p]) for p in PARTS) > 0


# The largest two run at a size that a test can afford; what the files ask for is a command away.
SHIPPED = {
    "brorl": ["update.rollouts=10"],
    "controls": ["policy.contexts=64"],
    "headline_llm": ["policy.contexts=4"],
    "knob": ["replicas=1", "grid.policy.0.contexts=64", "grid.policy.1.contexts=64"],
    "noise_only": [],
    "rare_clip": [],
    "reward_laws": [],
    "sign_map": [],
    "theorem1": [],
    "theorem2": [],
    "true_reward": [],
}


def test_every_shipped_experiment_is_tested():
    # Run on engines of their own: shared_parameters in tests/findings/test_shared_parameters.py, vocab_scale and headline_152k in
    # tests/statistics/test_vocabulary.py. Language models: tests/engines/llm/test_experiments.py.
    others = {name for name in experiment_names() if load(name).policy.kind == "language_model"}
    assert {
        *SHIPPED,
        *others,
        "headline",
        "headline_zipf",
        "inequality",
        "shared_parameters",
        "vocab_scale",
        "headline_152k",
    } == set(experiment_names())


@pytest.mark.slow
@pytest.mark.statistical
@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_experiments_do_not_reject_the_theory(name):
    summary = run(load(name, SHIPPED[name])).summary()
    assert "reject" not in {a["verdict"] for a in summary["arms"].values()}
