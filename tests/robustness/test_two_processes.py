"""One writer to a folder: the second is refused by a lock that a dead process does not hold."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.robustness.judge import faults, folder_faults
from tests.robustness.sandbox import Case, Sandbox, environment
from tests.robustness.scope import NIGHTLY, share
from tests.robustness.templates import checkpoints

FILES = (("long.toml", "copy", {"of": "long.toml"}), ("base.toml", "copy", {"of": "base.toml"}))


Held = tuple[Path, "subprocess.Popen[bytes]"]


@pytest.fixture
def held(sandbox: Sandbox, request: pytest.FixtureRequest) -> Iterator[Held]:
    """A folder with a run that has written a checkpoint and is stopped in its tracks."""
    folder = sandbox.root / f"held-{request.node.name}"
    work = sandbox.prepare(Case("held", (), FILES), folder)
    words = [sys.executable, "-m", "entclip", "run", "long.toml", "--out", "out", "--json"]
    process = subprocess.Popen(words, cwd=work, env=environment({}), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not (work / "out").is_dir() or not checkpoints(work / "out"):
            assert process.poll() is None, "the holder ended early"
            time.sleep(0.005)
        process.send_signal(signal.SIGSTOP)
        yield folder, process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("experiment", share(("long.toml", "base.toml"), "long.toml"))
def test_a_second_writer_is_refused_until_the_first_is_dead(experiment: str, held: Held, sandbox: Sandbox) -> None:
    folder, holder = held
    case = Case("second", ("run", experiment, "--out", "out"), out="out")
    second = sandbox.call(case, folder)
    assert second.code == 2, second
    assert f"being written by process {holder.pid} " in second.err
    assert not faults(case, second)
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    after = sandbox.call(case, folder)
    if experiment == "long.toml":
        assert after.code == 0, after.err
        assert not folder_faults(case, after, sandbox, folder, "ledger")
    # Another experiment may be refused in a folder that holds the checkpoints of the first, but not by a dead process's lock.
    assert not faults(case, after)
    assert "being written" not in after.err


def test_readers_leave_a_run_in_progress_alone(held: Held, sandbox: Sandbox) -> None:
    folder, _ = held
    for argv in (("report", "out"), ("ledger", "out"), ("compare", "out", "out")):
        outcome = sandbox.call(Case("reader", argv), folder)
        assert outcome.code == 2, outcome
        assert not faults(Case("reader", argv), outcome)


@pytest.mark.parametrize("round_", range(3 if NIGHTLY else 1))
def test_two_experiments_that_race_for_a_folder_do_not_mix(round_: int, sandbox: Sandbox) -> None:
    folder = sandbox.root / f"race-{round_}"
    sandbox.prepare(Case("race", (), FILES), folder)
    cases = [Case("race", ("run", "base.toml", "--out", "out", "--set", f"seed={seed}"), out="out") for seed in (1, 2)]
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(lambda case: sandbox.call(case, folder), cases))
    assert 0 in [o.code for o in outcomes], outcomes
    for case, outcome in zip(cases, outcomes, strict=True):
        assert not faults(case, outcome)
    assert not folder_faults(cases[0], outcomes[0], sandbox, folder, "compare")
