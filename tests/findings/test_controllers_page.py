"""The page of controllers has the table of its data, says what the data says, and a run gives that data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entclip.findings.controllers import CASES, RULES, controllers_table, errors, measured

DOCS = Path(__file__).parents[2] / "docs"
DATA = json.loads((DOCS / "data" / "controllers.json").read_text("utf-8"))
TABLES = [case for case in CASES if case != "language model"]


def test_the_page_has_the_table() -> None:
    assert controllers_table(DATA) in (DOCS / "controllers.md").read_text("utf-8")


@pytest.mark.parametrize("case", TABLES)
def test_predictive_holds_within_two_per_cent_and_at_half_the_distance(case: str) -> None:
    arms = DATA[case]
    mean, largest = errors(arms["predictive"])
    assert largest < 0.02
    for other in ("fixed", "thermostat", "pi"):
        assert mean <= errors(arms[other])[0] / 2, other


@pytest.mark.parametrize("case", ["natural, true", "euclidean, true"])
def test_it_says_where_no_width_holds_and_what_that_costs(case: str) -> None:
    predictive, fixed = DATA[case]["predictive"], DATA[case]["fixed"]
    assert sum(value == 0 for value in predictive["can_hold"]) >= 6
    assert predictive["policy_reward"][-1] < 0.4 < 0.75 < fixed["policy_reward"][-1]


def test_a_run_gives_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entclip.findings.controllers.RULES", {"predictive": RULES["predictive"]})
    found = measured("euclidean, true")["predictive"]
    for key, values in DATA["euclidean, true"]["predictive"].items():
        assert found[key] == pytest.approx(values, rel=1e-9), key
