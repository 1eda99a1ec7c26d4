"""Whether a user's loss is the surrogate that the ledger was told of, as its gradient shows."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

import torch

from entclip.objectives.base import Objective, View
from entclip.support.errors import SpecError

__all__ = ["MOVED", "Comparison", "refuse_scaled"]

MOVED = "moved"  # a mark of an update: some of its ratios were not 1
_AGREE = {torch.float64: 1e-9, torch.float32: 1e-3}  # of the gradient's length: two orders of summation over a model
_COARSE = 0.1  # the same for a model in half precision
_TIMES, _TRIES, _MOST = 3, 8, 32
_SCALED = 64.0  # no limit on a gradient's norm makes it that much shorter than the surrogate's and the loss's terms together
_WORDS = {"clip_low": "the low bound", "clip_high": "the high bound"}


class Comparison:
    """When to compare the gradient of the loss with the declared surrogate's, and what has been seen so far.

    Where all ratios are 1 every clip has the same gradient. The first accounted update shows how tokens are weighed and whether
    there are further terms. After it those that follow the first minibatch of a rollout are compared until each bound of the
    objective has acted in three (in one of them every token may lie beyond both of two widths), eight updates at the most; then
    only an update that comes after one in which a bound acted that has in none, and after 32 no more.
    """

    def __init__(self, objective: Objective) -> None:
        self._seen = dict.fromkeys((MOVED, *sorted(_bounds(objective))), 0)  # in how many compared updates each was
        self._due = False
        self._tries = 0

    def wanted(self, inner_step: int) -> bool:
        """Tell whether the update is one to compare; the same in every process."""
        if self._tries == 0:
            return True
        if self._tries >= _MOST:
            return False
        return self._due or (inner_step > 0 and self._tries < _TRIES and min(self._seen.values()) < _TIMES)

    @property
    def unseen(self) -> set[str]:
        """Return what no compared update had: clip_low, clip_high, or ratios that are not 1."""
        return {name for name, times in self._seen.items() if times == 0}

    def note(self) -> str | None:
        """Say what a reader cannot rely on; None if the loss was compared where each bound acted."""
        if not self.unseen:
            return None
        where = " or ".join(said for name, said in _WORDS.items() if name in self.unseen) or "a ratio of 1"
        return (
            f"No update with a token beyond {where} was compared with the gradient of the loss: that the loss clips as declared "
            "has not been seen there."
        )

    def saw(self, marks: Set[str], raw: list[Any], surrogate: list[Any] | None, *, on_a_bound: bool) -> None:
        """Take an accounted update into account, over all processes.

        Args:
            marks: which bounds acted in it, and MOVED.
            raw, surrogate: gradients of its loss and of the declared surrogate; None where they were not to be compared.
            on_a_bound: some ratio is so close to a bound that rounding decides on which side it lies. A difference then shows
                nothing.
        Raises: SpecError if they differ.
        """
        if surrogate is not None:
            self._tries += 1
            fault = _fault(raw, surrogate, marks)
            if fault is None:
                for name in marks & self._seen.keys():
                    self._seen[name] += 1
            elif not on_a_bound:
                raise SpecError(fault)
        self._due = bool(marks & self.unseen)


def refuse_scaled(raw: list[Any], applied: list[Any], surrogate: list[Any]) -> None:
    """Raise SpecError for gradients that a loss scaler has multiplied: as a bonus they would look like a term of the loss."""
    own, used, told = (math.sqrt(_dot(x, x)) for x in (raw, applied, surrogate))
    if own > _SCALED * max(used, told) > 0:
        raise SpecError(
            f"the gradient of the loss is {own / told if told else math.inf:.4g} times as long as the surrogate's and "
            f"{own / used if used else math.inf:.4g} times as long as the one that the step took: a loss scaler has multiplied "
            "it. Give the ledger the scaler (scaler=), torch.amp.GradScaler or accelerate's."
        )


def _fault(raw: list[Any], surrogate: list[Any], marks: Set[str]) -> str | None:
    """What is wrong with a gradient that is not the surrogate's; None if it is."""
    apart = [x - y for x, y in zip(raw, surrogate, strict=True)]
    own, told, both, away = (_dot(a, b) for a, b in ((raw, raw), (surrogate, surrogate), (raw, surrogate), (apart, apart)))
    if away <= _AGREE.get(raw[0].dtype, _COARSE) ** 2 * max(own, told):
        return None
    cosine = both / math.sqrt(own * told) if own > 0 and told > 0 else 0.0
    size = math.sqrt(own / told) if told > 0 else math.inf
    said = (
        f"the gradient of the loss is not that of the clipped surrogate that the ledger was given: it is {size:.4g} times as "
        f"long, the cosine between them {cosine:.4f}. With cosine 1 the tokens are weighed otherwise: give weights= or scale= "
        "(a loss divided by accumulation steps, a mean over responses), or scaler= for a loss scaler. Otherwise the loss has "
        "other terms, such as an entropy bonus or a KL penalty: say bonus=True, and they get a line of their own."
    )
    if MOVED in marks:
        said += " Or its clip is not the declared one, for some ratios are not 1 here: clip= must have the loss's own widths."
    return said


def _bounds(objective: Objective) -> set[str]:
    """The bounds that an objective has: those beyond which ratios of e^60 and e^-60 lie."""
    old = torch.full((1, 2), -1.0, dtype=torch.float64)
    change = objective.change(View.of(old + torch.tensor([60.0, -60.0], dtype=torch.float64), old))
    return {name for name, mask in (("clip_low", change.low), ("clip_high", change.high)) if bool(mask.any())}


def _dot(a: list[Any], b: list[Any]) -> float:
    return float(sum(torch.sum(x * y, dtype=torch.float64) for x, y in zip(a, b, strict=True)))
