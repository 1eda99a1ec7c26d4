"""Every command's cheapest call on a full disk, into closed pipes, in the POSIX locale, on an ASCII terminal; threads of BLAS."""

from __future__ import annotations

from typing import Any

import pytest

from tests.robustness.fuzz.terminal import CHEAP, files_of
from tests.robustness.judge import faults, folder_faults
from tests.robustness.sandbox import Case, Outcome, Sandbox
from tests.robustness.scope import share

STDERR_ONLY = ("usage", "bad")


def _run(sandbox: Sandbox, name: str, **options: Any) -> Outcome:
    argv = CHEAP[name]
    case = Case("surroundings", argv, files_of(argv), out="out" if "out" in argv else None, **options)
    folder = sandbox.root / f"around-{name.replace(' ', '-')}"
    sandbox.prepare(case, folder)
    outcome = sandbox.call(case, folder)
    found = faults(case, outcome)
    if case.out:
        found += folder_faults(case, outcome, sandbox, folder, "compare")
    sandbox.forget(folder)
    assert not found, (found, outcome.err)
    return outcome


@pytest.mark.parametrize("name", share(CHEAP, "run", "predict json"))
def test_stdout_is_full(name: str, sandbox: Sandbox) -> None:
    outcome = _run(sandbox, name, stdout="full")
    assert outcome.code == (2 if name in STDERR_ONLY else 74), outcome


@pytest.mark.parametrize("name", share(CHEAP, "check", "list"))
def test_nobody_reads_stdout(name: str, sandbox: Sandbox) -> None:
    outcome = _run(sandbox, name, stdout="closed")
    assert outcome.code == (2 if name in STDERR_ONLY else 141), outcome


@pytest.mark.parametrize("size", [int(size) for size in share(("0", "100", "3000", "10000"), "100")])
@pytest.mark.parametrize("name", share(("run out", "report", "ledger"), "run out", "report"))
def test_files_may_not_grow(name: str, size: int, sandbox: Sandbox) -> None:
    outcome = _run(sandbox, name, limits={"fsize": size})
    assert outcome.code == 74, outcome
    # A limit on files holds for redirected output, too: nothing can be said there when it is 0.
    said = outcome.err.strip().splitlines()
    assert [line.startswith("error: ") for line in said] == [False] * (len(said) - 1) + [True] or size < 1000, said


@pytest.mark.parametrize("encoding", ["ascii", ""])
@pytest.mark.parametrize("name", share(CHEAP, "drift", "reproduce list"))
def test_posix_locale(name: str, encoding: str, sandbox: Sandbox) -> None:
    outcome = _run(sandbox, name, posix=True, env={"PYTHONIOENCODING": encoding} if encoding else {})
    assert outcome.code in ((2,) if name in STDERR_ONLY else (0, 3) if name == "check" else (0,)), outcome


# Over 10,000 branches at the last update: OpenBLAS splits a dot product of over 10,000 numbers between its threads.
_BRANCHES = """\
name = "branches"
[policy]
kind = "zipf"
vocab = 3
contexts = 2
[update]
learning_rate = 0.5
batch = 3
minibatches = 3
rollouts = 1
[[arm]]
name = "both"
low = 0.1
high = 0.1
"""
_REPLICAS = _BRANCHES.replace("[policy]", "replicas = 6000\n[policy]", 1)


@pytest.mark.parametrize("engine", share(("exact", "sampled"), "exact"))
def test_threads_of_linear_algebra_change_no_bit(engine: str, sandbox: Sandbox) -> None:
    files = (("x.toml", "text", {"value": _BRANCHES if engine == "exact" else _REPLICAS}),)
    said = []
    for threads in ("1", "2"):
        env = {"OPENBLAS_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        case = Case("threads", ("run", "x.toml", "--engine", engine, "--json"), files, env=env, fresh=True)
        outcome, folder = sandbox.run(case, f"threads-{engine}-{threads}")
        sandbox.forget(folder)
        assert outcome.code == 0, outcome
        said.append(outcome.out)
    assert said[0] == said[1]
