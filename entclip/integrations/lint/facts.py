"""A trainer configuration in one language: which bounds the objective has, on what quantity, and how often a rollout is used.

Every fact carries the key that it came from and whether the configuration says it or the library's default does. `Unresolved`
stands for a value that the configuration does not hold (a shell variable, the number of devices).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from entclip.integrations.lint.libraries import Library
from entclip.integrations.lint.reading import Unresolved

__all__ = ["Fact", "TrainerConfig", "Updates", "is_number", "shown"]


@dataclass(frozen=True)
class Fact:
    """A value, the key that it comes from, and whether the configuration sets it (False: the library's default)."""

    value: Any
    key: str
    explicit: bool = False

    @property
    def unknown(self) -> bool:
        return isinstance(self.value, Unresolved)


@dataclass(frozen=True)
class Updates:
    """Optimiser steps taken on one rollout. count None: unknown. engine: the ratio is to the sampling engine's probabilities,
    so it is not 1 even on the first step. stale: rollouts older than the step before may be trained on."""

    count: float | None
    formula: str
    engine: bool = False
    stale: bool = False


@dataclass(frozen=True)
class TrainerConfig:
    """What a configuration says about its clip, normalised.

    low, high: widths, interval [1 - low, 1 + high]; low 1 and high inf are off; None: the objective has no such bound. Their
    meaning follows `space`: ratio, log_ratio, probability (a difference pi - pi_old), divergence, none or unknown.
    renamed: flags of an older version. elsewhere: files and shell arguments that are not read here
    but may hold settings. shell_defaults: "NAME=value" taken from a script's ${NAME:-value}.
    cap: bound on the ratio of tokens with A < 0 (dual clip), None if off. level: token or sequence.
    """

    library: Library
    evidence: str
    objective: Fact
    kind: str
    space: str
    level: Fact
    low: Fact
    high: Fact
    cap: Fact
    updates: Updates
    temperature: Fact
    advantage: Fact
    aggregation: Fact
    group_size: Fact
    entropy_coef: Fact
    kl_coef: Fact
    log_prob_dtype: Fact
    engine_correction: Fact
    values: Mapping[str, Any] = field(default_factory=dict)
    unknown_keys: tuple[tuple[str, str | None], ...] = ()
    renamed: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    shell_defaults: tuple[str, ...] = ()

    def get(self, key: str) -> Fact:
        """A key's value as configured, or the library's default."""
        if key in self.values:
            return Fact(self.values[key], key, True)
        return Fact(self.library.defaults[key], key)


def is_number(value: Any) -> bool:
    """A finite or infinite number, no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(value: Any) -> str:
    """A value as people write it: whole numbers without a point, None as unset, lists in brackets."""
    if value is None:
        return "unset"
    return f"{value:g}" if is_number(value) else str(value)
