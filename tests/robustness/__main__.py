"""The fuzz by hand: `python -m tests.robustness --cases 2000 --seed 7` prints what failed by kind; exit 1 if anything did.

`--kind NAME` chooses kinds; `--only KIND/INDEX` runs one case, shows it, and with `--keep DIR` leaves its folder there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from tests.robustness.campaign import Finding, campaign, plan, workshop
from tests.robustness.fuzz import KINDS, case_of
from tests.robustness.judge import faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kind", action="append", choices=sorted(KINDS))
    parser.add_argument("--only", metavar="KIND/INDEX")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--report", type=Path, help="write every finding as a line of JSON")
    options = parser.parse_args()
    with workshop() as sandbox:
        if options.only:
            return _one(sandbox, options)
        found: list[Finding] = []
        cases = plan(options.cases, options.seed, options.kind or sorted(KINDS))
        for done, result in enumerate(campaign(sandbox, cases, options.jobs), 1):
            found += result
            if done % 100 == 0:
                print(f"{done} of {len(cases)} cases, {len(found)} findings", file=sys.stderr, flush=True)
    if options.report:
        options.report.write_text("".join(json.dumps(f.__dict__) + "\n" for f in found))
    _summary(len(cases), found)
    return bool(found)


def _one(sandbox, options) -> int:  # type: ignore[no-untyped-def]
    kind, _, index = options.only.partition("/")
    case = case_of(kind, options.seed, int(index))
    outcome, folder = sandbox.run(case, "one")
    print(case.words(), *case.files, sep="\n")
    print(
        outcome.out, outcome.err, f"exit {outcome.code}, {outcome.ended or 'by itself'}, {outcome.peak / 2**20:.0f} MiB", sep="\n"
    )
    print(faults(case, outcome))
    if options.keep:
        shutil.copytree(folder, options.keep, symlinks=True, dirs_exist_ok=True)
    return 0


def _summary(count: int, found: list[Finding]) -> None:
    print(f"{count} cases, {len({f.name for f in found})} with findings")
    for kind in sorted({f.kind for f in found}):
        mine = [f for f in found if f.kind == kind]
        print(f"\n{kind}: {len(mine)}")
        shown: dict[str, int] = {}
        for finding in mine:
            shown[finding.fault[:110]] = shown.get(finding.fault[:110], 0) + 1
        first = {f.fault[:110]: f for f in reversed(mine)}
        for text, times in sorted(shown.items(), key=lambda item: -item[1]):
            print(f"  {times:4d} x {text}\n         {first[text].name}: {first[text].command[:200]}")


if __name__ == "__main__":
    sys.exit(main())
