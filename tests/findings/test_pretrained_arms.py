"""The pretrained model among the findings: differences pair by pair, errors over pairs, and what is not measured left out."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from entclip.findings.data import Contrast, load_catalogue
from entclip.findings.kept import read_data
from entclip.findings.pretrained.arms import arms_of
from entclip.findings.pretrained.decide import pooled
from entclip.findings.pretrained.kin import HEADLINE, MORE
from entclip.findings.runs import make
from entclip.findings.verdicts import judge_contrast

DOCS = Path(__file__).parents[2] / "docs"
DECIDED = json.loads((DOCS / "data" / "pretrained.json").read_text("utf-8"))
HEAD = pooled(DECIDED[HEADLINE], DECIDED[MORE])


def decided(**changes):
    """What `decide` says of arms with these changes of entropy, one a pair."""
    arms = {
        name: {"measured": {"values": values}, "clip_fraction_low": 0.01, "clip_fraction_high": 0.0}
        for name, values in changes.items()
    }
    return {"pairs": list(range(len(next(iter(changes.values()))))), "arms": arms}


def test_a_difference_is_taken_pair_by_pair():
    """The walk that both arms share drops out of the difference, though each arm's own error is wide."""
    walk = np.array([3.0, -2.0, 0.5, -1.0])
    steps = np.array([0.1, 0.12, 0.08, 0.1])
    arm = arms_of(decided(none=walk.tolist(), low=(walk + steps).tolist()))["low"]
    assert arm["units"] == 4
    assert arm["minus_none"] == pytest.approx(steps.mean(), abs=1e-15)
    assert arm["minus_none_se"] == pytest.approx(stats.sem(steps), rel=1e-12)
    assert arm["measured_se"] == pytest.approx(stats.sem(walk + steps), rel=1e-12)
    contrast = Contrast(run="smollm2", column="minus_none", arm="low", sign=1)
    (judged,) = judge_contrast(contrast, {"low": arm})
    assert judged.verdict == "reproduced"
    assert judged.interval == pytest.approx(stats.t.interval(0.99, 3, steps.mean(), stats.sem(steps)), rel=1e-12)


def test_parts_of_accounted_updates_come_with_their_errors():
    data = decided(both=[0.1, 0.3, 0.2])
    parts = {"clip_low": [0.02, 0.01, 0.03], "clip_high": [-0.05, -0.01, 0.0], "curvature": [0.0, 0.0, 0.001]}
    data["arms"]["both"] |= {"parts_by_pair": parts, "gap_low": 1.5, "gap_high": None}
    arm = arms_of(data)["both"]
    for name, values in parts.items():
        assert (arm[name], arm[f"{name}_se"]) == (pytest.approx(np.mean(values)), pytest.approx(stats.sem(values)))
    assert (arm["gap_low"], arm["gap_high"]) == (1.5, None)
    assert "minus_none" not in arm


def test_the_findings_rest_on_the_pairs_of_the_page():
    kept, own = read_data(DOCS)["smollm2"]["arms"], arms_of(HEAD)
    assert {name: set(arm) for name, arm in kept.items()} == {name: set(arm) for name, arm in own.items()}
    for name, arm in own.items():
        for column, value in arm.items():
            assert kept[name][column] == pytest.approx(value, rel=1e-5), (name, column)


def test_a_verdict_is_that_of_the_page():
    """The two rules, of `decide` and of the findings, call the same pairs the same."""
    words = {"raises": 1, "lowers": -1}
    for name, arm in HEAD["arms"].items():
        if name != "none":
            contrast = Contrast(run="smollm2", column="minus_none", arm=name, sign=1)
            (judged,) = judge_contrast(contrast, arms_of(HEAD))
            sign = {"reproduced": 1, "contradicted": -1, "open": None}[judged.verdict]
            assert sign == words.get(arm["minus_none"]["verdict"])


def test_without_pairs_it_is_left_out_with_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    item = make(load_catalogue().runs["smollm2"], False, tmp_path / "out")
    assert (item.status, item.data) == ("skipped", None)
    assert "make smollm2" in item.detail
    assert "hours" in item.detail
