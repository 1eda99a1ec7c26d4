"""The page of quantities has the tables of its data, and its runs give that data."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from entclip.findings import quantities
from entclip.findings.quantities_tables import quantity_tables

DOCS = Path(__file__).parents[2] / "docs"
DATA = json.loads((DOCS / "data" / "quantities.json").read_text("utf-8"))


@cache
def _page() -> str:
    return (DOCS / "quantities.md").read_text("utf-8")


@pytest.mark.parametrize("name", quantity_tables(DATA))
def test_the_page_has_the_tables(name: str) -> None:
    assert quantity_tables(DATA)[name] in _page()


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [x for key in sorted(value) for x in _numbers(value[key])]
    return [x for item in value for x in _numbers(item)] if isinstance(value, list) else [float(value)]


@pytest.mark.parametrize("name", ["gradient", "positions"])
def test_the_runs_give_the_data(name: str) -> None:
    made = getattr(quantities, f"_{name}")()
    np.testing.assert_allclose(_numbers(json.loads(json.dumps(made))), _numbers(DATA[name]), rtol=1e-9, atol=1e-12)


def test_what_the_page_says_is_in_the_data() -> None:
    ratios = [row["independent_signal"] / row["independent_variance"] for row in DATA["gradient"]]
    assert max(ratios) - min(ratios) < 1e-12
    for row in DATA["gradient"]:
        assert row["independent_signal"] == pytest.approx(row["success"] * (1 - row["success"]) / 64)
    every = [stage for stages in DATA["signs"].values() for stage in stages]
    assert all(stage["from_plus"] < 0 and stage["from_minus"] < 0 for stage in every)
    for name, (first, second) in DATA["signs"].items():
        plus_leads = [stage["from_plus"] < stage["from_minus"] for stage in (first, second)]
        assert plus_leads == [name.startswith("natural"), False], name
    for arm in DATA["positions"].values():
        total = {k: sum(stage[f"change_{k}"] for stage in arm) for k in (1, 2, 3, 4)}
        assert total[1] + total[2] < total[3] < total[4] > -0.003
    assert {name: run["counts"][2] for name, run in DATA["support"].items() if run["counts"][2]} == {"euclidean/none": 73}
    for name, run in DATA["law"].items():
        assert 0.018 < run["rmse"] < 0.037
        assert 0.10 < run["ahead"] < 0.14
        assert run["a_half"] < 0.02 * run["a"]
        assert (run["ceiling"] > 1.4) is name.startswith("natural")
