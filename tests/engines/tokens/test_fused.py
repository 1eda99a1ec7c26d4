"""The triton kernels under the interpreter, in a process of its own, and through the compiler; gpu/ runs them on a device.

Triton must be told to interpret before anything imports it. The interpreter shows arithmetic, masks and addresses; that the
kernels compile for a GPU is shown without one.
"""

from __future__ import annotations

import importlib.util
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


_COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from entclip.engines.tokens.kernels import fused, triton_passes

def compiled(kernel, pointers, constants, warps):
    names = kernel.arg_names
    signature = {n: "constexpr" if n in constants else pointers[n] for n in names}
    aligned = {(i,): [["tt.divisibility", 16]] for i, n in enumerate(names) if n in pointers and pointers[n].startswith("*")}
    source = ASTSource(kernel, signature, constants, aligned)
    options = {"num_warps": warps, "enable_fp_fusion": True}
    return triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options).asm["ptx"]

f, d = "*fp32", "*fp64"
pointers = dict(logits=f, old=f, m_table=f, v_table=f, rows=d, params=d, partials=d, extremes=d, limit="fp32")
for step, view, block in ((1, 2, 1024), (2, 1, 1024)):
    sums = len(fused._sum_names(step, view))
    constants = dict(V=151936, BLOCK=block, TILES=8, ROW=6, SUMS=sums, STEP=step, VIEW=view, KIND=1, GATED=True, NATURAL=False,
                     COUPLED=False)
    ptx = compiled(triton_passes.dense, pointers, constants, 8)
    assert "ld.global.v4" in ptx, "rows are not read in vectors"
    assert "st.global.v4" in ptx
i = "*i64"
compiled(triton_passes.sparse, dict(logits=f, actions=i, push=d, count=i, norms=d, out=d), dict(V=151936, B=16, BLOCK=16), 1)
print("compiled")
"""


@pytest.mark.slow
def test_kernels_compile_for_a_gpu_that_is_not_there(tmp_path):
    """Every kind of pass to machine code for compute capability 9.0, rows read and written in vectors of four."""
    done = python("-c", _COMPILE, TRITON_CACHE_DIR=str(tmp_path))
    assert done.stdout.strip() == "compiled", done.stderr[-2000:]


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
