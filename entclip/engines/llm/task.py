"""Tasks with verifiable answers: prompts, a check of the answer, a check of the form.

`digits` is the built-in task of the tiny model: add two strings of digits place by place modulo 10. `sums` asks a chat model for
a sum of two-digit numbers in words, `small_sums` of one-digit numbers. `reasoning_gym:NAME` takes any task of that package.
"""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from entclip.support.errors import SpecError
from entclip.support.extras import not_installed

__all__ = ["Question", "Task", "task_named"]


@dataclass(frozen=True)
class Question:
    """A prompt and what a checker needs to know about its answer."""

    text: str
    answer: Any


class Task(Protocol):
    """Questions drawn from a stream, and two judgements of a response, each 0 to 1."""

    def ask(self, rng: np.random.Generator, count: int) -> list[Question]: ...

    def correct(self, question: Question, response: str) -> float: ...

    def well_formed(self, question: Question, response: str) -> float: ...


@dataclass(frozen=True)
class Digits:
    """ "1234+5678=" is answered by "#6802;": each place added modulo 10. One wrong digit is a wrong answer."""

    places: int = 4

    def ask(self, rng: np.random.Generator, count: int) -> list[Question]:
        a, b = rng.integers(0, 10, (2, count, self.places))
        total = (a + b) % 10
        lines = [["".join(map(str, row)) for row in x] for x in (a, b, total)]
        return [Question(f"{p}+{q}=", f"#{s};") for p, q, s in zip(*lines, strict=True)]

    def correct(self, question: Question, response: str) -> float:
        return float(response == question.answer)

    def well_formed(self, question: Question, response: str) -> float:
        return float(re.fullmatch(rf"#\d{{{self.places}}};", response) is not None)


@dataclass(frozen=True)
class Sums:
    """A sum in words, for chat models, of whole numbers from `least` to below `end`; the last number in the response counts."""

    least: int = 10
    end: int = 100

    def ask(self, rng: np.random.Generator, count: int) -> list[Question]:
        pairs = rng.integers(self.least, self.end, (count, 2))
        return [Question(f"What is {a} + {b}? Answer with the number.", int(a + b)) for a, b in pairs]

    def correct(self, question: Question, response: str) -> float:
        numbers = re.findall(r"\d+", response)
        return float(bool(numbers) and int(numbers[-1]) == question.answer)

    def well_formed(self, question: Question, response: str) -> float:
        return float(re.fullmatch(r"\s*\d+\.?\s*", response) is not None)


class ReasoningGym:
    """A task of the package reasoning-gym: its own questions and its own score."""

    def __init__(self, name: str) -> None:
        try:
            self._gym: Any = importlib.import_module("reasoning_gym")
        except ImportError:
            raise SpecError(not_installed(f"task.name = 'reasoning_gym:{name}'", "reasoning-gym", "tasks")) from None
        self._name = name
        try:
            self._scorer = self._gym.create_dataset(name, size=1, seed=0)
        except ValueError as error:
            raise SpecError(f"task.name = 'reasoning_gym:{name}': {error}") from None

    def ask(self, rng: np.random.Generator, count: int) -> list[Question]:
        data = self._gym.create_dataset(self._name, size=count, seed=int(rng.integers(2**31)))
        return [Question(entry["question"], entry) for entry in data]

    def correct(self, question: Question, response: str) -> float:
        return float(self._scorer.score_answer(answer=response.strip(), entry=question.answer))

    def well_formed(self, question: Question, response: str) -> float:
        return float(bool(response.strip()))


def task_named(name: str) -> Task:
    """Return "digits", "sums", "small_sums" or "reasoning_gym:NAME"; SpecError for others."""
    if name == "digits":
        return Digits()
    if name == "sums":
        return Sums()
    if name == "small_sums":
        return Sums(1, 10)
    kind, _, rest = name.partition(":")
    if kind == "reasoning_gym" and rest:
        return ReasoningGym(rest)
    raise SpecError(f"task.name = {name!r}: choose digits, sums, small_sums, or reasoning_gym:NAME.")
