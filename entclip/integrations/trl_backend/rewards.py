"""The rewards of an experiment as a reward function of TRL: the llm engine's numbers, however many processes share a rollout."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from entclip.engines.llm.task import Question, Task
from entclip.engines.samples import draw_rewards, law_mean
from entclip.experiments.experiment import Experiment
from entclip.support.errors import SpecError
from entclip.support.random import stream

__all__ = ["process", "reward_function"]


def process() -> tuple[int, int]:
    """Return the index of this process and how many there are, as accelerate and torchrun tell them."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def reward_function(
    experiment: Experiment,
    task: Task,
    decode: Callable[[Sequence[int]], str],
    asked: Sequence[Question],
    key: int,
    *,
    mirror: bool = False,
) -> Callable[..., list[float]]:
    """Return TRL's reward function of one replica; it logs the share of right answers, too, as pass_at_1 and pass_at_K.

    Random rewards are those of the whole rollout, of which this process takes its part, in order.

    Args:
        decode: token ids of a response to its text. asked: the question behind each number in the column `question`.
        key: of the replica's random streams; mirror: replace every random reward by its mirror image about the mean.
    """
    rules, size, u = experiment.rollout_rules, experiment.advantage.size, experiment.update
    judge = {"correct": task.correct, "format": task.well_formed}.get(rules.reward)

    def entclip(
        completion_ids: list[list[int]], question: list[int], trainer_state: Any, log_metric: Any, **_: Any
    ) -> list[float]:
        pairs = [(asked[place], decode(ids)) for place, ids in zip(question, completion_ids, strict=True)]
        right = np.array([task.correct(*pair) for pair in pairs])
        for value in right:
            log_metric("pass_at_1", float(value))
        for best in right.reshape(-1, size).max(axis=1):
            log_metric(f"pass_at_{size}", float(best == 1))
        if judge is None:
            rng = stream(experiment.seed, "rewards", trainer_state.global_step // (u.epochs * u.minibatches), key)
            start = process()[0] * len(pairs)
            rewards = draw_rewards(experiment, (u.batch * u.minibatches,), rng)[start : start + len(pairs)]
            rewards = 2 * law_mean(experiment) - rewards if mirror else rewards
        else:
            rewards = np.array([judge(*pair) for pair in pairs])
        if not np.all(np.isfinite(rewards)):
            raise SpecError(f"the task {rules.task!r} gave a reward that is no finite number: mend its score.")
        return [float(x) for x in rewards]

    return entclip
