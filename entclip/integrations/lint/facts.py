"""A trainer configuration in one language: which bounds the objective has, on what quantity, and how often a rollout is used.

Every fact carries the key that it came from and whether the configuration says it or the library's default does. `Unresolved`
stands for a value that the configuration does not hold (a shell variable, the number of devices).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from entclip.integrations.lint.library import Library
from entclip.integrations.lint.values import Unresolved, is_number, shown

__all__ = ["Fact", "Reader", "TrainerConfig", "Updates", "either", "stated"]

TO_ENGINE = "ratio to the engine"  # instead of a correction for the mismatch: what the ratio is taken to holds it


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
    """Optimiser steps taken on one rollout. count None: unknown, but at least `least`.

    engine: why the ratio is to the sampling engine's probabilities, so that it is not 1 even on the first step; empty where it is
    not. stale: how much older than the step before a rollout may be; empty where it is not. mismatch_only: why nothing but the
    mismatch between engine and trainer can move the ratio from 1; empty where learning does. stop: the setting that ends a
    rollout's updates once its KL divergence is beyond `stop_at` nats, so that `most` is the largest count and no count is known.
    """

    count: float | None
    formula: str
    engine: str = ""
    stale: str = ""
    mismatch_only: str = ""
    least: float = 1.0
    most: float | None = None
    stop: str = ""
    stop_at: float | None = None

    def stopped(self, fact: Fact, factor: float, least: float = 1.0) -> Updates:
        """Return these updates where a KL divergence beyond `factor` times the fact's value ends them, unless it is unset."""
        if fact.value is None or (fact.unknown and not fact.explicit) or (self.count is not None and self.count <= 1):
            return self
        at = factor * fact.value if is_number(fact.value) else None
        return replace(self, count=None, least=least, most=self.count, stop=f"{fact.key} = {shown(fact.value)}", stop_at=at)


_NONE = Fact(None, "")
_MOST_COUNTS = 100  # combinations of values that keys may have


@dataclass(frozen=True)
class TrainerConfig:
    """What a configuration says about its clip, normalised.

    low, high: widths, interval [1 - low, 1 + high]; low 1 and high inf are off; None: the objective has no such bound. Their
    meaning follows `space`: ratio, log_ratio, probability (a difference pi - pi_old), divergence, none or unknown.
    renamed: flags of an older version. elsewhere: files and shell arguments that are not read here
    but may hold settings. shell_defaults: "NAME=value" taken from a script's ${NAME:-value}. passes_on: whether
    a script hands its own arguments on, as "$@" or by a parser of arguments: they can change every setting. asks: whether a
    condition of it asks for them, so that they can change what it sets. python: whether the script is one of Python.
    cap: bound on the ratio of tokens with A < 0 (dual clip), None if off; caps_both: of those with A > 0 too.
    level: token or sequence. unread: keys of bounds that
    the loss does not read. assumed: what is taken for granted about the version, empty where nothing is. doubtful: keys that are
    not known here and may decide what the clip does. alone: what the library makes of a group of one, where that is set. A fact
    without a key is one that the library has no key for. certain: the same without what rests on a default, where something that
    is not read or not known may set it; empty where nothing may, or nothing is certain then.
    """

    library: Library
    evidence: str
    objective: Fact
    kind: str
    space: str
    level: Fact
    low: Fact
    high: Fact
    updates: Updates
    cap: Fact = _NONE
    caps_both: bool = False
    temperature: Fact = _NONE
    advantage: Fact = _NONE
    aggregation: Fact = _NONE
    group_size: Fact = _NONE
    entropy_coef: Fact = _NONE
    kl_coef: Fact = _NONE
    log_prob_dtype: Fact = _NONE
    engine_correction: Fact = Fact("same engine", "")
    entropy_logged: bool = True
    alone: str = ""
    assumed: str = ""
    doubtful: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    unknown_keys: tuple[tuple[str, str | None], ...] = ()
    renamed: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    shell_defaults: tuple[str, ...] = ()
    passes_on: bool = False
    asks: bool = False
    python: bool = False
    certain: tuple[TrainerConfig, ...] = ()

    @property
    def hidden(self) -> tuple[str, ...]:
        """Return what is not read or not known here and may set what is not set."""
        return (*self.elsewhere, *self.doubtful)

    @property
    def unless(self) -> str:
        """Return the condition under which a default is one, empty where nothing else can set it."""
        if self.hidden:
            first, more = self.hidden[0], len(self.hidden) - 1
            return f"Unless {first[:40]}{f' or {more} more' if more else ''} says otherwise"
        return f"If {self.nothing}" if self.passes_on else ""

    @property
    def nothing(self) -> str:
        """Return the condition that the script gets no arguments of its own."""
        return "nothing is given on its command line" if self.python else 'nothing is given for "$@"'

    @property
    def handed_on(self) -> str:
        """Return what a script does with its own arguments."""
        return "takes from its command line" if self.python else f'{"hands on" if self.passes_on else "asks for"} as "$@"'

    @property
    def counted(self) -> bool:
        """Tell whether the count of updates holds whatever is not read sets."""
        return not self.hidden or any(sure.updates.count == self.updates.count for sure in self.certain[:1])

    @property
    def resting(self) -> dict[str, str]:
        """Return by side the keys of widths that are not set, where what is not read may set them."""
        sides = {"low": self.low, "high": self.high}
        if not self.unless:
            return {}
        if not self.certain:
            return {side: fact.key for side, fact in sides.items() if fact.key}
        sure = {"low": self.certain[0].low, "high": self.certain[0].high}
        return {side: sure[side].key for side, fact in sides.items() if fact.key and (sure[side].unknown or not fact.explicit)}

    @property
    def one_width(self) -> str:
        """Return the key of the only width where one stands for both sides, empty where each side can have its own."""
        return self.library.one_width or (self.low.key if self.assumed and self.low.key == self.high.key else "")

    def get(self, key: str) -> Fact:
        """Return a key's value as configured, or the library's default."""
        if key in self.values:
            return Fact(self.values[key], key, True)
        return Fact(self.library.default(key), key)


@dataclass(frozen=True)
class Reader:
    """The values of a configuration with the library's defaults behind them, checked as they are read."""

    library: Library
    values: Mapping[str, Any]
    command: str = ""

    def __call__(self, key: str) -> Fact:
        if key in self.values:
            return Fact(self.values[key], key, True)
        return Fact(self.library.default(key), key)

    def number(self, key: str, optional: bool = False) -> Fact:
        """Return a fact that must be a number (or unset, where optional)."""
        fact = self(key)
        if not (fact.unknown or is_number(fact.value) or (optional and fact.value is None)):
            raise ValueError(f"{key} must be a number{' or unset' if optional else ''}, got {fact.value!r}.")
        return fact

    def bound(self, key: str, optional: bool = False) -> Fact:
        """Return a width: a number at least 0."""
        fact = self.number(key, optional)
        if is_number(fact.value) and not fact.value >= 0:
            raise ValueError(f"{key} must be at least 0, got {fact.value}: it is a width around 1, in [1 - low, 1 + high].")
        return fact

    def widths(self, low: str, high: str) -> tuple[Fact, Fact]:
        """Return both widths where the upper one, unset, is the lower one."""
        below = self.bound(low)
        return below, either(self.bound(high, optional=True), below)

    def count(self, key: str) -> float | None:
        """Return a positive number, or None where it is unresolved or unset."""
        value = self.number(key, optional=True).value
        if is_number(value) and not (value >= 1 and value == int(value)):
            raise ValueError(f"{key} must be a whole number at least 1, got {value}: updates per rollout are counted with it.")
        return float(value) if is_number(value) else None

    def updates(
        self, over: Sequence[str], under: str = "", times: Sequence[str] = (), *, plain: str = "", **more: Any
    ) -> Updates:
        """Return the updates per rollout: the product of `over`, divided by `under` if there is one, times that of `times`.

        plain: beginning of keys that the formula leaves out. more: the other facts of `Updates`.
        """

        def written(words: list[str]) -> str:
            n = len(over)
            divided = f" / {words[n]}" if under else ""
            return " x ".join([" x ".join(words[:n]) + divided, *words[n + bool(under) :]])

        keys = [*over, *([under] if under else []), *times]
        formula, numbers = written([key.removeprefix(plain) for key in keys]), [self.count(key) for key in keys]
        known = [number for number in numbers if number is not None]
        if len(known) < len(keys):
            each = self._counts(keys, len(over) if under else -1)
            if not each:
                return Updates(None, f"{formula} with {self.text(*keys)}", **more)
            may = " or ".join(map(shown, each))
            count = each[0] if len(each) == 1 else None
            return Updates(count, f"{formula} = {may} with {self.text(*keys)}", **({"least": each[0]} | more))
        count = math.prod(known) / (known[len(over)] ** 2 if under else 1)
        return Updates(count, f"{formula} = {written([shown(number) for number in known])}", **more)

    def _counts(self, keys: Sequence[str], under: int) -> list[float]:
        """Every product, by key `under` divided, where each key has a number or one of several; else none."""
        facts = [self(key).value for key in keys]
        among = [(float(v),) if is_number(v) else v.among if isinstance(v, Unresolved) else () for v in facts]
        if math.prod(map(len, among)) not in range(1, _MOST_COUNTS) or any(n < 1 or n != int(n) for each in among for n in each):
            return []
        return sorted({math.prod(ns) / (ns[under] ** 2 if under >= 0 else 1) for ns in itertools.product(*among)})

    def half(self, key: str) -> Fact:
        """Return the precision that a key names, in one spelling."""
        fact = self(key)
        return replace(fact, value={"bfloat16": "bf16", "float16": "fp16"}.get(str(fact.value), fact.value))

    def text(self, *keys: str) -> str:
        """Return keys with their values, for a message."""
        return ", ".join(f"{key} = {shown(self(key).value)}" for key in keys)


def either(first: Fact, second: Fact) -> Fact:
    """Return the first fact, or the second where the first is unset."""
    return second if first.value is None else first


def stated(*facts: Fact) -> str:
    """Return keys with their values as a message says them, defaults marked."""
    return ", ".join(dict.fromkeys(f"{f.key} = {shown(f.value)}{'' if f.explicit else ' (default)'}" for f in facts))
