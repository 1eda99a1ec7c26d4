"""python -m tests.mutants: mutation testing of the formula files, and an account of every mutant that no test sees.

One operator, number, argument or name is changed at a time, by mutmut's operators, in every function, default, field and
constant of the files that [tool.mutants] in pyproject.toml names; the tests that reach the change run until one fails, the
fastest first. Those that would begin after three seconds do not run: what they alone would see counts as a survivor
(`--survivors --seconds 60` asks them, too).

Not counted, killed or not: the text of error messages (what is inside the parentheses of `raise X(...)`, and the words that
`check_not_negative` and its like put into theirs). Never mutated: annotations, type aliases, docstrings, decorators, `__all__`.

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
from pathlib import Path

from tests.mutants.account import DETECTED, account
from tests.mutants.running import Plan, Reach, forked, measure, run_bodies, run_imported
from tests.mutants.sources import ROOT, Mutant, formula_files, group_of, mutants_of, settings

WORK = ROOT / "mutants"


def digest() -> str:
    """Of the package, the tests and the settings: what a result depends on."""
    total = hashlib.sha256(json.dumps(settings()).encode())
    named = {ROOT / t for tests in settings()["tests"].values() for t in tests}
    folders = [ROOT / "entclip", ROOT / "tests/tolerances.py", ROOT / "tests/family.py", *named]
    for file in sorted({f for t in folders for f in (t.rglob("*.py") if t.is_dir() else [t])}):
        total.update(str(file.relative_to(ROOT)).encode() + file.read_bytes())
    return total.hexdigest()


class Statuses:
    """What is known of mutants, in a file that has one line for each."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0
        lines = path.read_text().splitlines() if path.exists() else []
        self.known = dict(line.split(maxsplit=1) for line in lines)

    def keep_detected(self, keep: bool) -> None:
        """Forget every status but, where asked for, those of mutants that were detected."""
        self.known = {name: status for name, status in self.known.items() if keep and status in DETECTED}
        self.path.write_text("".join(f"{name} {status}\n" for name, status in self.known.items()))

    def add(self, name: str, status: str) -> None:
        with self.path.open("a") as file:
            print(name, status, file=file)
        self.count += 1
        print(f"\r{self.count} run", end="", flush=True)


def waited(child: int, what: str) -> None:
    _, status = os.waitpid(child, 0)
    if code := os.waitstatus_to_exitcode(status):
        sys.exit(f"{what} stopped with code {code}: do the tests pass without a mutant? MUTANTS_DEBUG=1 shows what they say.")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", help="only files whose path has one of these in it, such as drift/gains.py")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="mutants tested at the same time")
    parser.add_argument("--seconds", type=float, default=3.0, help="of tests for one mutant, fastest first (default: 3)")
    parser.add_argument(
        "--survivors", action="store_true", help="run what is not killed yet, and keep what is, although tests changed"
    )
    parser.add_argument("--report", action="store_true", help="run nothing, report what is known")
    parser.add_argument("--markdown", action="store_true", help="report as tables and lists")
    options = parser.parse_args()
    os.chdir(ROOT)
    for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[threads] = "1"
    start = time.monotonic()
    files = [f for f in formula_files() if not options.files or any(part in f for part in options.files)]
    if not files:
        sys.exit(f"no formula file has {' or '.join(options.files)} in its path: [tool.mutants] in pyproject.toml lists them.")
    mutants = [m for file in files for m in mutants_of(file)]
    WORK.mkdir(exist_ok=True)
    statuses, stamp = Statuses(WORK / "status"), WORK / "digest"
    if not options.report:
        current = digest()
        if not stamp.exists() or stamp.read_text() != current or options.survivors:
            statuses.keep_detected(options.survivors)
        if not stamp.exists() or stamp.read_text() != current:
            for old in WORK.glob("reach-*.json"):
                old.unlink()
            stamp.write_text(current)
        for group in sorted({group_of(f) for f in files}):
            waiting = [m for m in mutants if group_of(m.file) == group and m.name not in statuses.known and not m.message]
            run(group, waiting, statuses, options.jobs, options.seconds)
        statuses = Statuses(WORK / "status")
    results = [(m, statuses.known.get(m.name, "not run")) for m in mutants if not m.message]
    good = account(results, sum(m.message for m in mutants), options.markdown)
    used = os.times()
    cpu = used.user + used.system + used.children_user + used.children_system
    print(f"\n{len(mutants)} mutants in {(time.monotonic() - start) / 60:.1f} min, {cpu / 60:.1f} min of a core.")
    if any(status == "not run" for _, status in results):
        sys.exit("some mutants were not run")
    sys.exit(0 if good else "a survivor is not explained, or a score is below 95 %")


def run(group: str, mutants: list[Mutant], statuses: Statuses, jobs: int, seconds: float) -> None:
    """Run mutants of the files of one group."""
    if not mutants:
        return
    tests, reached = settings()["tests"][group], WORK / f"reach-{group}.json"
    if not reached.exists():
        waited(
            forked(lambda: measure([f for f in formula_files() if group_of(f) == group], tests, reached)), f"the tests of {group}"
        )
    plan = Plan(Reach.read(reached), jobs, seconds)
    if bodies := [m for m in mutants if m.in_body]:
        waited(forked(lambda: run_bodies(bodies, plan, tests, statuses.add)), "mutation testing")
    if imported := [m for m in mutants if not m.in_body]:
        run_imported(imported, plan, statuses.add)


if __name__ == "__main__":
    main()
