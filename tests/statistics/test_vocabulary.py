"""The experiments of docs/vocabulary.md at a size that a test can afford, and what the page's data say. Claims T5, T6, T8."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entclip import load, run
from entclip.ledger.verdict import judge
from tests.statistics.brorl import measure

DATA = Path(__file__).resolve().parents[2] / "docs" / "data"


def _smaller(name, label, **changes):
    case = dict(load(name).cases())[label]
    update = case.update.model_copy(update=changes.pop("update", {}))
    policy = case.policy.model_copy(update=changes.pop("policy", {}))
    return case.model_copy(update={"update": update, "policy": policy} | changes)


@pytest.mark.statistical
@pytest.mark.parametrize("label", ["zipf:1,vocab=10", "zipf:1,vocab=1000000000", "normal_logits:4,vocab=100000000"])
def test_theory_holds_at_ten_and_at_a_billion_actions(label):
    arms = run(_smaller("vocab_scale", label, replicas=128, update={"rollouts": 1}), "reduced").summary()["arms"]
    assert "reject" not in {a["verdict"] for a in arms.values()}, {n: a["verdict"] for n, a in arms.items()}
    # Falsifiers: curvature dropped in every arm; the only clip of an arm dropped where the run is judged to see it.
    assert judge(arms["none"] | {"expected_curvature": 0.0})["verdict"] == "reject"
    if arms["high_only"]["verdict_clip_high"] == "agree":
        assert judge(arms["high_only"] | {"expected_clip_high": 0.0})["verdict"] == "reject"


@pytest.mark.statistical
@pytest.mark.parametrize("label", ["zipf:1", "snapshot:smollm2-135m"])
def test_headline_at_a_language_models_vocabulary(label):
    arms = run(_smaller("headline_152k", label, policy={"contexts": 12}, update={"rollouts": 2}), "reduced").summary()["arms"]
    assert len(arms) == 6
    assert "reject" not in {a["verdict"] for a in arms.values()}


def test_published_data_are_those_of_the_shipped_experiments():
    """Every part of every arm is judged; what is open is open for want of clipped samples."""
    rows = json.loads((DATA / "vocab_scale.json").read_text())
    assert {(r["law"] + f",vocab={r['vocab']}") for r in rows} == set(dict(load("vocab_scale").cases()))
    open_ = [(r["law"], r["vocab"], r["arm"]) for r in rows if r["verdict"] != "agree"]
    assert open_ == [("normal_logits:4", 10**9, "both"), ("normal_logits:4", 10**9, "low_only")]
    assert all(r["clip_events_low"] < 10 for r in rows if r["verdict"] != "agree")
    arms = json.loads((DATA / "headline_152k.json").read_text())["arms"]
    assert {name.split("/")[0] for name in arms} == set(dict(load("headline_152k").cases()))
    assert {a["verdict"] for a in arms.values()} == {"agree"}


def test_brorl_raises_what_it_rewards():
    """The published simulator at a thousandth of its size: more samples per update, more gained."""
    gains = []
    for samples in (4, 256):
        row = measure("probability", samples, updates=40, vocab=128, correct=10)
        assert row["samples"] == samples
        causes = ("first_order", "momentum", "weight_decay", "curvature", "remainder")
        assert abs(sum(row[c] for c in causes) - row["measured"]) < 1e-12
        gains.append(row["correct_after"] - row["correct_before"])
    assert gains[1] > gains[0] > 0
