"""How much runs: a fixed share in every test run, everything where HYPOTHESIS_PROFILE is nightly."""

from __future__ import annotations

import os
from collections.abc import Iterable

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


def share(everything: Iterable[str], *chosen: str) -> list[str]:
    """`chosen` in every test run, everything in the nightly one; a choice that is not among everything is an error."""
    names = list(everything)
    assert set(chosen) <= set(names), set(chosen) - set(names)
    return names if NIGHTLY else list(chosen)
