"""python -m tests.mutants: mutation testing of the formula files, and an account of every mutant that no test sees.

One operator, number, argument or name is changed at a time, by mutmut's operators, in every function, default, field and
constant of the files that [tool.mutants] in pyproject.toml names; the tests that reach the change run until one fails.

Not counted, killed or not: the text of error messages (what is inside the parentheses of `raise X(...)`). Never mutated:
annotations, type aliases, docstrings, decorators and `__all__`.

A survivor must be listed in equivalent.toml with the reason why no test can or should see it. The command fails if one is not, or
if a group of files kills fewer than 95 % of its mutants, explained survivors counted as survivors. An interrupted run goes on
where it stopped; a change of entclip or of the tests starts afresh (`--survivors`: runs only what is not killed yet).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.mutants.account import DETECTED, account
from tests.mutants.running import Reach, forked, measure, run_bodies, run_imported
from tests.mutants.sources import ROOT, Mutant, formula_files, group_of, mutants_of, settings, tests_of

WORK = ROOT / "mutants"


def digest(files: list[str], tests: list[str]) -> str:
    """Of the package, the tests and the settings: what a result depends on."""
    total = hashlib.sha256(json.dumps([settings(), files]).encode())
    folders = [ROOT / "entclip", ROOT / "tests/tolerances.py", ROOT / "tests/family.py", *(ROOT / t for t in tests)]
    for file in sorted({f for t in folders for f in (t.rglob("*.py") if t.is_dir() else [t])}):
        total.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return total.hexdigest()


def kept(path: Path) -> Callable[[str, str], None]:
    """Return what adds a status to a file that has one line for each."""
    out, count = path.open("a"), 0

    def add(name: str, status: str) -> None:
        nonlocal count
        count += 1
        print(name, status, file=out, flush=True)
        print(f"\r{count} run", end="", flush=True)

    return add


def waited(child: int, what: str) -> None:
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{what} stopped with code {code}: do the tests pass without a mutant? MUTANTS_DEBUG=1 shows what they say.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", help="only files whose path has one of these in it, such as drift/gains.py")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested at the same time")
    parser.add_argument("--survivors", action="store_true", help="after a change of the tests: run only what is not killed yet")
    parser.add_argument("--report", action="store_true", help="run nothing, report what is known")
    parser.add_argument("--markdown", action="store_true", help="report as tables and lists")
    options = parser.parse_args()
    os.chdir(ROOT)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[threads] = "1"
    start = time.monotonic()
    files = [f for f in formula_files() if not options.files or any(part in f for part in options.files)]
    tests = tests_of([group_of(f) for f in files])
    WORK.mkdir(exist_ok=True)
    stamp, statuses, reached = WORK / "digest", WORK / "status", WORK / "reach.json"
    known = dict(line.split(maxsplit=1) for line in statuses.read_text().splitlines()) if statuses.exists() else {}
    mutants = [m for file in files for m in mutants_of(file)]
    if not options.report:
        current = digest(files, tests)
        if not stamp.exists() or stamp.read_text() != current:
            known = {name: status for name, status in known.items() if options.survivors and status in DETECTED}
            statuses.write_text("".join(f"{name} {status}\n" for name, status in known.items()))
            waited(forked(lambda: measure(files, tests, reached)), "a run of all tests")
            stamp.write_text(current)
        known = run(mutants, known, statuses, Reach.read(reached), tests, options.jobs)
    results = [(m, known.get(m.name, "not run")) for m in mutants if not m.message]
    good = account(results, sum(m.message for m in mutants), options.markdown)
    print(f"\n{len(mutants)} mutants in {(time.monotonic() - start) / 60:.1f} min.")
    if any(status == "not run" for _, status in results):
        sys.exit("some mutants were not run")
    sys.exit(0 if good else "a survivor is not explained, or a score is below 95 %")


def run(
    mutants: list[Mutant], known: dict[str, str], statuses: Path, reach: Reach, tests: list[str], jobs: int
) -> dict[str, str]:
    """Run what is not known yet and return the status of every mutant."""
    waiting = [m for m in mutants if m.name not in known and not m.message]
    bodies, imported = ([m for m in waiting if m.in_body == inside] for inside in (True, False))
    if bodies:
        waited(forked(lambda: run_bodies(bodies, reach, tests, jobs, kept(statuses))), "mutation testing")
    if imported:
        run_imported(imported, reach, jobs, kept(statuses))
    return dict(line.split(maxsplit=1) for line in statuses.read_text().splitlines())


if __name__ == "__main__":
    main()
