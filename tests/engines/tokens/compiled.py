"""python -m tests.engines.tokens.compiled: what fused.py launches, bound and compiled by triton for a GPU that is not there.

Prints for every pass its kernel, dtype, whether rows are read and written in vectors, registers of a thread and bytes that it
spills. The arguments go through triton's own binder: it is what first sees how a launch is spelt.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.compiler.compiler import make_backend
from triton.runtime.jit import create_function_from_signature

from entclip.drift.adam import Adam
from entclip.engines.tokens.kernels import fused, reference
from entclip.engines.tokens.kernels.passes import Comparison, distinct
from entclip.objectives.clip import Clip

TARGET = GPUTarget("cuda", 90, 32)  # H100 and H200
VOCAB = 151_936


class Launches:
    """Stands in for a kernel: binds and compiles what it is launched with instead of running it."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.made = kernel, []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return self

    def __call__(self, *arguments: Any, **options: Any) -> None:
        backend = make_backend(TARGET)
        bind = create_function_from_signature(self.kernel.signature, self.kernel.params, backend)
        bound, kinds, rest = bind(*arguments, **options)
        named = dict(zip(bound, kinds, strict=True))
        signature = {name: kind for name, (kind, _) in named.items()}
        constants = {name: bound[name] for name, kind in signature.items() if kind == "constexpr"}
        parsed = {(i,): backend.parse_attr(text) for i, (kind, text) in enumerate(kinds) if kind != "constexpr" and text}
        source = ASTSource(self.kernel, signature, constants, parsed)
        self.made.append(triton.compile(source, target=TARGET, options=rest))


def resources(kernel: Any) -> dict[str, int]:
    """Return registers of a thread and bytes that it spills, as the assembler reports them."""
    tool = next((Path(triton.__file__).parent / "backends/nvidia/bin").glob("cuobjdump*"))
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return {name: int(re.search(rf"{key}:(\d+)", said)[1]) for name, key in {"registers": "REG", "stack_bytes": "STACK"}.items()}


def launch(dtype: torch.dtype) -> None:
    """Launch a pass of every kind."""
    logits = torch.zeros(1, VOCAB, dtype=dtype)
    norm, pull = reference.measure(logits), torch.zeros(1, dtype=torch.float64)
    slots = distinct(torch.zeros(1, 16, dtype=torch.int64), torch.zeros(1, 16, dtype=torch.float64))
    ratio = Comparison(logits, norm.log_z, Clip(0.2, 0.28), "euclidean")
    whole = Comparison(logits, norm.log_z, Clip(0.2, 0.28), "natural", (0.2, 0.2, 0.2, 0.2))
    adam = Adam(torch.full_like(pull, 1e-3), 0.9, 0.999, 1e-8, 0.01, False, 10)
    sums = fused._run_dense
    for view in (None, ratio, whole):
        sums(logits, norm, pull, view, None, logits, logits)
        sums(logits, norm, pull, view, adam, logits, logits)
    fused.sparse_step(logits, norm, slots)


def main() -> None:
    """Print what was compiled, one object a pass."""
    fused._check, found = lambda table: None, []
    for dtype in (torch.float32, torch.float64):
        kernels = {name: Launches(getattr(fused, name)) for name in ("dense", "sparse")}
        real = {name: kernels[name].kernel for name in kernels}
        vars(fused).update(kernels)
        launch(dtype)
        vars(fused).update(real)
        for name, launches in kernels.items():
            for kernel in launches.made:
                ptx = kernel.asm["ptx"]
                vectors = {f"vector_{word}": f"{op}.global.v" in ptx for word, op in (("load", "ld"), ("store", "st"))}
                found.append({"kernel": name, "dtype": str(dtype).removeprefix("torch."), **vectors, **resources(kernel)})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
