"""Natural steps whose expected curvature is carried by samples that no run draws: inconclusive with the reason, at every seed.

The policies sharpen until rare actions have 1e-20 of the probability and one sample of them would move a logit by 1e20. The mean
of curvature then is that of events which no run sees; units scatter little about what they did see, and their own skewness knows
nothing of it.
"""

import pytest

from entclip.experiments.experiment import parse_experiment
from entclip.experiments.start import single_push, takeover_ratio
from entclip.ledger.verdict import judge
from entclip.runs.runner import run

SEEDS = range(8)
# Batches of 8: takeover ratio .61, below the 1 from which on a single sample can hand the whole policy over.
RUNS = {
    "sixteen": {"vocab": 16, "contexts": 16, "minibatches": 16, "rollouts": 5, "rate": 0.36},
    "eight": {"vocab": 8, "contexts": 64, "minibatches": 16, "rollouts": 3, "rate": 0.69},
}


def heavy(seed, *, vocab, contexts, minibatches, rollouts, rate, batch=8):
    return parse_experiment(
        {
            "seed": seed,
            "replicas": 8,
            "policy": {"kind": "zipf", "vocab": vocab, "contexts": contexts},
            "update": {
                "geometry": "natural",
                "learning_rate": rate,
                "batch": batch,
                "minibatches": minibatches,
                "rollouts": rollouts,
            },
            "arm": [{"name": "both", "low": 0.2, "high": 0.2}],
        }
    )


@pytest.mark.statistical
@pytest.mark.parametrize("name", RUNS)
def test_no_seed_rejects_and_the_reason_is_given(name):
    assert takeover_ratio(heavy(0, **RUNS[name])) == pytest.approx(0.61, abs=0.005)
    assert single_push(heavy(0, **RUNS[name])) > 1, "which is what a run of it is warned by"
    sampled_alone = 0
    for seed in SEEDS:
        arm = run(heavy(seed, **RUNS[name]), jobs=1).summary()["arms"]["both"]
        assert arm["verdict"] == "inconclusive"
        before = judge({key: value for key, value in arm.items() if key not in ("curvature_rare_se", "why_curvature")})
        if before["verdict"] == "reject":
            sampled_alone += 1
            assert "samples that this run has hardly drawn" in arm["why_curvature"]
    assert sampled_alone >= 4, "the error that was seen alone rejects at half of the seeds, or this tests nothing"


@pytest.mark.statistical
def test_a_batch_large_enough_is_judged_by_what_was_seen():
    """The same policy and steps of the same noise, sampled enough: theory's own part of the error is small, and it agrees."""
    for seed in SEEDS:
        spec = heavy(seed, vocab=16, contexts=16, minibatches=16, rollouts=1, rate=0.1, batch=512)
        arm = run(spec, jobs=1).summary()["arms"]["both"]
        assert arm["curvature_rare_se"] < arm["residual_curvature_se"] / 2
        assert arm["verdict_curvature"] == "agree"
        assert "why_curvature" not in arm
        for sign in (-1, 1):
            wrong = judge(arm | {"curvature": arm["expected_curvature"] + 8 * sign * arm["residual_curvature_se"]})
            assert wrong["verdict_curvature"] == "reject", "falsifier: theory's error hides no curvature that is eight errors off"


def test_few_clipped_samples_are_a_reason_too():
    arm = run(heavy(0, **RUNS["eight"] | {"rollouts": 1}), jobs=1).summary()["arms"]["both"]
    few = arm | {"clip_low": arm["expected_clip_low"] + 50 * arm["residual_clip_low_se"], "clip_events_low": 3.0}
    judged = judge(few)
    assert judged["verdict_clip_low"] == "inconclusive"
    assert judged["why_clip_low"] == "3 samples were clipped, and a standard error means little below 10."
