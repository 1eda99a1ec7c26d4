"""Hypothesis profiles for every property test: dev (default), ci (where CI is set) and nightly.

    HYPOTHESIS_PROFILE=nightly python -m pytest tests/properties -n auto

That takes about ten core-hours; no single test takes more than one. dev (20 examples a test) and ci (100) draw the same examples
every time and keep no example database. nightly draws 10^5 fresh examples for each test; a failure prints a blob that reproduces
it, and the database under .hypothesis/ replays it first the next time.
"""

from __future__ import annotations

import gc
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis.strategies import none

# How long an example takes depends on its vocabulary and on who shares the machine: neither is a fault of a test.
_COMMON = dict(deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])

settings.register_profile("dev", max_examples=20, derandomize=True, database=None, **_COMMON)
settings.register_profile("ci", max_examples=100, derandomize=True, database=None, **_COMMON)
settings.register_profile("nightly", max_examples=100_000, derandomize=False, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


def pytest_collection_finish(session: Any) -> None:
    """Let the collector of garbage leave alone what importing and collecting 8,000 tests made: all of it stays to the end."""
    # At its first test Hypothesis asks the collector who else holds its random generator; what is frozen holds nothing.
    given(none())(lambda value: None)()
    gc.collect()
    gc.freeze()
