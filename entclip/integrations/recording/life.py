"""Whether a ledger still accounts, and what else in this program watches its optimiser or holds its folder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from weakref import WeakSet

from entclip.support.errors import SpecError

__all__ = ["Life"]

_LIVE: WeakSet[Life] = WeakSet()


class Life:
    """The state of a ledger from its making to its release.

    Making one releases those on the same optimiser or folder whose last minibatch was refused, as in a cell that is corrected and
    run again.

    Attributes:
        refusal: why a minibatch of this update was refused; the update then has no row.
        others: what is to be said of another ledger on the optimiser, None without one.
    """

    def __init__(self, optimizer: Any, out: str | Path | None, release: Callable[[], None]) -> None:
        self._optimizer, self._out, self._release = optimizer, None if out is None else Path(out).resolve(), release
        self.refusal: str | None = None
        self.others: str | None = None
        self._over: str | None = None
        for other in list(_LIVE):
            same = other._optimizer is optimizer
            there = self._out is not None and other._out == self._out
            if (same or there) and other.refusal is not None:
                other._release()
            elif same:
                self.others = (
                    "Another ledger that was not closed watches this optimiser: both account for its steps, each at its own "
                    "cost. Call close() or release() of the one that is no longer wanted."
                )

    def begin(self) -> None:
        """Take down that the ledger watches, once it is made, and warn of another one."""
        _LIVE.add(self)
        if self.others is not None:
            warnings.warn(f"entclip: {self.others}", RuntimeWarning, stacklevel=3)

    def check(self) -> None:
        """Raise SpecError where the ledger is over."""
        if self._over is not None:
            raise SpecError(
                f"this ledger accounts for nothing more: it {self._over}. Make another one for what follows, with another "
                "folder, or in the same one with load_state_dict(...) of a saved state_dict()."
            )

    def end(self, why: str = "was closed or released") -> None:
        """Take down why nothing more is accounted; the first reason stays."""
        self._over = self._over or why
        _LIVE.discard(self)

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Take down that a minibatch was refused: what it was a part of cannot be accounted."""
        try:
            yield
        except ValueError as error:
            self.refusal = f"minibatch() refused a part of it: {_first(error)}"
            raise

    @contextmanager
    def released_by_errors(self) -> Iterator[None]:
        """Leave the optimiser and the folder to another ledger, such as that of a corrected cell, where this one fails."""
        try:
            yield
        except BaseException as error:
            self.end(f"ended with an error ({type(error).__name__}: {_first(error)})")
            self._release()
            raise


def _first(error: BaseException) -> str:
    return str(error).partition(": ")[0].rstrip(".")
