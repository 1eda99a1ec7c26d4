"""Precision and recall of every claim of lint over the corpus of configurations with known answers.

    python -m tests.integrations.lint.corpus

A claim is the library, a verdict, a net sign, a count of updates, a finding, or that a file is none of these. Precision: of the
files of which it is said, those of which it is true; recall: of the files of which it is true, those of which it is said.
"""

from __future__ import annotations

import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from entclip.integrations.lint import lint, read_config

__all__ = ["score"]

FIXTURES = Path(__file__).with_name("fixtures")


def _claims(library: str, alive: str, net: str, updates: float | None, findings: Iterable[str]) -> set[str]:
    counted = "unknown" if updates is None else f"{updates:g}"
    return {f"library {library}", f"alive {alive}", f"net {net}", f"updates {counted}", *findings}


def _true(name: str, answer: dict[str, Any]) -> set[str]:
    if "refused" in answer:
        return {"refused"}
    return _claims(name.split("/")[0], answer["alive"], answer["net"], answer.get("updates"), answer["findings"])


def _said(path: Path) -> set[str]:
    try:
        got = lint(read_config(path))
    except ValueError:
        return {"refused"}
    ids = (finding.id for finding in got.findings)
    return _claims(got.config.library.name, got.liveness.alive, got.bias.net, got.config.updates.count, ids)


def score() -> dict[str, tuple[int, int, int]]:
    """Return by claim: files of which it is said and true, said, and true."""
    expected: dict[str, dict[str, Any]] = tomllib.loads((FIXTURES / "expected.toml").read_text("utf-8"))
    out: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, answer in expected.items():
        true, said = _true(name, answer), _said(FIXTURES / name)
        for claim in true | said:
            for k, holds in enumerate((claim in true & said, claim in said, claim in true)):
                out[claim][k] += holds
    return {claim: (both, said, true) for claim, (both, said, true) in sorted(out.items())}


def main() -> int:
    found = score()
    print(f"{'claim':34s} precision   recall  files")
    for claim, (both, said, true) in found.items():
        precision, recall = (f"{both / n:.3f}" if n else "none" for n in (said, true))
        print(f"{claim:34s} {precision:>9s} {recall:>8s} {true:6d}")
    return int(any(both < max(said, true) for both, said, true in found.values()))


if __name__ == "__main__":
    sys.exit(main())
