"""Rows as files: JSON lines, tables, consoles, TensorBoard events, as trainers, trackers and people write them."""

from __future__ import annotations

import csv
import io
import json
import struct

__all__ = [
    "Rows",
    "announced",
    "barred",
    "boxes",
    "commas",
    "dashed",
    "events",
    "lines",
    "numbered",
    "percents",
    "printed",
    "short",
    "state",
    "table",
    "validated",
]

Rows = list[dict[str, float]]


def short(x: float) -> float:
    return float(f"{x:.5g}")


def validated(rows: Rows) -> bytes:
    """verl's console with validations: before the first step, and with every fifth."""
    out = ["(TaskRunner pid=77) step:0 - val-core/math/acc/mean@8:0.21 - val-aux/num_turns/mean:2.0"]
    for row in rows:
        values = {name: value for name, value in row.items() if name != "step"}
        values |= {"val-core/math/acc/mean@8": 0.3, "val-aux/num_turns/mean": 2.0} if row["step"] % 5 == 0 else {}
        rest = " - ".join(f"{name}:{short(value)}" for name, value in values.items())
        out.append(f"(TaskRunner pid=77) step:{row['step']:.0f} - {rest} - timing_s/update_actor:12.25 - perf/throughput:1820.5")
    return "\n".join(out).encode()


def commas(rows: Rows) -> bytes:
    """A spreadsheet's table where the comma is the decimal point."""
    return table(rows).replace(b",", b";").replace(b".", b",")


def lines(rows: Rows) -> bytes:
    return "".join(json.dumps({key: short(value) for key, value in row.items()}) + "\n" for row in rows).encode()


def table(rows: Rows, run: str = "") -> bytes:
    out = io.StringIO()
    names = list(rows[0])
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f"{run} - {name}" if run and i else name for i, name in enumerate(names)])
    writer.writerows([[short(row[name]) for name in names] for row in rows])
    return out.getvalue().encode()


def state(rows: Rows) -> bytes:
    history = [{key: short(value) for key, value in row.items()} for row in rows]
    return json.dumps(
        {"best_metric": None, "global_step": len(rows), "is_world_process_zero": True, "log_history": history}
    ).encode()


def dashed(rows: Rows) -> bytes:
    """verl's console, with what else a console holds."""
    out = ["INFO 11-02 vllm engine ready", "\x1b[36m(TaskRunner pid=4711)\x1b[0m step:0 - val-core/acc/mean@1:0.31"]
    for row in rows:
        rest = " - ".join(f"{key}:{short(value)}" for key, value in row.items() if key != "step")
        out += [
            f"\x1b[36m(TaskRunner pid=4711)\x1b[0m step:{row['step']:.0f} - {rest} - timing_s/gen:31.2",
            "Training Progress:  3%|x",
        ]
    return "\n".join(out).encode()


def printed(rows: Rows) -> bytes:
    return "\n".join(str({key: short(value) for key, value in row.items()}) for row in rows).encode()


def announced(rows: Rows) -> bytes:
    out = []
    for row in rows:
        values = {key: short(value) for key, value in row.items() if key != "global_step"}
        out.append(f"INFO ppo_trainer.py:210] Global step {row['global_step']:.0f}: {values}")
    return "\n".join(out).encode()


def numbered(rows: Rows) -> bytes:
    """slime's console: a line for each rollout's rewards, one for each update."""
    out = []
    for i, row in enumerate(rows):
        if i % 4 == 0:
            out.append(
                f"(RolloutManager pid=8) [2026-03-01 10:00:00] rollout.py:88 - rollout {i // 4}: {{'rollout/raw_reward': 0.4}}"
            )
        values = {key: short(value) for key, value in row.items()}
        out.append(f"(MegatronTrainRayActor pid=77) [2026-03-01 10:00:01] model.py:512 - step {i}: {values}")
    return "\n".join(out).encode()


def percents(rows: Rows) -> bytes:
    """A table whose shares are written as percentages."""
    lines_ = [
        f"{i},{row['entropy']:.3f},{100 * row['clip_low']:.2f}%,{100 * row['clip_high']:.2f} %" for i, row in enumerate(rows)
    ]
    return "\n".join(["step,entropy,clip_fraction_low,clip_fraction_high", *lines_]).encode()


def barred(rows: Rows) -> bytes:
    return "\n".join(
        f"10:31:02 SUCCESS Step {row['step']:.0f} | Time: 21.3s | Loss: 0.01 | Entropy: {row['entropy/all/mean']:.5f} | "
        f"Mismatch KL: {row['mismatch_kl/all/mean']:.6f} | Grad. Norm: 0.1 | LR: 1e-06"
        for row in rows
    ).encode()


def boxes(rows: Rows) -> bytes:
    out = []
    for row in rows:
        out.append("-" * 44)
        group = ""
        for key, value in row.items():
            head, _, name = key.partition("/")
            if head != group:
                group = head
                out.append(f"| {head + '/':<26} | {'':<11} |")
            out.append(f"|    {name:<23} | {short(value):<11} |")
        out.append("-" * 44)
    return "\n".join(out).encode()


def events(rows: Rows) -> bytes:
    """An event file, checksums left 0."""

    def varint(x: int) -> bytes:
        out = b""
        while x > 127:
            out, x = out + bytes([x & 127 | 128]), x >> 7
        return out + bytes([x])

    def bytes_field(number: int, data: bytes) -> bytes:
        return varint(number << 3 | 2) + varint(len(data)) + data

    records = [b"\x09" + struct.pack("<d", 1e9) + bytes_field(3, b"brain.Event:2")]
    for row in rows:
        (step, *_), scalars = row.values(), list(row.items())[1:]
        for name, value in scalars:
            scalar = bytes_field(1, name.encode()) + b"\x15" + struct.pack("<f", value)
            records.append(
                b"\x09" + struct.pack("<d", 1e9) + b"\x10" + varint(int(step)) + bytes_field(5, bytes_field(1, scalar))
            )
    return b"".join(struct.pack("<Q", len(r)) + b"\0\0\0\0" + r + b"\0\0\0\0" for r in records)
