"""python -m benchmarks.logs: `diagnose` on logs of 1 MB and 100 MB in each form, in a process of its own: seconds and memory.

A row has the metrics that are read and sixty that are not, as trainers log them. Seconds are of CPU, from the call of `diagnose`
to its text; memory is the largest of the whole process, over what it has once everything is imported. Asked: 1 MB in under a
second, 100 MB within 300 MB.
"""

from __future__ import annotations

import argparse
import json
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

SIZES = {"1 MB": 1_000_000, "100 MB": 100_000_000}
_CHILD = """
import resource, sys, time
from entclip import diagnose
def most(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
diagnose([{"entropy": 0.5, "clip_fraction_low": 0.01 * (k % 2), "clip_fraction_high": 0.01 * (k % 2)} for k in range(40)])
before, start = most(), time.process_time()
found = diagnose(sys.argv[1])
found.to_text()
print(found.log.rows, time.process_time() - start, most() - before, most())
"""
Row = dict[str, float]


def row(k: int, rng: np.random.Generator) -> Row:
    """Update k of a run with four updates per rollout."""
    share, fall = 0.01 * (k % 4), 0.3 + 0.4 * np.exp(-k / 20_000)
    own = {"low": share * rng.uniform(0.9, 1.1), "high": share * rng.uniform(0.9, 1.1), "entropy": fall * rng.uniform(0.98, 1.02)}
    return {"step": k + 1, **own, **{f"timing_s/part_{i}": x for i, x in enumerate(rng.random(60).tolist())}}


def verl(values: Row) -> str:
    named = {"actor/pg_clipfrac": values["low"] + values["high"], "actor/entropy": values["entropy"]}
    rest = {**named, **{k: v for k, v in values.items() if k.startswith("timing")}}
    parts = " - ".join(f"{name}:{value:.6g}" for name, value in rest.items())
    return f"(TaskRunner pid=371) step:{values['step']} - {parts}\n"


def _trl(values: Row) -> Row:
    names = {"low": "clip_ratio/low_mean", "high": "clip_ratio/high_mean"}
    return {names.get(name, name): float(f"{value:.6g}") for name, value in values.items()}


def event(values: Row) -> bytes:
    """The scalars of a step as TensorBoard's writer makes them: a record for each, checksums left 0."""
    out = b""
    for name, value in _trl(values).items():
        tag = name.encode()
        scalar = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
        summary = b"\x0a" + bytes([len(scalar)]) + scalar
        step, number = b"", int(values["step"])
        while number > 127:
            step, number = step + bytes([number & 127 | 128]), number >> 7
        record = b"\x09" + struct.pack("<d", 1e9) + b"\x10" + step + bytes([number]) + b"\x2a" + bytes([len(summary)]) + summary
        out += struct.pack("<Q", len(record)) + b"\0\0\0\0" + record + b"\0\0\0\0"
    return out


_VERSION = b"\x09" + struct.pack("<d", 1e9) + b"\x1a\x0dbrain.Event:2"
_FIRST = struct.pack("<Q", len(_VERSION)) + b"\0\0\0\0" + _VERSION + b"\0\0\0\0"
FORMS: dict[str, tuple[str, bytes, Callable[[Row], bytes], bytes]] = {
    "verl's console": ("run.log", b"", lambda values: verl(values).encode(), b""),
    "JSON lines": ("run.jsonl", b"", lambda values: (json.dumps(_trl(values)) + "\n").encode(), b""),
    "trainer_state.json": (
        "trainer_state.json",
        b'{"log_history": [{}',
        lambda values: (",\n" + json.dumps(_trl(values), indent=1)).encode(),
        b"]}",
    ),
    "CSV": (
        "run.csv",
        (",".join(_trl(row(0, np.random.default_rng(0)))) + "\n").encode(),
        lambda values: (",".join(f"{value:.6g}" for value in values.values()) + "\n").encode(),
        b"",
    ),
    "TensorBoard": ("run.tfevents", _FIRST, event, b""),
}


def write(path: Path, form: str, size: int) -> None:
    """Write a log of about `size` bytes; of many rows the same thousand come again with steps of their own."""
    _, head, line, tail = FORMS[form]
    rng = np.random.default_rng(0)
    values = [row(k, rng) for k in range(1000)]
    with path.open("wb") as file:
        file.write(head)
        k = 0
        while file.tell() < size:
            file.write(line({**values[k % 1000], "step": k + 1}))
            k += 1
        file.write(tail)


def measure(form: str, size: int) -> tuple[int, float, float, float]:
    """Return rows, CPU seconds, memory over the imported process's and in all, MB."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, FORMS[form][0])
        write(path, form, size)
        done = subprocess.run([sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=True)
    rows, seconds, more, most = done.stdout.split()
    return int(rows), float(seconds), float(more), float(most)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.logs", description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    chosen = parser.parse_args()
    for name in chosen.sizes:
        for form in FORMS:
            rows, seconds, more, most = measure(form, SIZES[name])
            print(f"{name:>6} {form:<20} {rows:>7} rows  {seconds:6.2f} s of CPU  {more:4.0f} MB more, {most:4.0f} MB in all")


if __name__ == "__main__":
    main()
