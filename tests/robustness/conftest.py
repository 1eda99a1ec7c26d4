"""One sandbox for all tests of a worker: its servers start when first used."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.robustness.campaign import workshop
from tests.robustness.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with workshop() as made:
        yield made
