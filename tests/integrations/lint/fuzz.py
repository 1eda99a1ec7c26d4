"""Mutated configurations: whatever is in a file, the reader answers or refuses in one line, and ends.

    python -m tests.integrations.lint.fuzz --cases 5000

The suite runs a small share with the same seed. A case is a fixture of some library with a few seeded mutations: lines dropped,
doubled, moved or cut, parts of another fixture put in, characters changed for those that YAML, TOML, JSON and shells use.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from entclip.integrations.lint.config import read_config
from entclip.integrations.lint.report import lint

__all__ = ["answered", "mutated"]

FIXTURES = Path(__file__).with_name("fixtures")
_MARKS = "\"'`$(){}[]<>|&;#\\*!:=-+,.~%@^ \t\n\0\u00e9\u202e0123456789eE"
_LIMIT = 5.0  # seconds; a fixture takes some ten milliseconds


def _files() -> list[str]:
    return [f.read_text("utf-8") for f in sorted(FIXTURES.rglob("*")) if f.is_file() and f.name != "expected.toml"]


def mutated(seed: int) -> str:
    """Return the text of a case."""
    rng = random.Random(seed)
    files = _files()
    text = rng.choice(files)
    for _ in range(rng.randint(1, 6)):
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        kind = rng.randrange(7)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        elif kind == 2:
            lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
        elif kind == 3:
            other = rng.choice(files).split("\n")
            start = rng.randrange(len(other))
            lines[at:at] = other[start : start + rng.randint(1, 5)]
        text = "\n".join(lines)
        if kind == 4 and text:
            for _ in range(rng.randint(1, 8)):
                spot = rng.randrange(len(text))
                text = text[:spot] + rng.choice(_MARKS) + text[spot + 1 :]
        elif kind == 5:
            spot = rng.randrange(len(text) + 1)
            text = text[:spot] + "".join(rng.choice(_MARKS) for _ in range(rng.randint(1, 30))) + text[spot:]
        elif kind == 6:
            text = text[: rng.randrange(len(text) + 1)]
    return text


def answered(text: str) -> str:
    """Return "answered" or "refused"; any other error is the fault that this looks for, as is an answer without its lines."""
    try:
        report = lint(read_config(f"{text}\n"))
    except ValueError as refused:
        return "refused" if str(refused).strip() else "refused without a word"
    assert report.liveness.alive in ("yes", "no", "unknown")
    assert report.to_text()
    assert report.to_json()
    return "answered"


def _timed(act: Callable[[], str]) -> str:
    start = time.process_time()
    said = act()
    taken = time.process_time() - start
    assert taken < _LIMIT, f"{taken:.1f} s"
    return said


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.integrations.lint.fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=5000)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    options = parser.parse_args()
    counts = {"answered": 0, "refused": 0, "fault": 0}
    for seed in range(options.first, options.first + options.cases):
        text = mutated(seed)
        try:
            counts[_timed(lambda text=text: answered(text))] += 1  # type: ignore[misc]
        except Exception as error:
            counts["fault"] += 1
            print(f"seed {seed}: {type(error).__name__}: {error}")
    print(", ".join(f"{number} {name}" for name, number in counts.items()))
    return int(counts["fault"] > 0)


if __name__ == "__main__":
    sys.exit(main())
