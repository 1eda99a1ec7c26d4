"""The minibatches that a loop has told of since its last step: which of their gradients will be in the next one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from entclip.integrations.recording.gathered import Gathered
from entclip.integrations.recording.step import Watch

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

    def __init__(self, watch: Watch) -> None:
        self.gathered = Gathered()
        self.dropped = {"no backward() came through them": 0, "their gradients were cleared before a step": 0}
        self._watch, self._waiting, self._followed, self._backwards = watch, list[_Waiting](), False, 0

    def __bool__(self) -> bool:
        return bool(self._waiting) or self.gathered.minibatches > 0

    def add(self, gathered: Gathered, log_probs: Any) -> None:
        """Take a minibatch in whose gradients flow through `log_probs`, after `settle`."""
        one = _Waiting(gathered)

        def reached(_: Any) -> None:
            one.reached = self._followed = True

        log_probs.register_hook(reached)
        self._waiting.append(one)

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
            self._waiting = []

    def forget(self) -> None:
        """Begin anew, after a step or where the loop says so."""
        self.gathered, self._waiting, self._backwards = Gathered(), [], 0

    def _clear(self) -> None:
        self.dropped["their gradients were cleared before a step"] += self.gathered.minibatches
        self.gathered = Gathered()

    def note(self) -> str | None:
        """Say how many minibatches were left out and why; None if none was."""
        said = [f"{count} for {why}" for why, count in self.dropped.items() if count]
        return f"Minibatches that no step took and no row has: {', '.join(said)}." if said else None
