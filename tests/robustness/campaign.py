"""Many cases through one sandbox, and what broke."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.robustness.fuzz import case_of
from tests.robustness.judge import faults, folder_faults
from tests.robustness.sandbox import Case, Sandbox
from tests.robustness.templates import make_templates

_READERS = ("compare", "compare", "compare", "ledger", "report")


@dataclass(frozen=True)
class Finding:
    """A broken promise: the case by its name and command, the fault in words."""

    kind: str
    name: str
    command: str
    fault: str


@contextmanager
def workshop() -> Iterator[Sandbox]:
    """A sandbox with its templates in a temporary folder."""
    root = Path(tempfile.mkdtemp(prefix="robustness-"))
    sandbox = Sandbox(root / "cases", root / "templates")
    try:
        make_templates(sandbox)
        yield sandbox
    finally:
        sandbox.close()
        shutil.rmtree(root, ignore_errors=True)


def plan(count: int, seed: int, kinds: Sequence[str]) -> list[tuple[str, Case]]:
    """`count` named cases, the kinds in turn; a language model's start is slow, so that kind has a tenth of the others' share."""
    out: list[tuple[str, str, int]] = []
    index = 0
    while len(out) < count:
        for kind in kinds:
            if kind == "language" and index % 10 and len(kinds) > 1:
                continue
            out.append((f"{kind}/{index // 10 if kind == 'language' and len(kinds) > 1 else index}", kind, index))
        index += 1
    return [(name, case_of(kind, seed, int(name.rpartition("/")[2]))) for name, kind, _ in out[:count]]


def examine(sandbox: Sandbox, name: str, case: Case) -> list[Finding]:
    """Run one case and everything that must hold after it."""
    outcome, folder = sandbox.run(case, name.replace("/", "-"))
    broken = faults(case, outcome)
    if case.out is not None and not outcome.ended:
        reader = _READERS[sum(name.encode()) % len(_READERS)]
        broken += folder_faults(case, outcome, sandbox, folder, reader)
    strangers = sorted(p.name for p in folder.iterdir() if p.name not in ("work", "stdout", "stderr"))
    broken += [f"escaped: {strangers[0]} was written outside the folder"] if strangers else []
    sandbox.forget(folder)
    return [Finding(case.kind, name, case.words(), fault) for fault in broken]


def campaign(sandbox: Sandbox, cases: Sequence[tuple[str, Case]], jobs: int) -> Iterator[list[Finding]]:
    """The findings of each case, in order."""
    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(lambda item: examine(sandbox, *item), cases)
