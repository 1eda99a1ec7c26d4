"""The account of mutation testing: a score for every file and group, and every survivor with its reason."""

from __future__ import annotations

import sys
import tomllib
from collections import Counter
from pathlib import Path

from tests.mutants.sources import Mutant, group_of

EXPLAINED = Path(__file__).with_name("equivalent.toml")
SCORE = 0.95
DETECTED = {"killed", "timeout"}


def explanations() -> dict[tuple[str, str, str, str], str]:
    """Return the reasons of equivalent.toml by file, place, old and new lines."""
    found: dict[tuple[str, str, str, str], str] = {}
    for entry in tomllib.loads(EXPLAINED.read_text())["mutant"]:
        for now in entry["now"]:
            key = (entry["file"], entry["where"], entry["was"].strip(), now.strip())
            if key in found:
                sys.exit(f"{EXPLAINED.name} explains this twice: {key}")
            found[key] = entry["why"]
    return found


class Reasons:
    """The reasons of equivalent.toml; the new line "*" stands for every other mutant of an old one."""

    def __init__(self) -> None:
        self.by_key, self.used = explanations(), set[tuple[str, str, str, str]]()

    def of(self, mutant: Mutant) -> str | None:
        for key in (mutant.key, (*mutant.key[:3], "*")):
            if key in self.by_key:
                self.used.add(key)
                return self.by_key[key]
        return None


def account(results: list[tuple[Mutant, str]], messages: int, markdown: bool) -> bool:
    """Print the score by file and every survivor; True if all is well."""
    why, good = Reasons(), True
    totals: dict[str, Counter[str]] = {}
    survivors = [m for m, status in results if status not in DETECTED]
    for mutant, status in results:
        kind = "killed" if status in DETECTED else "explained" if why.of(mutant) else "unexplained"
        for row in (mutant.file, group_of(mutant.file), "all"):
            totals.setdefault(row, Counter())[kind] += 1
    files, groups = (sorted(r for r in totals if r != "all" and r.endswith(".py") == f) for f in (True, False))
    bar = " | " if markdown else "  "
    edge = "| " if markdown else ""
    print(f"\n{edge}{'':36}{bar}mutants{bar}killed{bar}explained{bar}unexplained{bar} score{' |' if markdown else ''}")
    if markdown:
        print("|---|--:|--:|--:|--:|--:|")
    for row in (*files, *groups, "all"):
        t = totals[row]
        score = t["killed"] / t.total()
        good &= row in files or score >= SCORE
        print(
            f"{edge}{row:36}{bar}{t.total():7}{bar}{t['killed']:6}{bar}{t['explained']:9}{bar}{t['unexplained']:11}{bar}"
            f"{100 * score:5.1f}{' |' if markdown else ''}"
        )
    print(f"\nNot counted: {messages} mutants of error-message text.")
    if markdown:
        for mutant in survivors:
            was, now = (x.replace("\n", " ") for x in (mutant.was, mutant.now))
            print(f"\n- `{mutant.file}`, `{mutant.where}`: `{was}` → `{now}`. {why.of(mutant) or '**Not explained.**'}")
    for mutant in survivors:
        if not why.of(mutant):
            good = False
            if not markdown:
                entry = [f"file = {mutant.file!r}", f"where = {mutant.where!r}", f"was = '''{mutant.was}'''"]
                print("\n[[mutant]]", *entry, f"now = ['''{mutant.now}''']", 'why = ""', sep="\n")
    tested = {mutant.file for mutant, _ in results}
    for key in sorted(key for key in set(why.by_key) - why.used if key[0] in tested):
        print(f"\nexplained, but not a survivor: {key}")
    return good
