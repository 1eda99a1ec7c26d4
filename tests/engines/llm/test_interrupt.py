"""Ctrl-C in the middle of training, once and twice: the promised code and message, soon, and no abort."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "entclip", "llm", "--model", "untrained", "--replicas", "2", "--arm", "both"]


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_ends_training(times: int) -> None:
    process = subprocess.Popen([*COMMAND, "--rollouts", "1000"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        training = next(line for line in process.stderr if " left" in line)  # the lines before say what comes first
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert "of 16,000 in" in training
    assert process.returncode == 130
    assert out == ""
    assert err.strip().splitlines()[-1].startswith("interrupted.")
    assert "Traceback" not in err
