"""Which updates of a rollout the ledger accounts for: never all where `every` shares a factor with their number."""

from __future__ import annotations

import math

__all__ = ["Turns"]


class Turns:
    """The places in their rollouts of the updates that were accounted for."""

    def __init__(self, every: int) -> None:
        self._every, self._places, self._updates = every, set[int](), list[int]()

    def row(self, place: int) -> None:
        """Take an accounted update, the place-th of its rollout from 0."""
        self._places.add(place)

    def rollout(self, updates: int) -> None:
        """Take the end of a rollout of so many updates."""
        self._updates = [*self._updates[-1:], updates]

    def note(self) -> str | None:
        """Say which updates of a rollout will never be accounted for; None if each has its turn."""
        n = self._updates[-1] if self._updates else 0
        if len(set(self._updates)) != 1 or math.gcd(self._every, n) == 1 or not self._places:
            return None
        better = next(k for k in range(self._every + 1, self._every + n + 2) if math.gcd(k, n) == 1)
        first = self._places == {0}
        which = "first updates" if first else f"updates {', '.join(str(k) for k in sorted(self._places))}"
        said = f"Only {which} of rollouts are accounted for, every = {self._every} with {n} updates a rollout. "
        if first:
            said += "In a first update ratios are 1 and no clip can act: nothing here says what it does in the others. "
        return said + f"Choose every coprime with their number, such as {better}."
