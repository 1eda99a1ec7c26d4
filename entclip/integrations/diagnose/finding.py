"""What a diagnosis consists of: findings with their evidence, and the registry of the claims that make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from entclip.integrations.diagnose.evidence import Evidence
from entclip.integrations.diagnose.run import Run

__all__ = ["LEVELS", "Confidence", "Finding", "Level", "claim", "claims"]

Level = Literal["info", "warn", "error"]
Confidence = Literal["high", "medium", "low"]
LEVELS: tuple[Level, ...] = ("info", "warn", "error")
Claim = Callable[[Run], "Finding | None"]
_CLAIMS: dict[str, Claim] = {}


@dataclass(frozen=True)
class Finding:
    """One answer.

    Attributes:
        claim: what is asked; labels: the answer in words that a program can test.
        level: info, warn or error, for --fail-on.
        answer: one sentence. reason: what stands behind the confidence.
        change: what to change, with both readings of the sign; empty where there is nothing to change.
    """

    claim: str
    labels: tuple[str, ...]
    level: Level
    answer: str
    evidence: tuple[Evidence, ...] = ()
    confidence: Confidence = "high"
    reason: str = ""
    change: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return one plain object."""
        return asdict(self)


def claim(name: str) -> Callable[[Claim], Claim]:
    """Register a claim under its name; they are asked in the order of registration."""

    def register(function: Claim) -> Claim:
        if name in _CLAIMS:
            raise ValueError(f"claim {name!r} is registered already.")
        _CLAIMS[name] = function
        return function

    return register


def claims() -> dict[str, Claim]:
    """Return every claim by name."""
    return dict(_CLAIMS)
