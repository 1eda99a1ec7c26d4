"""What the tokens engine draws: by the policy, in antithetic pairs, the same again in any order, controls included."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from entclip.engines.tokens.draws import inverse_transform
from entclip.engines.tokens.engine import TokensEngine
from entclip.engines.tokens.kernels import reference
from entclip.runs.runner import check, run
from tests.engines.tokens.comparison import experiment_of
from tests.tolerances import assert_unit_means


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sampling_follows_the_policy(dtype):
    """Chi-square of 200,000 draws of a row against its probabilities; the same draws reject the probabilities of another row."""
    rng = np.random.default_rng(5)
    logits = torch.tensor(2 * rng.standard_normal((2, 30)), dtype=dtype)
    norm = reference.measure(logits)
    actions = inverse_transform(logits, norm.log_z, rng.random((2, 200_000)))
    expected = 200_000 * torch.exp(logits.double() - norm.log_z[:, None]).numpy()
    observed = np.stack([np.bincount(a, minlength=30) for a in actions.numpy()])
    common = expected.min(axis=0) > 5
    statistic = np.sum((observed - expected)[:, common] ** 2 / expected[:, common], axis=1)
    limit = stats.chi2(common.sum()).isf(2 * stats.norm.sf(5))
    assert np.all(statistic < limit)
    assert np.sum((observed[0] - expected[1])[common] ** 2 / expected[1][common]) > limit


def test_sampling_hits_the_edges_and_never_an_empty_action():
    logits = torch.tensor([[-800.0, 0.0, -800.0, 0.0, -800.0]], dtype=torch.float64)
    uniforms = np.array([[0.0, 0.4999, 0.5, np.nextafter(1, 0)]])
    assert inverse_transform(logits, reference.measure(logits).log_z, uniforms).tolist() == [[1, 1, 3, 3]]


@pytest.mark.parametrize("changes", [{}, {"reward": {"kind": "gaussian"}, "advantage": {"kind": "group", "size": 8}}])
def test_antithetic_pairs_cancel_the_unclipped_walk(changes):
    """In the first update mirrored rewards give opposite steps: the first-order part cancels within each pair, curvature adds."""
    experiment = experiment_of(replicas=2, antithetic=True, ledger={"detail": "context"}, **changes)
    frame = run(experiment, "tokens").to_frame("contexts")
    first = frame[(frame["step"] == 0) & (frame["arm"] == "none")]
    first = first.pivot(index="context", columns="replica", values=["unclipped", "curvature"])
    a, b = (first["unclipped"][k].to_numpy() for k in (0, 1))
    assert np.allclose(a, -b, rtol=0, atol=1e-14)
    assert np.abs(a).max() > 1e-4
    assert np.allclose(first["curvature"][0], first["curvature"][1], rtol=1e-10)


def test_more_replicas_keep_the_earlier_ones():
    few = run(experiment_of(replicas=2, ledger={"detail": "context"}), "tokens").to_frame("contexts")
    many = run(experiment_of(replicas=3, ledger={"detail": "context"}), "tokens").to_frame("contexts")
    merged = few.merge(many, on=["arm", "step", "replica", "context"], suffixes=("", "_many"))
    assert len(merged) == len(few)
    assert np.allclose(merged["measured"], merged["measured_many"], rtol=0, atol=1e-13)


def test_minibatches_can_be_drawn_again_and_in_any_order():
    experiment = experiment_of()
    engine = TokensEngine()
    _, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first = rollout.draws.take(2)
    rollout.draws._ahead.clear()
    rollout.draws.take(0)
    assert all(torch.equal(a, b) for a, b in zip(first, rollout.draws.take(2), strict=True))
    assert not torch.equal(first[0], rollout.draws.take(1)[0])


@pytest.mark.statistical
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    "changes",
    [
        {
            "advantage": {"kind": "group", "size": 8},
            "reward": {"kind": "bernoulli", "p": 0.3},
            "weights": [0.5] * 20 + [1.5] * 20,
        },
        {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}},
        {"reward": {"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}},
        {"reward": {"kind": "gaussian"}, "antithetic": True},
        {"update": {"minibatch": "shuffled"}},
    ],
)
def test_theory_is_not_rejected(geometry, changes):
    rate = 0.2 if geometry == "natural" else 2.0
    update = {"geometry": geometry, "learning_rate": rate, **changes.get("update", {})}
    verdict = check(experiment_of(**{**changes, "replicas": 8, "update": update}), "tokens")
    scores = {(n, k): a[k] for n, a in verdict.summary["arms"].items() for k in a if k.startswith("z_")}
    assert verdict.verdict != "reject", scores


@pytest.mark.statistical
def test_controls_do_what_they_say():
    arms = [
        {"name": "both", "low": 0.05, "high": 0.15},
        {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}},
        {"name": "matched", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
    ]
    ledger = run(experiment_of(arm=arms, replicas=20, ledger={"detail": "context"}), "tokens")
    frame = ledger.to_frame().set_index(["arm", "step"])
    matched = ledger.to_frame("contexts").query("arm == 'matched'")
    assert_unit_means(matched, "step_variance", frame.loc["both"]["step_variance"])
    for side, sign in (("high", "plus"), ("low", "minus")):
        share = frame.loc["both"][f"clip_count_{side}"] / frame.loc["both"][f"count_{sign}"]
        se = np.sqrt(64 * 0.25 / 800)  # survivors of 64 samples of 800 units
        assert share.max() * 32 > 5 * se
        assert np.all(np.abs(frame.loc["dropped"][f"count_{sign}"] - 32 * (1 - share)) <= 5 * se)
    assert all(ledger.summary()["arms"][name]["verdict"] != "reject" for name in ("dropped", "matched"))
