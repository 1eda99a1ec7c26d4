"""The seeded fuzz, by kind: a fixed number of cases in every test run, many more nightly.

    HYPOTHESIS_PROFILE=nightly python -m pytest tests/robustness/test_fuzz.py   # ten minutes
    python -m tests.robustness --cases 2000 --seed 7                            # a summary by kind
"""

from __future__ import annotations

import os

import pytest

from tests.robustness.campaign import campaign
from tests.robustness.fuzz import KINDS, case_of

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
SEED = 7
CASES = {kind: (2 if kind == "language" else 6) * (20 if NIGHTLY else 1) for kind in KINDS}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_nothing_breaks(kind: str, sandbox) -> None:
    cases = [(f"{kind}/{i}", case_of(kind, SEED, i)) for i in range(CASES[kind])]
    found = [finding for result in campaign(sandbox, cases, jobs=1) for finding in result]
    assert not found, "\n".join(f"{f.name}: {f.command[:300]}\n    {f.fault}" for f in found)
