"""Findings about published objectives: their numbers are those of the runs, and a wrong number or formula is seen."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.findings.data import load_catalogue
from entclip.findings.family.experiments import AGAINST, FAMILY, family_experiment
from entclip.findings.family.own_drift import MEMBERS, members_own_drift
from entclip.findings.family.paired import paired_arms
from entclip.findings.runs import make
from entclip.findings.verdicts import finding_verdict, judge_finding
from entclip.runs.runner import run

DATA = Path(__file__).parents[2] / "docs" / "data" / "findings"
CATALOGUE = load_catalogue()


def kept(name: str) -> dict[str, Any]:
    return json.loads((DATA / f"{name}.json").read_text("utf-8"))["arms"]


def test_first_order_drift_is_computed_again() -> None:
    """Two of the three policies; the kept numbers have six digits."""
    found = members_own_drift(("dirichlet:2", "zipf:1"))
    assert set(found) == {key for key in kept("own_drift") if not key.startswith("smollm2")}
    for key, columns in found.items():
        for column, value in columns.items():
            assert kept("own_drift")[key][column] == pytest.approx(value, rel=1e-5, abs=1e-15), (key, column)


def test_a_member_with_unequal_widths_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The falsifier of the identity: ABC-GRPO with one width of .21 is not neutral to 1e-12."""
    changed = {"abc_grpo": replace(MEMBERS["abc_grpo"], high_neg=0.21)}
    monkeypatch.setattr("entclip.findings.family.own_drift.MEMBERS", changed)
    for columns in members_own_drift(("zipf:1",)).values():
        assert max(abs(columns["own_min"]), abs(columns["own_max"])) > 1e-6


def test_a_run_gives_its_data() -> None:
    """The euclidean masks again, all replicas: every column of two arms and their difference."""
    experiment = family_experiment("family_mask_unequal")
    experiment = experiment.model_copy(update={"arm": tuple(a for a in experiment.arm if a.name in ("clip", "mask_all"))})
    found = paired_arms(run(experiment, jobs=1), ("clip",))
    for name, arm in found.items():
        known = kept("family_mask_unequal")[name]
        for column in ("measured", "measured_cv", "own", "own_se", "clip_high", "policy_reward"):
            assert known[column] == pytest.approx(arm[column], rel=1e-5), (name, column)
    assert kept("family_mask_unequal")["mask_all"]["minus_clip"] == pytest.approx(found["mask_all"]["minus_clip"], rel=1e-5)


def test_differences_are_taken_unit_by_unit() -> None:
    """minus_ARM is the difference of the two means; where two arms move alike, with less error than unpaired means have."""
    arms = kept("family_euclidean")
    for name, arm in arms.items():
        if name not in ("none", "clip"):
            assert arm["minus_none"] == pytest.approx(arm["measured_cv"] - arms["none"]["measured_cv"], abs=2e-7), name
    for name in ("abc_grpo", "cispo"):
        assert arms[name]["minus_none_se"] < math.hypot(arms[name]["measured_cv_se"], arms["none"]["measured_cv_se"]), name


def test_own_is_the_sum_of_its_causes() -> None:
    for name in ("family_natural", "family_euclidean", "family_true"):
        for arm in kept(name).values():
            parts = [arm["clip_low"], arm["clip_high"], arm["other"]]
            # The kept numbers have six digits each, and unclipped causes of ABC-GRPO cancel.
            assert math.fsum(parts) == pytest.approx(arm["own"], abs=1e-5 * max(map(abs, (*parts, 1e-9))))


def test_a_number_of_the_other_sign_turns_the_verdict() -> None:
    results = {name: {"arms": kept(name)} for name in ("own_drift", *FAMILY)}
    (reversed_low,) = (f for f in CATALOGUE.family if f.id == "gppo-reversed")
    own = tuple(c for c in reversed_low.contrast if c.run == "own_drift")
    assert finding_verdict(judge_finding(own, results)) == "reproduced"
    for arm in results["own_drift"]["arms"].values():
        arm["mean_low"] = -arm["mean_low"]
    assert finding_verdict(judge_finding(own, results)) == "contradicted"


def test_every_family_finding_has_runs_and_references() -> None:
    assert set(AGAINST) == set(FAMILY)
    for finding in CATALOGUE.family:
        for contrast in finding.contrast:
            if CATALOGUE.runs[contrast.run].family is not None and contrast.column.startswith("minus_"):
                assert contrast.column.removeprefix("minus_") in AGAINST[contrast.run], finding.id


def test_objectives_side_by_side_are_made_by_reproduce(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "update": FAMILY["family_true"]["update"] | {"rollouts": 1, "minibatches": 2},
        "arm": FAMILY["family_true"]["arm"][:3],
    }
    monkeypatch.setitem(FAMILY, "family_true", FAMILY["family_true"] | small)
    item = make(CATALOGUE.runs["family_true"], True, tmp_path)
    assert item.status == "run"
    assert item.data is not None
    assert (item.data["mode"], item.data["digest"]) == ("quick", family_experiment("family_true", True).digest)
    assert set(item.data["arms"]) == {"none", "clip", "clip_higher"}
    assert np.isfinite(item.data["arms"]["clip"]["minus_none_se"])
