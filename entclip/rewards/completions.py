r"""Reward functions of completions, as trainers call them: random rewards to put beside a true one, and one of form alone.

    trl grpo --reward_funcs entclip.rewards.coin_flip ...

Each takes completions, as text or as messages, and returns one number for each; whatever else a trainer passes is ignored. Random
ones follow the seed that the trainer gave torch, the step, the process and the batch as a whole: two runs with one seed draw the
same rewards, so does one that goes on from a checkpoint, and two processes draw their own. In a run whose rewards are random
nothing but the update rule and chance can move the policy.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from entclip.support.random import stream

__all__ = ["coin_flip", "format", "gaussian", "rademacher"]

_BOXED = re.compile(r"\\boxed\s*\{\s*[^\s{}]")


def coin_flip(completions: Sequence[Any], **context: Any) -> list[float]:
    """Return 1 or 0 with equal probability for each completion, whatever it says."""
    return [float(x) for x in _generator(completions, context).integers(2, size=len(completions))]


def rademacher(completions: Sequence[Any], **context: Any) -> list[float]:
    """Return +1 or -1 with equal probability for each completion, whatever it says."""
    return [float(2 * x - 1) for x in _generator(completions, context).integers(2, size=len(completions))]


def gaussian(completions: Sequence[Any], **context: Any) -> list[float]:
    """Return a standard normal number for each completion, whatever it says. Groups are then never flat."""
    return [float(x) for x in _generator(completions, context).standard_normal(len(completions))]


def format(completions: Sequence[Any], **context: Any) -> list[float]:
    r"""Return 1 for each completion that holds \boxed{...} with something in it, 0 for others: form without truth.

    References: Shao et al. 2025, arXiv:2506.10947, whose format reward is this one.
    """
    return [float(_BOXED.search(_text(completion)) is not None) for completion in completions]


def _text(completion: Any) -> str:
    """The text of a completion, or of the messages that make it."""
    if isinstance(completion, str):
        return completion
    contents = (message.get("content") for message in completion)
    return "\n".join(content for content in contents if isinstance(content, str))


def _generator(completions: Sequence[Any], context: dict[str, Any]) -> np.random.Generator:
    torch = sys.modules.get("torch")  # a trainer without torch has no seed to follow
    seed, rank = 0, 0
    if torch is not None:
        seed = torch.initial_seed()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            rank = torch.distributed.get_rank()
    step = int(getattr(context.get("trainer_state"), "global_step", 0))
    # Of the batch as a whole: where gradients are accumulated a step has several generations, and equal completions of one batch
    # must not have equal rewards.
    digest = hashlib.sha256(repr((context.get("prompts"), completions)).encode()).digest()
    return stream(seed, "rewards", step, rank, int.from_bytes(digest[:8], "little"))
