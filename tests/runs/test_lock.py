"""One writer per folder: a second is refused by name, and a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from entclip import run
from entclip.ledger.folder import read_frame, read_summary
from entclip.support.errors import SpecError
from entclip.support.lock import folder_lock
from tests.folders import small
from tests.robustness.scope import NIGHTLY

HOLD = """
import sys
from pathlib import Path
from entclip.support.lock import folder_lock

with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the folder until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_is_refused_and_told_who_holds_the_folder(tmp_path):
    process = holder(tmp_path)
    try:
        for _ in range(2):  # trying it does not loosen it
            with pytest.raises(SpecError, match=rf"is being written by process {process.pid} on ") as caught:
                run(small(), out=tmp_path)
            assert "\n" not in str(caught.value)
    finally:
        process.communicate("", timeout=60)
    run(small(), out=tmp_path)
    assert read_summary(tmp_path)["seed"] == 0


def test_a_dead_process_holds_nothing(tmp_path):
    process = holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert (tmp_path / ".lock-holder.json").exists()  # what it left says nothing
    run(small(), out=tmp_path)
    assert not (tmp_path / ".lock-holder.json").exists()


def test_threads_of_one_process_count_as_writers(tmp_path):
    with folder_lock(tmp_path), pytest.raises(SpecError, match=rf"process {os.getpid()} "):
        run(small(), out=tmp_path)
    with folder_lock(tmp_path):
        pass


def test_the_first_of_two_keeps_its_checkpoints(tmp_path):
    """The second comes when the first has finished a rollout, with the same run and with another one."""
    reached, go_on = threading.Event(), threading.Event()

    def wait(arm: str, done: int, total: int) -> None:
        if done == 4:
            reached.set()
            assert go_on.wait(60)

    first = threading.Thread(target=lambda: run(small(), out=tmp_path, jobs=1, progress=wait))
    first.start()
    assert reached.wait(60)
    before = sorted(p.name for p in tmp_path.glob(".checkpoint-*/*"))
    assert len(before) == 1
    for second in (small(), small("seed=5")):
        with pytest.raises(SpecError, match="is being written by"):
            run(second, out=tmp_path)
    assert sorted(p.name for p in tmp_path.glob(".checkpoint-*/*")) == before
    go_on.set()
    first.join(60)
    assert read_frame(tmp_path).equals(read_frame_of(small(), tmp_path / "alone"))


def read_frame_of(experiment, folder):
    run(experiment, out=folder)
    return read_frame(folder)


@pytest.mark.slow
def test_processes_that_race_on_one_folder_leave_one_run(tmp_path):
    code = "import sys; from tests.folders import *; write_run(Path(sys.argv[1]), 'seed=' + sys.argv[2])"
    for trial in range(3 if NIGHTLY else 1):
        folder = tmp_path / str(trial)
        racers = [
            subprocess.Popen(
                [sys.executable, "-c", "from pathlib import Path;" + code, str(folder), str(seed)],
                stderr=subprocess.PIPE,
                text=True,
            )
            for seed in range(2)
        ]
        errors = [process.communicate(timeout=120)[1] for process in racers]
        assert sorted(process.returncode for process in racers) == [0, 1]
        assert [e for e in errors if "is being written by" in e or "holds another finished run" in e]
        seed = read_summary(folder)["seed"]
        assert racers[seed].returncode == 0
        assert set(read_frame(folder)["seed"]) == {seed}
