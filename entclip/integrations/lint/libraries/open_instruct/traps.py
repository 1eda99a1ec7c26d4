"""Traps that only open-instruct has, or that it has in its own way."""

from __future__ import annotations

from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.rules import rule

__all__: list[str] = []


@rule("entropy-not-logged", "warn", "open-instruct")
def _not_logged(config: TrainerConfig) -> str | None:
    if config.entropy_logged:
        return None
    return "record_entropy is False, so the policy's entropy is not logged: --record_entropy True logs it, for some memory."
