"""The configurations of the fixtures, the answers expected of them, and what lint says."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.facts import TrainerConfig
from entclip.integrations.lint.report import Report, lint

__all__ = ["ALL", "EXPECTED", "FIXTURES", "ROOT", "A", "config", "message", "report"]

ROOT = Path(__file__).parents[3]
FIXTURES = Path(__file__).with_name("fixtures")
ALL = tomllib.loads((FIXTURES / "expected.toml").read_text())
EXPECTED = {name: answer for name, answer in ALL.items() if "refused" not in answer}
A = "actor_rollout_ref.actor."


@cache
def config(name: str) -> TrainerConfig:
    """A fixture as it is read: frozen, so that all tests can look at one."""
    return read_config(FIXTURES / name)


@cache
def report(name: str) -> Report:
    return lint(config(name))


def message(text: str, rule: str) -> str:
    return next(f.message for f in lint(read_config(text)).findings if f.id == rule)
