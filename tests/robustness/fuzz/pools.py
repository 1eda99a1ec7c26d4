"""Values that break programs, and the small experiment that they are put into."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, TypeVar

from tests.robustness.templates import BASE, WIDE

T = TypeVar("T")

FLOATS = (
    "0",
    "-0.0",
    "-1",
    "1",
    "2",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "1e-320",
    "5e-324",
    "1e-300",
    "1e-30",
    "1e30",
    "1e154",
    "1e300",
    "1e308",
    "1.7976931348623157e308",
    "-1e308",
    "1e309",
    "0.5",
    ".5",
    "1_0.5",
    "0x1p3",
)
# Nothing between what is done in a second and what no machine can hold: a long honest run is no fault.
INTEGERS = (
    "0",
    "-1",
    "1",
    "2",
    "3",
    "5",
    "-9223372036854775808",
    "1000000000000",
    "4611686018427387904",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "1" + "0" * 400,
    "2.0",
    "2.5",
    "1e3",
    "nan",
    "inf",
    "True",
    "0b11",
)
SEEDS = ("0", "1", "-1", "4294967296", "18446744073709551615", "18446744073709551616", "1" + "0" * 400, "1.5", "abc", "nan")
WORDS = (
    "",
    " ",
    "abc",
    "None",
    "null",
    "true",
    "½",
    "１２",
    "é",
    "\u202e",
    "\ud800",
    "\udcff",
    "a\nb",
    "\x1b[31m",
    "%s",
    "{}",
    "$HOME",
    "--",
    "-",
    "-x",
    "[/x]",
    "[bold]",
    "[red",
    "\\[",
    "a" * 5000,
    "../..",
    "~",
    "*",
    "/",
    ".",
    "con",
    "'",
    '"',
    "\t",
    "\x00",
)
MARKUP = (
    "[/x]",
    "[/]",
    "[bold]x",
    "[red",
    "[link=x]y[/link]",
    "[/bold][/bold]",
    ":smile:",
    "[@click=x]",
    "[[",
    "]",
    "\\[/x]",
    "[#zzz]x[/]",
    "[on nothing]a[/on nothing]",
)
SECTIONS = (
    "policy",
    "reward",
    "advantage",
    "update",
    "ledger",
    "perturbation",
    "rollout",
    "arm",
    "grid",
    "weights",
    "seed",
    "replicas",
    "name",
)
FLOAT_KEYS = (
    "update.learning_rate",
    "update.eps",
    "update.weight_decay",
    "policy.exponent",
    "arm.both.low",
    "arm.both.high",
    "reward.p",
    "reward.std",
    "reward.mean",
    "perturbation.rms",
    "policy.alpha",
    "policy.floor",
    "policy.sd",
    "policy.logit",
    "advantage.eps",
)
INTEGER_KEYS = (
    "policy.vocab",
    "policy.contexts",
    "update.batch",
    "update.minibatches",
    "update.rollouts",
    "update.epochs",
    "replicas",
    "seed",
    "advantage.size",
    "advantage.ddof",
    "ledger.every",
    "policy.length",
    "policy.dim",
)
ENGINES = ("sampled", "reduced", "exact")

BASE_FILE = (("base.toml", "text", {"value": BASE}), ("wide.toml", "text", {"value": WIDE}))


def pick(rng: random.Random, values: Sequence[T]) -> T:
    return values[rng.randrange(len(values))]


def argument(text: str) -> str:
    """As a process can receive it: no NUL, surrogates only where they stand for bytes."""
    return "".join(c for c in text if c != "\x00" and not "\ud800" <= c < "\udc80")


def value(rng: random.Random, key: str) -> str:
    """Mostly a number out of range for this key, at times a word."""
    if rng.random() < 0.1:
        return argument(pick(rng, WORDS))
    if key == "seed":
        return pick(rng, SEEDS)
    return pick(rng, FLOATS if key in FLOAT_KEYS else INTEGERS)


def sometimes_out(rng: random.Random, share: float = 0.4) -> tuple[tuple[str, ...], str | None]:
    return (("--out", "out"), "out") if rng.random() < share else ((), None)


def any_value(rng: random.Random, depth: int = 0) -> Any:
    """A TOML value of any type, small."""
    choice = rng.randrange(9 if depth < 3 else 6)
    if choice == 0:
        return rng.choice((True, False))
    if choice == 1:
        return rng.choice((0, 1, -1, 2**31, 2**63 - 1, -(2**63)))
    if choice in (2, 3):
        return rng.choice((0.0, -1.5, 1e308, 5e-324, float("inf"), float("nan")))
    if choice in (4, 5):
        return argument(pick(rng, WORDS)[:60])
    if choice == 6:
        return [any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {pick(rng, ("kind", "name", "values", "x", "size")): any_value(rng, depth + 1) for _ in range(rng.randrange(3))}
