"""A seeded share of the fuzz: no traceback, no hang, no memory beyond the limit, and a folder that can be read or is refused.

Every test run takes the same case of each kind, the nightly one thirty. `python -m tests.robustness` runs any number of them.
"""

from __future__ import annotations

import pytest

from tests.robustness.campaign import examine
from tests.robustness.fuzz import KINDS, case_of
from tests.robustness.sandbox import Sandbox
from tests.robustness.scope import NIGHTLY, share

SEED, CASES = 7, 30 if NIGHTLY else 1
_LOADS_TORCH = ("archives", "language")


@pytest.mark.parametrize("kind", share(KINDS, *(kind for kind in KINDS if kind not in _LOADS_TORCH)))
def test_nothing_breaks(kind: str, sandbox: Sandbox) -> None:
    for index in range(CASES):
        found = examine(sandbox, f"{kind}/{index}", case_of(kind, SEED, index))
        assert not found, [f"{f.name}: {f.command[:300]}: {f.fault}" for f in found]
