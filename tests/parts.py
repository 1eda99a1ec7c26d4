"""Parts of a summary beside their expectations: enumerated to rounding, sampled within standard errors."""

from __future__ import annotations

from typing import Any

from entclip.ledger.columns import PARTS
from tests.tolerances import SIGMAS

__all__ = ["apart", "assert_beside_theory"]


def apart(found: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether a part's expectation in `other` is over 1e-12 of all terms from what was enumerated."""
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    return any(abs(found[part] - other[f"expected_{part}"]) > room for part in PARTS)


def assert_beside_theory(found: dict[str, Any]) -> None:
    """Every part's residual is within five standard errors, and the largest part would be seen if it were left out."""
    seen = 0.0
    for part in PARTS:
        residual, se = found[part] - found[f"expected_{part}"], found[f"residual_{part}_se"]
        assert abs(residual) <= SIGMAS * se + 1e-13, part
        seen = max(seen, abs(found[f"expected_{part}"]) / (se + 1e-13))
    assert seen > 2 * SIGMAS, "falsifier: a part left out would be seen"
