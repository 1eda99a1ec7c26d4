"""Rows of a simulated run as each library logs them: its names and its averaging; forms.py writes them down."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.integrations.logs.corpus.forms import (
    Rows,
    announced,
    barred,
    boxes,
    commas,
    dashed,
    events,
    lines,
    numbered,
    percents,
    printed,
    state,
    table,
    validated,
)

__all__ = ["WRITERS", "Rows", "by_rollout", "trl", "verl"]


def by_rollout(rows: Rows) -> Rows:
    """Means over the updates of a rollout, as most libraries log them."""
    out = []
    for number in sorted({row["rollout"] for row in rows}):
        own = [row for row in rows if row["rollout"] == number]
        out.append(
            {key: float(np.mean([row[key] for row in own])) for key in own[0]}
            | {"last_kl": own[-1]["kl"], "last_kl3": own[-1]["kl3"], "updates": float(len(own))}
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
            "train/n_updates": row["updates"] * (i + 1),  # epochs, each of one minibatch
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


def in_epochs(rows: Rows) -> Rows:
    """A script's rows, with the step counted anew in each of three epochs."""
    own, count = script(rows), -(-len(by_rollout(rows)) // 3)
    return [{"epoch": i // count} | row | {"step": i % count} for i, row in enumerate(own)]


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


def skyrl(rows: Rows) -> Rows:
    return [
        {
            "trainer/global_step": i + 1,
            "policy/final_loss": 0.02,
            "policy/policy_entropy": row["entropy"],
            "policy/policy_lr": 1e-6,
            "policy/loss_metrics/clip_ratio": row["clip_low"] + row["clip_high"],
            "reward/avg_raw_reward": row["reward"],
            "generate/avg_num_tokens": row["length"],
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def earlier_skyrl(rows: Rows) -> Rows:
    return [
        {("policy/ppo_clip_ratio" if name == "policy/loss_metrics/clip_ratio" else name): value for name, value in row.items()}
        for row in skyrl(rows)
    ]


def nemo(rows: Rows) -> Rows:
    return [
        {
            "train/loss": 0.01,
            "train/probs_ratio": row["ratio"],
            "train/probs_ratio_clamped": 0.5 + row["ratio"] / 2,
            "train/gen_kl_error": 0.001,
            "train/token_mult_prob_error": 1.02,
            "train/approx_entropy": row["entropy"],
            "train/reward": row["reward"],
            "step": i + 1,
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def trl_ppo(rows: Rows) -> Rows:
    return [
        {
            "step": i,
            "objective/kl": 0.4,
            "objective/entropy": row["entropy"] * row["length"],
            "ppo/policy/entropy": row["entropy"],
            "ppo/policy/clipfrac": row["clip_low"] + row["clip_high"],
            "ppo/policy/policykl": row["kl"],
            "env/reward_mean": row["reward"],
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def later_trl_ppo(rows: Rows) -> Rows:
    return [
        {
            "objective/kl": 12.0,
            "policy/clipfrac_avg": row["clip_low"] + row["clip_high"],
            "policy/entropy_avg": row["entropy"],
            "objective/scores": row["reward"],
            "episode": 512 * (i + 1),
        }
        for i, row in enumerate(by_rollout(rows))
    ]


def of_each_rank(rows: Rows) -> Rows:
    """Four processes write every row, each its own share of the numbers."""
    rng = np.random.default_rng(4)
    return [
        {"rank": rank}
        | {name: value if name.endswith("step") else value * (1 + 0.05 * rng.standard_normal()) for name, value in row.items()}
        for row in rows
        for rank in range(4)
    ]


def with_episodes(rows: Rows) -> Rows:
    """CleanRL's rows with an episode's return at other steps between them."""
    out: Rows = []
    for row in rows:
        step = row["global_step"]
        out += [{"global_step": step - 400 + 90 * k, "charts/episodic_return": 20.0 + k} for k in range(4)]
        out.append({key: value for key, value in row.items() if key != "charts/episodic_return"})
    return out


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
    "trlreversed.jsonl": lambda rows: lines(trl(rows)[::-1]),
    "plainreversed.csv": lambda rows: table(plain(rows)[::-1]),
    "epochs.csv": lambda rows: table(in_epochs(rows)),
    "epochsalone.csv": lambda rows: table([{k: v for k, v in row.items() if k != "epoch"} for row in in_epochs(rows)]),
    "skyrl.jsonl": lambda rows: lines(skyrl(rows)),
    "skyrlearlier.jsonl": lambda rows: lines(earlier_skyrl(rows)),
    "nemo.jsonl": lambda rows: lines(nemo(rows)),
    "trlppo.jsonl": lambda rows: lines(trl_ppo(rows)),
    "trlppolater.json": lambda rows: state(later_trl_ppo(rows)),
    "nemo.csv": lambda rows: table(nemo(rows)),
    "trlranks.jsonl": lambda rows: lines(of_each_rank(trl(rows))),
    "plainranks.csv": lambda rows: table(of_each_rank(plain(rows))),
    "verlvalidated.log": lambda rows: validated(verl(rows)),
    "commas.csv": lambda rows: commas(plain(rows)),
    "trl3.jsonl": lambda rows: lines(trl(rows, 3)),
}
