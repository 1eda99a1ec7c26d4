"""The registry of traps: a rule is a small function from a configuration to a message, or None where it does not apply.

Rules of `traps_clip` and `traps_metrics` read facts and hold for every library. What only one library does is registered by that
library's folder, under an id of its own or one that several share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from entclip.integrations.lint.facts import TrainerConfig

__all__ = ["Finding", "Rule", "findings", "rule", "rules"]

Severity = Literal["error", "warn", "info"]
Check = Callable[[TrainerConfig], str | None]
_ORDER = {"error": 0, "warn": 1, "info": 2}
_RULES: dict[str, Rule] = {}


@dataclass(frozen=True)
class Rule:
    """id: also its heading in docs/lint.md. checks: message or None, for every library (key "") or for the one named.

    common: it is true of nearly every file, so a short answer leaves it out.
    """

    id: str
    severity: Severity
    common: bool = False
    checks: dict[str, Check] = field(default_factory=dict)

    def message(self, config: TrainerConfig) -> str | None:
        """Return what to say of a configuration, None where the trap does not apply."""
        check = self.checks.get(config.library.name) or self.checks.get("")
        return None if check is None else check(config)


@dataclass(frozen=True)
class Finding:
    """A trap that applies: what is set, what it does, how to change it, and where it is explained."""

    id: str
    severity: Severity
    message: str
    common: bool = False

    @property
    def link(self) -> str:
        return f"docs/lint.md#{self.id}"


def rule(name: str, severity: Severity, library: str = "", *, common: bool = False) -> Callable[[Check], Check]:
    """Register a check under an id, for every library or for the one whose folder it lies in.

    Raises: ValueError if the id has that check already, or another severity.
    """

    def register(check: Check) -> Check:
        known = _RULES.setdefault(name, Rule(name, severity, common))
        if known.severity != severity or library in known.checks:
            raise ValueError(f"rule {name!r} is registered already for {library or 'every library'}, as {known.severity}.")
        known.checks[library] = check
        return check

    return register


def rules() -> dict[str, Rule]:
    """Return every rule by id."""
    return dict(_RULES)


def findings(config: TrainerConfig) -> list[Finding]:
    """Return the traps that apply to a configuration, errors first.

    Where something that is not read could set what is not set, only what holds whatever it sets is said without a condition; an
    error that does not is a warning.
    """
    found = []
    for each in rules().values():
        message = each.message(config)
        if message is None:
            continue
        severity = each.severity
        sure = config.certain and all(each.message(certain) == message for certain in config.certain)
        if config.unless and severity != "info" and not sure:
            severity, message = "warn", f"{config.unless}: {message}"
        found.append(Finding(each.id, severity, message, each.common))
    return sorted(found, key=lambda finding: _ORDER[finding.severity])
