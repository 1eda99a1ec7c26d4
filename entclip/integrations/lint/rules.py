"""The registry of traps: a rule is a small function from a configuration to a message, or None where it does not apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from entclip.integrations.lint.facts import TrainerConfig

__all__ = ["Finding", "Rule", "findings", "rule", "rules"]

Severity = Literal["error", "warn", "info"]
Check = Callable[[TrainerConfig], str | None]
_ORDER = {"error": 0, "warn": 1, "info": 2}
_RULES: dict[str, Rule] = {}


@dataclass(frozen=True)
class Rule:
    """id: also its heading in docs/lint.md. libraries: those it can speak about. check: the message, or None."""

    id: str
    severity: Severity
    libraries: tuple[str, ...]
    check: Check


@dataclass(frozen=True)
class Finding:
    """A trap that applies: what is set, what it does, how to change it, and where it is explained."""

    id: str
    severity: Severity
    message: str

    @property
    def link(self) -> str:
        return f"docs/lint.md#{self.id}"


def rule(name: str, severity: Severity, *libraries: str) -> Callable[[Check], Check]:
    """Register a check under an id, for the named libraries (none named: all four)."""

    def register(check: Check) -> Check:
        _RULES[name] = Rule(name, severity, libraries or ("trl", "verl", "openrlhf", "prime-rl"), check)
        return check

    return register


def rules() -> dict[str, Rule]:
    """Every rule by id."""
    return dict(_RULES)


def findings(config: TrainerConfig) -> list[Finding]:
    """The traps that apply to a configuration, errors first."""
    applied = [r for r in rules().values() if config.library.name in r.libraries]
    found = [Finding(r.id, r.severity, message) for r in applied if (message := r.check(config)) is not None]
    return sorted(found, key=lambda finding: _ORDER[finding.severity])
