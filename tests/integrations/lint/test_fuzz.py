"""A share of the mutated configurations of `fuzz`, 5,000 in the nightly run: no traceback, whatever is in the file."""

from __future__ import annotations

import pytest

from tests.integrations.lint.fuzz import answered, mutated
from tests.robustness.scope import NIGHTLY


@pytest.mark.parametrize("start", range(0, 5000 if NIGHTLY else 200, 50))
def test_mutated_files_are_answered_or_refused(start):
    said = [answered(mutated(seed)) for seed in range(start, start + 50)]
    assert {"answered", "refused"} == set(said)
