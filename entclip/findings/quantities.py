"""What papers without an objective of their own ask for, measured: the numbers of docs/quantities.md.

`python -m entclip.findings.quantities` makes the runs again, in seconds, and writes docs/data/quantities.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from entclip.drift.gradient_noise import gradient_noise
from entclip.engines.base import State
from entclip.engines.tabular.table import TabularState
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.by_sign import by_position, by_sign
from entclip.ledger.reward_law import fit_reward_law, points_of
from entclip.policies.answers import answer_entropy, support_kept
from entclip.policies.laws import uniform
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import TableReward
from entclip.runs.runner import run

__all__ = ["FILE", "measured"]

FILE = Path("docs/data/quantities.json")
_RIGHT = (1, 3, 6, 13, 32, 51, 58, 61, 63)  # of 64 actions
_SEEDS = 8
_ARMS = [{"name": "none", "objective": "none"}, {"name": "clip", "low": 0.2, "high": 0.2}]
_VOCAB, _ANSWERS = 64, 16
# Natural steps move rare and common actions alike, euclidean ones mostly common ones.
_RATES = {"natural": 0.02, "euclidean": 1.0}


def measured() -> dict[str, Any]:
    """Return every number of the page as one JSON-able object."""
    return {"gradient": _gradient(), "signs": _signs(), "positions": _positions(), "support": _support(), "law": _law()}


def _gradient() -> list[dict[str, float]]:
    """Signal over variance of a minibatch of 8 from a uniform policy, by its success rate."""
    policy, rows = uniform(64), []
    for right in _RIGHT:
        reward = TableReward(tuple(float(a < right) for a in range(64)))
        row = {"success": right / 64}
        for name, advantage in (
            ("independent", Independent()),
            ("group", GroupRelative(8)),
            ("std", GroupRelative(8, scale="std")),
        ):
            found = gradient_noise(policy, reward, batch=8, advantage=advantage)
            row |= {f"{name}_signal": float(found.signal), f"{name}_variance": float(found.variance)}
        rows.append(row)
    return rows


def _experiment(geometry: str, seed: int = 0, **changes: Any) -> Experiment:
    """A run in which a quarter of the actions is right: 12 rollouts of 8 updates."""
    update = {"geometry": geometry, "learning_rate": _RATES[geometry], "batch": 64, "minibatches": 8, "rollouts": 12}
    data = {
        "name": "quantities",
        "seed": seed,
        "policy": {"kind": "dirichlet", "vocab": _VOCAB, "contexts": 32, "alpha": 2.0, "floor": 0.1},
        "reward": {"kind": "table", "values": [float(a % 4 == 0) for a in range(_VOCAB)]},
        "update": update,
        "arm": _ARMS,
    }
    return parse_experiment(data | changes)


def _signs() -> dict[str, Any]:
    """The change by sign of A in the two halves of a run, by geometry and arm."""
    out: dict[str, Any] = {}
    for geometry in _RATES:
        ledger = run(_experiment(geometry), jobs=1)
        out |= {f"{geometry}/{name}": by_sign(books.rows) for name, books in ledger.arms.items()}
    return out


def _positions() -> dict[str, Any]:
    """The change by position in sequences of four tokens of which a quarter is right."""
    policy = {"kind": "autoregressive", "vocab": 4, "length": 4, "contexts": 8, "floor": 0.3}
    reward = {"kind": "table", "values": [float(a // 4 % 4 == 0) for a in range(256)]}  # the third token decides
    update = {"geometry": "euclidean", "learning_rate": 2.0, "batch": 64, "minibatches": 8, "rollouts": 12}
    ledger = run(_experiment("euclidean", policy=policy, reward=reward, update=update), jobs=1)
    return {name: by_position(books.summaries) for name, books in ledger.arms.items()}


def _support() -> dict[str, Any]:
    """Right actions within reach of 8,192 samples, and the entropy of actions and of answers, before and after a run.

    Four actions are one answer, all of them right or all wrong.
    """
    out: dict[str, Any] = {}
    answers = np.arange(_VOCAB) % _ANSWERS
    for geometry in _RATES:
        seen: dict[str, list[np.ndarray]] = {}

        def look(arm: str, state: State, seen: dict[str, list[np.ndarray]] = seen) -> None:
            assert isinstance(state, TabularState)
            seen.setdefault(arm, []).append(np.exp(state.log_probs[:, 0]))

        ledger = run(_experiment(geometry), jobs=1, inspect=look)
        for name, (before, after) in seen.items():
            kept = support_kept(before, after, answers % 4 == 0)
            books = ledger.arms[name].summaries
            out[f"{geometry}/{name}"] = {
                "counts": [kept.preserved, kept.expanded, kept.shrunk, kept.out],
                "rates": [kept.retention, kept.discovery, kept.dynamic_score, kept.net_change],
                "entropy": [books[0]["entropy_before"], books[-1]["entropy"]],
                "answer_entropy": [float(np.mean(answer_entropy(x, answers))) for x in (before, after)],
            }
    return out


def _law() -> dict[str, Any]:
    """R = -a e^H + b over independent runs, by geometry and arm."""
    out: dict[str, Any] = {}
    for geometry in _RATES:
        runs = [run(_experiment(geometry, seed), jobs=1).arms for seed in range(_SEEDS)]
        for arm in runs[0]:
            points = [points_of(arms[arm].summaries) for arms in runs]
            found = fit_reward_law(np.array([h for h, _ in points]), np.array([r for _, r in points]))
            ends = {
                "entropy": points[0][0][[0, -1]].tolist(),
                "reward": points[0][1][[0, -1]].tolist(),
            }
            out[f"{geometry}/{arm}"] = vars(found) | {"ceiling": found.ceiling} | ends
    return out


if __name__ == "__main__":
    from entclip.support.files import prepare_file, to_json, write_atomic

    prepare_file(FILE)
    write_atomic(FILE, to_json(measured()).encode())
