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
def test_predictive_holds_within_two_per_cent(case: str) -> None:
    assert errors(DATA[case]["predictive"])[1] < 0.02


def test_in_the_language_model_it_falls_short_as_the_page_says() -> None:
    """Within 2 % for five rollouts, 3.9 % after the seventh, 3.8 % at the end; 8.1 % without it or with another rule."""
    arms = DATA["language model"]
    off = {name: [h / arm["target"] - 1 for h in arm["entropy"]] for name, arm in arms.items()}
    held = [abs(x) < 0.02 for x in off["predictive"]]
    assert held[:5] == [True] * 5
    assert [f"{100 * off['predictive'][k]:.1f}" for k in (5, 6, 8)] == ["2.3", "3.9", "3.8"]
    assert {round(100 * off[name][-1]) for name in ("fixed", "thermostat", "pi")} == {8}
    assert set(arms["predictive"]["can_hold"]) == {1.0}
    assert errors(arms["predictive-low"])[0] > errors(arms["fixed"])[0]


@pytest.mark.parametrize("case", CASES)
def test_predictive_is_at_half_the_distance(case: str) -> None:
    arms = DATA[case]
    mean, _ = errors(arms["predictive"])
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
