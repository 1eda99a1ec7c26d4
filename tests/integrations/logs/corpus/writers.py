"""Rows of a simulated run as each library logs them: its names, its averaging, its form."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Callable

import numpy as np

__all__ = ["WRITERS"]

Rows = list[dict[str, float]]


def short(x: float) -> float:
    return float(f"{x:.5g}")


def by_rollout(rows: Rows) -> Rows:
    """Means over the updates of a rollout, as most libraries log them."""
    out = []
    for number in sorted({row["rollout"] for row in rows}):
        own = [row for row in rows if row["rollout"] == number]
        out.append(
            {key: float(np.mean([row[key] for row in own])) for key in own[0]}
            | {"last_kl": own[-1]["kl"], "last_kl3": own[-1]["kl3"]}
        )
    return out


def trl(rows: Rows, stride: int = 1) -> Rows:
    out = []
    for i in range(0, len(rows), stride):
        window = rows[i : i + stride]
        mean = {key: float(np.mean([row[key] for row in window])) for key in window[0]}
        out.append(
            {
                "loss": 0.0,
                "completions/mean_length": mean["length"],
                "reward": mean["reward"],
                "frac_reward_zero_std": mean["flat"],
                "kl": 0.001 + 1e-5 * i,
                "entropy": mean["entropy"],
                "clip_ratio/low_mean": mean["clip_low"],
                "clip_ratio/high_mean": mean["clip_high"],
                "step": i + stride,
            }
        )
    return out


def verl(rows: Rows) -> Rows:
    return [
        {
            "step": i + 1,
            "actor/entropy": row["entropy"],
            "actor/pg_clipfrac": row["clip_low"] + row["clip_high"],
            "actor/pg_clipfrac_lower": row["dual"],
            "actor/ppo_kl": row["kl"],
            "critic/score/mean": row["reward"],
            "response_length/mean": row["length"],
            "response_length/clip_ratio": 0.03,
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def openrlhf(rows: Rows) -> Rows:
    return [
        {
            "global_step": i + 1,
            "policy_loss": 0.01,
            "ppo_clip_ratio": row["clip_low"] + row["clip_high"],
            "ppo_kl": row["kl"],
            "kl": 0.002,
            "entropy_loss": row["entropy"],
            "reward": row["reward"],
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def prime(rows: Rows) -> Rows:
    return [
        {
            "step": i,
            "entropy/all/mean": row["entropy"],
            "mismatch_kl/all/mean": row["kl3"],
            "is_masked_low/mean": row["clip_low"],
            "is_masked_high/mean": row["clip_high"],
            "reward/all/mean": row["reward"],
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def sb3(rows: Rows) -> Rows:
    return [
        {
            "time/total_timesteps": 2048 * (i + 1),
            "rollout/ep_rew_mean": row["reward"],
            "train/approx_kl": row["last_kl3"],
            "train/clip_fraction": row["clip_any"],
            "train/clip_range": 0.2,
            "train/entropy_loss": -row["entropy"],
            "train/n_updates": 10 * (i + 1),
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def cleanrl(rows: Rows) -> Rows:
    return [
        {
            "global_step": 512 * (i + 1),
            "losses/entropy": row["entropy"],
            "losses/approx_kl": row["last_kl3"],
            "losses/old_approx_kl": row["last_kl"],
            "losses/clipfrac": row["clip_any"],
            "charts/episodic_return": row["reward"],
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def slime(rows: Rows) -> Rows:
    return [
        {
            "train/loss": 0.01,
            "train/entropy_loss": row["entropy"],
            "train/pg_clipfrac": row["clip_low"] + row["clip_high"],
            "train/ppo_kl": row["kl"],
            "train/kl_loss": 0.001,
        }
        for row in rows
    ]


def cispo(rows: Rows) -> Rows:
    return [
        {name: value for name, value in row.items() if not name.startswith("clip_ratio")}
        | {"cispo_clip_ratio": row["clip_ratio/high_mean"]}
        for row in trl(rows)
    ]


def script(rows: Rows) -> Rows:
    """What people write themselves: shares that do not look at the sign, and a KL to the reference."""
    return [
        {"step": i, "reward": row["reward"], "kl": 0.05 + 0.001 * i, "entropy": row["entropy"], "clipfrac": row["clip_any"]}
        for i, row in enumerate(by_rollout(rows))
    ]


def torchrl(rows: Rows) -> Rows:
    return [
        {"step": i, "loss_objective": 0.0, "clip_fraction": row["clip_any"], "kl_approx": row["kl"], "entropy": row["entropy"]}
        for i, row in enumerate(rows)
    ]


def plain(rows: Rows) -> Rows:
    return [
        {
            "rollout": row["rollout"],
            "inner_step": row["inner_step"],
            "clip_fraction_low": row["clip_low"],
            "clip_fraction_high": row["clip_high"],
            "approx_kl": row["kl"],
            "ratio_mean": row["ratio"],
            "entropy": row["entropy"],
            "reward": row["reward"],
        }
        for row in rows
    ]


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


def with_episodes(rows: Rows) -> Rows:
    """CleanRL's rows with an episode's return at other steps between them."""
    out: Rows = []
    for row in rows:
        step = row["global_step"]
        out += [{"global_step": step - 400 + 90 * k, "charts/episodic_return": 20.0 + k} for k in range(4)]
        out.append({key: value for key, value in row.items() if key != "charts/episodic_return"})
    return out


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


WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "trl.jsonl": lambda rows: lines(trl(rows)),
    "trl.json": lambda rows: state(trl(rows)),
    "trl.log": lambda rows: printed(trl(rows)),
    "trl4.jsonl": lambda rows: lines(trl(rows, 4)),
    "verl.log": lambda rows: dashed(verl(rows)),
    "verl.tfevents": lambda rows: events(verl(rows)),
    "trl.tfevents": lambda rows: events([{"step": row["step"], **row} for row in trl(rows)]),
    "cleanrlepisodes.tfevents": lambda rows: events(with_episodes(cleanrl(rows))),
    # A job that was started again: the second start goes on from step 8 in the same file.
    "verlagain.log": lambda rows: dashed(verl(rows)[:15]) + b"\n" + dashed(verl(rows)[7:]),
    "trlcispo.jsonl": lambda rows: lines(cispo(rows)),
    "trllast.json": lambda rows: lines([trl(rows)[-4]]),
    "slime.log": lambda rows: numbered(slime(rows)),
    "percent.csv": percents,
    "script.csv": lambda rows: table(script(rows)),
    "verl.jsonl": lambda rows: lines(verl(rows)),
    "verl.csv": lambda rows: table(verl(rows), "calm-fog-7"),
    "openrlhf.log": lambda rows: announced(openrlhf(rows)),
    "openrlhf.jsonl": lambda rows: lines(openrlhf(rows)),
    "prime.jsonl": lambda rows: lines(prime(rows)),
    "prime.log": lambda rows: barred(prime(rows)),
    "sb3.csv": lambda rows: table(sb3(rows)),
    "sb3.txt": lambda rows: boxes(sb3(rows)),
    "sb3.tfevents": lambda rows: events(sb3(rows)),
    "cleanrl.tfevents": lambda rows: events(cleanrl(rows)),
    "cleanrl.csv": lambda rows: table(cleanrl(rows), "seed 1"),
    "torchrl.jsonl": lambda rows: lines(torchrl(rows)),
    "plain.csv": lambda rows: table(plain(rows)),
}
