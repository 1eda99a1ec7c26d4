"""Rows as libraries log them whose names are others' beside their own, or that say much of the sampling engine."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np

from tests.integrations.logs.corpus.forms import Rows, lines, short, table
from tests.integrations.logs.corpus.writers import by_rollout, trl, verl

__all__ = ["NEWER_WRITERS"]


def easyr1(rows: Rows) -> Rows:
    """Its entropy is -log pi of the sampled tokens: the entropy and the KL to the old policy."""
    names = {"actor/pg_clipfrac": "actor/pg_clipfrac_higher", "actor/entropy": "actor/entropy_loss"}
    out = [{names.get(name, name): value for name, value in row.items()} for row in verl(rows)]
    return [row | {"actor/entropy_loss": row["actor/entropy_loss"] + row["actor/ppo_kl"]} for row in out]


def with_engine(rows: Rows, kept: float, sd: float) -> Rows:
    """verl's rows and what compares trainer and engine, from 4,000 tokens each: a ratio of `kept` times noise of mean 1."""
    rng, out = np.random.default_rng(6), []
    for row in verl(rows):
        x = math.log(kept) - sd**2 / 2 + sd * rng.standard_normal(4000)
        ratio = np.exp(x)
        numbers = {"kl": -x.mean(), "k3_kl": np.mean(ratio - 1 - x), "rollout_is_mean": np.minimum(ratio, 2).mean()}
        numbers |= {"rollout_is_eff_sample_size": ratio.mean() ** 2 / np.mean(ratio**2), "chi2_token": np.mean(ratio**2) - 1}
        out.append(row | {f"rollout_corr/{name}": float(value) for name, value in numbers.items()})
    return out


def areal(rows: Rows) -> Rows:
    return [
        {
            "ppo_actor/update/clip_ratio/avg": row["clip_low"] + row["clip_high"],
            "ppo_actor/update/dual_clip_ratio/avg": row["dual"],
            "ppo_actor/update/importance_weight/avg": row["ratio"],
            "ppo_actor/update/approx_kl/avg": -row["kl"],
            "ppo_actor/update/entropy/avg": row["entropy"],
            "ppo_actor/task_reward/avg": row["reward"],
            "ppo_actor/seq_len/avg": row["length"],
            "step": i,
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def roll(rows: Rows) -> Rows:
    return [
        {
            "actor/clipfrac": row["clip_low"] + row["clip_high"],
            "actor/ppo_ratio_clipfrac": row["clip_any"],
            "actor/policykl": -row["kl"],
            "actor/ratio_mean": row["ratio"],
            "critic/entropy/mean": row["entropy"],
            "critic/score/mean": row["reward"],
            "step": i,
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def open_instruct(rows: Rows) -> Rows:
    return [
        {
            "policy/clipfrac_avg": row["clip_low"] + row["clip_high"],
            "policy/entropy_avg": row["entropy"],
            "val/ratio": row["ratio"],
            "loss/policy_avg": 0.01,
            "objective/kl1_avg": 0.002,
            "scores": row["reward"],
            "training_step": i + 1,
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def swift(rows: Rows) -> bytes:
    """ms-swift's logging.jsonl: its step is a text."""
    out = []
    for i, row in enumerate(trl(rows)):
        entropy = row.pop("entropy")
        named = row | {"loss": 0.01, "grad_norm": 0.3, "entropy/mean": entropy, "entropy/max": 2.1, "entropy/min": 0.02}
        del named["step"]
        numbers: dict[str, float | str] = {name: short(value) for name, value in named.items()}
        out.append(json.dumps(numbers | {"global_step/max_steps": f"{i + 1}/{len(rows)}", "memory(GiB)": 61.2}))
    return "\n".join(out).encode()


NEWER_WRITERS: dict[str, Callable[[Rows], bytes]] = {
    "easyr1.jsonl": lambda rows: lines(easyr1(rows)),
    "swift.jsonl": swift,
    "verlkept.jsonl": lambda rows: lines(with_engine(rows, 0.93, 0.2)),
    "verlold.jsonl": lambda rows: lines(with_engine(rows, 1.0, 0.2)),
    "areal.jsonl": lambda rows: lines(areal(rows)),
    "roll.jsonl": lambda rows: lines(roll(rows)),
    "openinstruct.csv": lambda rows: table(open_instruct(rows)),
}
