"""Grids: what is expanded, and what is refused before a case is made."""

from __future__ import annotations

from typing import Any

import pytest

from entclip.experiments.experiment import parse_experiment
from entclip.support.errors import SpecError


def test_tables_inside_a_grid_are_dotted_keys() -> None:
    nested = parse_experiment({"grid": {"seed": [1, 2], "policy": {"vocab": [16, 32]}, "update": {"batch": [64]}}})
    dotted = parse_experiment({"grid": {"seed": [1, 2], "policy.vocab": [16, 32], "update.batch": [64]}})
    assert nested == dotted
    assert [label for label, _ in nested.cases()] == [f"seed={s},vocab={v},batch=64" for s in (1, 2) for v in (16, 32)]
    assert [case.policy.vocab for _, case in nested.cases()] == [16, 32] * 2  # type: ignore[union-attr]


def test_tables_as_values_stay_whole() -> None:
    spec = parse_experiment({"grid": {"policy": [{"kind": "zipf", "vocab": 8}, {"kind": "uniform", "vocab": 8}]}})
    assert [case.policy.kind for _, case in spec.cases()] == ["zipf", "uniform"]


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"seed": []}, "grid.seed = [] has no values, so there would be no case to run: give at least one, or leave it out."),
        ({"seed": 3}, "grid.seed = 3 is not valid: it must be a list."),
        ({"grid": [{"seed": [1, 2]}]}, "grid.grid: a grid varies keys of the experiment, not another grid"),
        ({"grid": {"seed": [1, 2]}}, "grid.grid.seed: a grid varies keys of the experiment, not another grid"),
        ({"": [1]}, "grid.: a grid varies keys"),
        (
            {"seed": list(range(1000)), "replicas": list(range(1, 1001))},
            "grid: 1000 (seed) x 1000 (replicas) = 1,000,000 cases, over the limit of 10,000",
        ),
        ({"policy": [{"kind": "file", "path": "x" * 300}]}, "grid: the label of a case, 'file:xxxx"),
        ({"policy": [{"kind": "file", "path": "\u6f22" * 50}]}, "grid: the label of a case, 'file:"),
        ({"seed": [1, 1]}, "grid: two cases have the same label, 'seed=1'"),
        ({"policy.vocb": [1]}, "unknown key policy.vocb = 1: did you mean policy.vocab?"),
    ],
)
def test_refused(grid: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_experiment({"grid": grid})
    assert str(caught.value).startswith(message)
