"""The exact engine is the oracle: sampled means agree with it, and it agrees with T5 + T8, branch by branch."""

from __future__ import annotations

import numpy as np
import pytest

from entclip.engines.outcomes import enumerate_all
from entclip.engines.tabular.branches import outcomes_of
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.columns import PARTS, SUMMED
from entclip.runs.runner import run
from entclip.support.errors import SpecError

GROUP = {"kind": "group", "size": 2}
STD = {"kind": "group", "size": 2, "scale": "std", "eps": 0.1}
TABLE = {"kind": "table", "values": [1.0, 0.0, 0.5]}


def _experiment(geometry, advantage, reward, *, policy=None, **extra):
    return parse_experiment(
        {
            "policy": policy or {"kind": "zipf", "vocab": 3},
            "advantage": advantage,
            "reward": reward,
            "update": {"geometry": geometry, "learning_rate": 0.3, "batch": 2, "minibatches": 2, "rollouts": 2},
            "arm": [{"name": "both", "low": 0.1, "high": 0.15}],
            **extra,
        }
    )


CASES = [
    (geometry, advantage, reward)
    for geometry in ("natural", "euclidean")
    for advantage in ({"kind": "independent"}, GROUP, STD)
    for reward in ({"kind": "rademacher"}, {"kind": "bernoulli", "p": 0.3}, TABLE)
]


@pytest.mark.parametrize(("geometry", "advantage", "reward"), CASES)
def test_exact_expectation_is_the_theory(geometry, advantage, reward):
    """Summed over all outcomes, every cause equals T5 and the curvature T8 to rounding."""
    arm = run(_experiment(geometry, advantage, reward), "exact").summary()["arms"]["both"]
    assert arm["verdict"] == "agree"
    scale = sum(abs(arm[p]) for p in PARTS)
    for part in PARTS:
        assert abs(arm[part] - arm[f"expected_{part}"]) < 1e-12 * (1 + scale), part
    assert abs(arm["entropy_end"] - arm["entropy_start"] - arm["measured"]) < 1e-12


@pytest.mark.statistical
@pytest.mark.parametrize(("geometry", "advantage", "reward"), CASES[::4])
def test_sampled_means_agree_with_exact(geometry, advantage, reward):
    """Every column, every update: |sampled - exact| <= 5 standard errors, 10^6 samples of each minibatch in all."""
    exact = run(_experiment(geometry, advantage, reward), "exact").to_frame()
    sampled = run(_experiment(geometry, advantage, reward, replicas=500_000 // 4)).to_frame()
    for part in SUMMED:
        se = sampled[f"{part}_se"].to_numpy()
        z = np.abs(sampled[part] - exact[part]).to_numpy() / np.maximum(se, 1e-14)
        assert np.all(z <= 5), (part, z)
    swapped = np.abs(sampled["clip_low"] - exact["clip_high"]).to_numpy() / np.maximum(sampled["clip_low_se"].to_numpy(), 1e-14)
    assert swapped.max() > 5, "falsifier: low and high swapped must be seen at this sample size"
    no_curvature = np.abs(sampled["curvature"]).to_numpy() / np.maximum(sampled["curvature_se"].to_numpy(), 1e-14)
    assert no_curvature.max() > 5, "falsifier: curvature dropped"


@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
def test_autoregressive_exact_expectation_is_the_theory(geometry):
    """Prefixes visited at random: T5 and T8 with visit probabilities, and the visitation line closes the sequence entropy."""
    policy = {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 2}
    experiment = _experiment(geometry, GROUP, {"kind": "bernoulli", "p": 0.5}, policy=policy)
    ledger = run(experiment, "exact")
    arm = ledger.summary()["arms"]["both"]
    for part in PARTS:
        assert abs(arm[part] - arm[f"expected_{part}"]) < 1e-12, part
    assert abs(arm["expected_curvature"]) > 1e-4, "the test must have something to see"


def test_autoregressive_sampled_closes_sequence_entropy():
    policy = {"kind": "autoregressive", "vocab": 3, "length": 3, "contexts": 4}
    experiment = parse_experiment(
        {"policy": policy, "replicas": 4, "update": {"batch": 64, "minibatches": 4, "rollouts": 2, "learning_rate": 0.05}}
    )
    arm = run(experiment).summary()["arms"]["both"]
    change = arm["sequence_entropy_end"] - arm["sequence_entropy_start"]
    assert abs(change - 3 * arm["measured"] - arm["visitation"]) < 1e-12
    assert arm["visitation"] != 0


def test_refusals_name_the_limit():
    with pytest.raises(SpecError, match="continuous"):
        run(_experiment("natural", {"kind": "independent"}, {"kind": "gaussian"}), "exact")
    big = _experiment("natural", {"kind": "independent"}, {"kind": "rademacher"}, policy={"kind": "zipf", "vocab": 64})
    big = big.model_copy(update={"update": big.update.model_copy(update={"batch": 64})})
    with pytest.raises(SpecError, match="1,000,000"):
        run(big, "exact")


def test_rewards_that_an_action_cannot_have_are_not_listed():
    """Three actions with a reward each: the 10 groups of three samples, less two that have equal rewards as well."""
    update = {"batch": 3, "minibatches": 1, "rollouts": 1}
    spec = _experiment("natural", {"kind": "group", "size": 3}, TABLE, update=update)
    _, law = enumerate_all(spec, np.array([[0.5, 0.3, 0.2]]))
    assert law.shape == (1, 8)
    assert np.all(law > 0)
    assert law.sum() == pytest.approx(1, abs=1e-15)
    assert outcomes_of(spec, 3, drops=False).outcomes == pytest.approx(8)


def test_a_context_has_one_row_for_all_its_branches():
    update = {"learning_rate": 0.3, "batch": 2, "minibatches": 2, "rollouts": 1}
    policy = {"kind": "zipf", "vocab": 3, "contexts": 2}
    spec = _experiment("natural", GROUP, TABLE, policy=policy, update=update, ledger={"detail": "context"})
    ledger = run(spec, "exact")
    rows, contexts = ledger.to_frame(), ledger.to_frame("contexts")
    assert list(contexts["context"]) == [0, 1, 0, 1]
    for name in ("measured", "clip_low", "expected_curvature"):
        means = contexts.groupby("step")[name].mean()
        assert np.allclose(means, rows[name], rtol=0, atol=1e-15), name
    assert list(contexts.groupby("step")["ratio_max"].max()) == list(rows["ratio_max"])
