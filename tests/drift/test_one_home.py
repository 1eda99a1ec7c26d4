"""Each formula of the theory is written once: what engines repeat of one for speed is listed, and held to it by their tests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import entclip

PACKAGE = Path(entclip.__file__).parent
# By formula: how it is spelt, its home, and streamed or reduced sums that conformance tests compare with the home.
HOMES = {
    "T1's diagonal, x + 1 - p (2 x + 1)": (
        r"\+ 1 - (\w+\.)?p\w* \* \(2 \* \w+ \+ 1\)",
        "drift/actions.py",
        {"engines/tokens/kernels/reference.py", "engines/tokens/kernels/triton_passes.py"},
    ),
    "T8's share of pairs, 1 - 1/B": (
        r"1 - 1 / (\w+\.)?batch",
        "drift/second_order.py",
        {"engines/head/expected_curvature.py", "engines/tokens/columns.py", "engines/reduced/expected.py"},
    ),
    "the sum of causes by side": (r"\bup \* change\.high", "objectives/base.py", set()),
    "what a random drop leaves": (r"/ keep|\* keep\.plus", "objectives/drop.py", {"drift/first_order.py"}),
    "T3's remainder, 7 sigma/8": (r"7 \* .*/ 8", "drift/cumulants.py", set()),
}


@pytest.mark.parametrize("formula", HOMES)
def test_a_formula_is_written_in_its_home_alone(formula: str) -> None:
    spelling, home, faster = HOMES[formula]
    found = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if any(re.search(spelling, line.split("#")[0]) for line in path.read_text().splitlines())
    }
    assert found == {home} | faster
