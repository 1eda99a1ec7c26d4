"""The statistical suite at one seed that nobody picked; false_alarms.py runs it at many."""

from __future__ import annotations

import math

import pytest

from tests.statistics.cases import CASES
from tests.statistics.suite import Check, checks, rejected


@pytest.fixture(scope="module")
def found() -> list[Check]:
    return checks(0)


@pytest.mark.statistical
def test_theory_is_not_rejected(found: list[Check]) -> None:
    assert [c for c in found if c.kind == "agreement" and rejected(c)] == []


@pytest.mark.statistical
def test_every_falsifier_is_rejected(found: list[Check]) -> None:
    assert [c for c in found if c.kind == "falsifier" and not rejected(c)] == []


@pytest.mark.statistical
def test_nothing_was_left_out(found: list[Check]) -> None:
    """Every case scores the parts that are never identically 0, and every objective and both geometries appear."""
    names = [c.name for c in found]
    assert len(set(names)) == len(names)
    assert {f"{case.name}/{part}" for case in CASES for part in ("unclipped", "curvature")} <= set(names)
    assert {f"{case.name}/{wrong}" for case in CASES for wrong in case.falsifiers} <= set(names)


@pytest.mark.parametrize(
    ("z", "kind", "expected"),
    [(5.1, "agreement", True), (-4.9, "agreement", False), (math.nan, "agreement", True), (math.nan, "falsifier", False)],
)
def test_a_score_that_is_no_number_never_passes(z: float, kind: str, expected: bool) -> None:
    assert rejected(Check("x", z, kind, 512)) is expected  # type: ignore[arg-type]
