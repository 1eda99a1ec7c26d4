"""The sampled engine: streams, antithetic pairs, weights, epochs, shuffled minibatches, controls, resume, books that balance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from entclip.engines.base import Directive
from entclip.engines.tabular.sampled import SampledEngine
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.arm import ArmLedger, IdentityError
from entclip.runs.runner import check, run
from tests.tolerances import assert_unit_means


def _experiment(**changes):
    update = {"learning_rate": 0.2, "batch": 64, "minibatches": 4, "rollouts": 2} | changes.pop("update", {})
    policy = {"kind": "dirichlet", "vocab": 8, "contexts": 40}
    arms = [{"name": "both"}, {"name": "none", "objective": "none"}]
    return parse_experiment({"policy": policy, "update": update, "arm": arms} | changes)


def test_same_seed_same_ledger_and_another_seed_another():
    first, second, other = (run(_experiment(seed=s)).to_frame() for s in (0, 0, 1))
    assert first.equals(second)
    assert not np.allclose(first["measured"], other["measured"])


def test_more_replicas_keep_the_earlier_ones():
    few = run(_experiment(replicas=2, ledger={"detail": "context"})).to_frame("contexts")
    many = run(_experiment(replicas=3, ledger={"detail": "context"})).to_frame("contexts")
    merged = few.merge(many, on=["arm", "step", "replica", "context"], suffixes=("", "_many"))
    assert len(merged) == len(few)
    assert np.array_equal(merged["measured"], merged["measured_many"])


def test_arms_share_their_first_minibatch():
    """At pi = pi_old nothing clips: with common random numbers two arms make the same first step."""
    frame = run(_experiment()).to_frame()
    first = frame[(frame["rollout"] == 0) & (frame["inner_step"] == 0)]
    assert first["measured"].nunique() == 1
    assert (first[["clip_low", "clip_high", "pi_low", "pi_high"]] == 0).all(axis=None)


def test_antithetic_pairs_cancel_the_unclipped_walk():
    """In the first update mirrored rewards give opposite steps: the first-order part cancels within each pair, curvature adds."""
    experiment = _experiment(replicas=2, antithetic=True, ledger={"detail": "context"})
    frame = run(experiment).to_frame("contexts")
    first = frame[(frame["step"] == 0) & (frame["arm"] == "none")].pivot(
        index="context", columns="replica", values=["unclipped", "curvature"]
    )
    a, b = (first["unclipped"][k].to_numpy() for k in (0, 1))
    assert np.allclose(a, -b, rtol=0, atol=1e-14)
    assert np.abs(a).max() > 1e-4
    assert np.allclose(first["curvature"][0], first["curvature"][1], rtol=1e-10)


@pytest.mark.statistical
@pytest.mark.parametrize("geometry", ["natural", "euclidean"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"advantage": {"kind": "group", "size": 8}, "reward": {"kind": "bernoulli", "p": 0.3}},
        {"advantage": {"kind": "group", "size": 8, "scale": "std"}, "reward": {"kind": "gaussian"}},
        {"advantage": {"kind": "group", "size": 4}, "reward": {"kind": "table", "values": [1, 0, 0, 0, 1, 0, 0, 0.5]}},
        {"reward": {"kind": "gaussian"}},
        {"weights": [0.5] * 20 + [1.5] * 20},
        {"update": {"minibatch": "shuffled"}},
        {"policy": {"kind": "autoregressive", "vocab": 3, "length": 2, "contexts": 40}},
        {
            "arm": [
                {"name": "both", "objective": "dual_clip"},
                {"name": "cispo", "objective": "cispo"},
                {"name": "sapo", "objective": "sapo"},
            ]
        },
    ],
)
def test_theory_is_not_rejected(geometry, changes):
    rate = 0.2 if geometry == "natural" else 2.0
    experiment = _experiment(
        **{**changes, "replicas": 8, "update": {"geometry": geometry, "learning_rate": rate, **changes.get("update", {})}}
    )
    verdict = check(experiment)
    scores = {(n, k): a[k] for n, a in verdict.summary["arms"].items() for k in a if k.startswith("z_")}
    assert verdict.verdict != "reject", scores


def test_reused_and_dependent_samples_have_no_expectation():
    epochs = run(_experiment(update={"epochs": 2})).to_frame()
    assert epochs.loc[epochs["inner_step"] >= 4, "expected_clip_low"].isna().all()
    assert epochs.loc[epochs["inner_step"] < 4, "expected_clip_low"].notna().all()
    groups = {"kind": "group", "size": 4}
    shuffled = run(_experiment(update={"minibatch": "shuffled"}, advantage=groups)).to_frame()
    assert shuffled.loc[shuffled["inner_step"] > 0, "expected_clip_low"].isna().all()
    assert shuffled.loc[shuffled["inner_step"] == 0, "expected_curvature"].notna().all()


@pytest.mark.statistical
def test_controls_do_what_they_say():
    arms = [
        {"name": "both"},
        {"name": "dropped", "objective": "none", "control": {"kind": "drop", "like": "both"}},
        {"name": "matched", "objective": "none", "control": {"kind": "match_kl", "like": "both"}},
    ]
    ledger = run(_experiment(arm=arms, replicas=50, ledger={"detail": "context"}))
    frame = ledger.to_frame().set_index(["arm", "step"])
    # The matched rate is set so that the expectation is what `both` realised: only the matched arm's units scatter about it.
    matched = ledger.to_frame("contexts").query("arm == 'matched'")
    assert_unit_means(matched, "step_variance", frame.loc["both"]["step_variance"])
    units, half = 50 * 40, 32
    for side, sign in (("high", "plus"), ("low", "minus")):
        share = frame.loc["both"][f"clip_count_{side}"] / frame.loc["both"][f"count_{sign}"]
        se = np.sqrt(64 * 0.25 / units)  # survivors of 64 samples of which half have this sign: at most binomial
        assert share.max() * half > 5 * se, "the drop must be large enough to be seen"
        assert np.all(np.abs(frame.loc["dropped"][f"count_{sign}"] - half * (1 - share)) <= 5 * se)
    for name in ("dropped", "matched"):
        assert ledger.summary()["arms"][name]["verdict"] != "reject"


def _one_entry():
    experiment = _experiment()
    engine = SampledEngine()
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    first = next(iter(rollout))
    _, entry = engine.step(state, rollout, first, Directive())
    return experiment, state, entry


@pytest.mark.parametrize(
    ("column", "message"),
    [("clip_low", "do not add up to"), ("remainder", "third-order bound"), ("entropy", "NaN or infinity")],
)
def test_broken_books_are_an_error(column, message):
    experiment, state, entry = _one_entry()
    ArmLedger("", "both", experiment).append(entry, state)
    wrong = np.full_like(entry.columns[column], np.nan) if column == "entropy" else entry.columns[column] + 1e-3
    broken = dataclasses.replace(entry, columns={**entry.columns, column: wrong})
    with pytest.raises(IdentityError, match=message):
        ArmLedger("", "both", experiment).append(broken, state)


def test_entropy_that_jumps_between_updates_is_an_error():
    experiment, state, entry = _one_entry()
    books = ArmLedger("", "both", experiment)
    books.append(entry, state)
    with pytest.raises(IdentityError, match="measured changes do not add up"):
        books.append(entry, state)


def test_interrupted_run_resumes_bit_for_bit(tmp_path):
    experiment = _experiment(update={"rollouts": 4})
    whole = run(experiment, out=tmp_path / "whole").to_frame()

    def stop_late(arm, done, total):
        if done == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, out=tmp_path / "cut", jobs=1, progress=stop_late)
    seen = []
    resumed = run(experiment, out=tmp_path / "cut", jobs=1, progress=lambda arm, done, total: seen.append((arm, done))).to_frame()
    assert seen[0] == ("both", 9), "two whole rollouts of four updates were kept"
    assert resumed.equals(whole)
    files = [(tmp_path / d / "ledger.parquet").read_bytes() for d in ("whole", "cut")]
    assert files[0] == files[1]
    assert not list((tmp_path / "cut").glob(".checkpoint*"))
