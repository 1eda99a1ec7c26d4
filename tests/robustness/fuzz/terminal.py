"""Cases out of the terminal: full and closed outputs, small file limits, columns, locale."""

from __future__ import annotations

import random

from tests.robustness.fuzz.pools import BASE_FILE, pick
from tests.robustness.sandbox import Case

DRIFT = ("drift", "--vocab=5", "--contexts=2", "--batch=8", "--minibatches=2", "--rollouts=1", "--arm=both")
CHEAP: dict[str, tuple[str, ...]] = {
    "drift": DRIFT,
    "drift json": (*DRIFT, "--json"),
    "list": ("list",),
    "list json": ("list", "--json"),
    "run": ("run", "base.toml"),
    "run out": ("run", "base.toml", "--out", "out"),
    "check": ("check", "base.toml"),
    "plan": ("check", "base.toml", "--plan"),
    "report": ("report", "run"),
    "ledger": ("ledger", "run"),
    "compare": ("compare", "run", "run"),
    "predict": ("predict", "base.toml"),
    "predict json": ("predict", "base.toml", "--json"),
    "neutral": ("neutral", "base.toml", "--eps-high=.2"),
    "map": ("map", "--points=2"),
    "noise": ("noise", "wide.toml"),
    "convert": ("convert", "--eps-low=.2", "--eps-high=.28"),
    "reproduce list": ("reproduce", "--list"),
    "lint": ("lint", "trl.yaml"),
    "help": ("--help",),
    "drift help": ("drift", "--help"),
    "usage": ("drift", "--bogus"),
    "bad": ("run", "nowhere"),
}
_WIDTHS = ("1", "2", "10", "40", "80", "100000", "0", "-1", "x", "")
_LOCALES = (
    {"LANG": "C", "LC_ALL": "POSIX"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1"},
    {"PYTHONUTF8": "0", "LC_ALL": "C"},
    {"PYTHONIOENCODING": "utf-16"},
    {"PYTHONWARNINGS": "error"},
    {"PYTHONOPTIMIZE": "2"},
)


def files_of(argv: tuple[str, ...]) -> tuple[tuple[str, str, dict[str, str]], ...]:
    trl = (("trl.yaml", "text", {"value": "epsilon: 0.2\nepsilon_high: 0.28\nnum_generations: 8\nloss_type: dapo\n"}),)
    return (*BASE_FILE, *((("run", "copy", {"of": "plain"}),) if "run" in argv[1:] else ()), *(trl if "trl.yaml" in argv else ()))


def terminal(rng: random.Random) -> Case:
    """Every command's cheapest call in hostile surroundings."""
    argv = CHEAP[pick(rng, tuple(CHEAP))]
    out, choice = "out" if "out" in argv else None, rng.randrange(10)
    if choice < 4:
        return Case("terminal", argv, files_of(argv), stdout=pick(rng, ("full", "closed")), out=out)
    if choice < 7:
        env = {"COLUMNS": pick(rng, _WIDTHS), "TERM": pick(rng, ("dumb", "xterm-256color", "", "x"))} | rng.choice(
            ({}, {"FORCE_COLOR": "1"}, {"NO_COLOR": "1"})
        )
        return Case("terminal", argv, files_of(argv), env=env, out=out)
    if choice < 9:
        return Case("terminal", argv, files_of(argv), limits={"fsize": pick(rng, (0, 10, 1000, 10_000))}, out=out)
    return Case("terminal", argv, files_of(argv), env=pick(rng, _LOCALES), fresh=True, out=out)
