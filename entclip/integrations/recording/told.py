"""The minibatches that a loop has told of since its last step: which of their gradients will be in the next one."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

from entclip.integrations.recording.gathered import Gathered
from entclip.integrations.recording.minibatch import Minibatch
from entclip.integrations.recording.step import Watch
from entclip.objectives.base import Objective

__all__ = ["Told"]


@dataclass
class _Waiting:
    """A minibatch whose backward() has not been seen yet; reached: it has."""

    gathered: Gathered
    reached: bool = False


class Told:
    """The minibatches of one update.

    A hook on the log-probs of each says when backward() comes through them, and parameters say whether gradients were cleared
    since. Minibatches that wait for backward() may share one; what still waits at a step or at a rollout has no part in it.
    Where the loss is computed from other tensors than these, every minibatch before a backward() counts as a part of it.
    """

    def __init__(self, watch: Watch, objective: Objective) -> None:
        self.gathered = Gathered()
        self.dropped = {"no backward() came through them": 0, "their gradients were cleared before a step": 0}
        self._watch, self._objective = watch, objective
        self._waiting, self._followed, self._backwards = list[_Waiting](), False, 0
        self._seen: list[tuple[weakref.ref[Any], Any]] = []  # tensors that were told of, and which of their tokens count

    def __bool__(self) -> bool:
        return bool(self._waiting) or self.gathered.minibatches > 0

    def add(self, batch: Minibatch, told: Any, inner_step: int) -> None:
        """Take a minibatch in whose gradients flow through the tensor `told`, after `settle`.

        Raises: ValueError if tokens of the same tensor were told of before and are still a part of this update.
        """
        if any(other() is told and bool((kept & batch.kept).any()) for other, kept in self._seen):
            raise ValueError(
                "minibatch() was told of the same tokens twice: of this tensor, before the step. Their gradients would be booked "
                "twice. Call it once for each minibatch; with masks that do not overlap a tensor may come in parts."
            )
        one = _Waiting(self._gather(batch, inner_step))

        def reached(_: Any) -> None:
            one.reached = self._followed = True

        told.register_hook(reached)
        self._waiting.append(one)
        self._seen.append((weakref.ref(told), batch.kept))

    def settle(self, *, rollout: bool = False, step: bool = False) -> None:
        """Tell minibatches apart by what became of them: before the next minibatch, a rollout, or a step."""
        if self._watch.emptied():
            self._clear()
        blind = not self._followed and self._watch.backwards > self._backwards
        done = [one for one in self._waiting if one.reached or blind]
        self._waiting = [one for one in self._waiting if not (one.reached or blind)]
        self._backwards = self._watch.backwards
        for one in done:
            self.gathered.merge(one.gathered)
        if not step and self._watch.empty:
            self._clear()
            self._watch.arm(True)
            self._backwards = 0
        if rollout or step:
            self.dropped["no backward() came through them"] += len(self._waiting)
            self._waiting, self._seen = [], []

    def forget(self) -> None:
        """Begin anew, after a step or where the loop says so."""
        self.gathered, self._waiting, self._seen, self._backwards = Gathered(), [], [], 0

    def _clear(self) -> None:
        self.dropped["their gradients were cleared before a step"] += self.gathered.minibatches
        self.gathered, self._seen = Gathered(), []

    def _gather(self, batch: Minibatch, inner_step: int) -> Gathered:
        gathered = Gathered(minibatches=1)
        if not batch.whole:
            gathered.reason = "log-probs or advantages of tokens that count held NaN or infinity (a group of one has no spread)"
            return gathered
        found = batch.weights(self._objective)
        parts = {c: w for c, w in found.by_cause.items() if c != "unclipped" and bool((w != 0).any())}
        for cause, weight in parts.items() if self._watch.split else ():
            gathered.add(cause, batch.ascent(weight, self._watch.trained))
        if self._watch.wants_surrogate(inner_step):
            gathered.add_surrogate(batch.ascent(sum(found.by_cause.values()), self._watch.trained))
            gathered.on_a_bound += batch.on_a_bound(self._objective)
        gathered.see(found, batch.new - batch.old, batch.kept)
        return gathered

    def note(self) -> str | None:
        """Say how many minibatches were left out and why; None if none was."""
        said = [f"{count} for {why}" for why, count in self.dropped.items() if count]
        return f"Minibatches that no step took and no row has: {', '.join(said)}." if said else None
