"""The triton kernels under the interpreter, in a process of its own, and through the compiler; gpu/ runs them on a device.

Triton must be told to interpret before anything imports it. The interpreter shows arithmetic, masks and addresses; that the
kernels compile for a GPU is shown without one.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
ROOT = Path(__file__).parents[3]


def python(*arguments, **environment):
    """A fresh interpreter in the repository, with TRITON_INTERPRET only where it is given."""
    inherited = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET" and not k.startswith("PYTEST_")}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False)


def test_under_the_interpreter():
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/engines/tokens/fused_cases.py", TRITON_INTERPRET="1")
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


@pytest.mark.slow
def test_what_is_launched_compiles_for_a_gpu_that_is_not_there(tmp_path):
    """Every kind of pass to machine code for compute capability 9.0, as fused.py launches it, and no sum spilled to memory."""
    done = python("-m", "tests.engines.tokens.compiled", TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr[-2000:]
    passes = json.loads(done.stdout)
    assert {found["kernel"] for found in passes} == {"dense", "sparse"}
    wide = [found for found in passes if found["kernel"] == "dense" and found["dtype"] == "float32"]
    assert len(wide) == 6
    assert all(found["vector_load"] and found["vector_store"] for found in wide)
    assert [found for found in passes if found["stack_bytes"] > 0] == []


_REFUSED = """
import torch
from entclip.engines.tokens.kernels import fused
try:
    fused.measure(torch.zeros(2, 8))
except ValueError as error:
    print(error)
"""


def test_without_a_gpu_or_the_interpreter_the_kernels_say_so():
    done = python("-c", _REFUSED)
    assert "run on CUDA tensors, got one on cpu" in done.stdout, done.stderr[-2000:]
