"""Work in threads that an interrupt ends at once, instead of waiting for what is still running."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_threads"]

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], items: Iterable[T], workers: int, stop: Callable[[], None] | None = None) -> list[R]:
    """Return `[work(item) for item in items]` in `workers` threads, in the order of the items.

    Args:
        stop: called first when an error or an interrupt ends the wait, so that running work can end at its next step. Work
            that has not begun is cancelled. An interrupt does not wait for running work, an error does.
        workers: one is the caller's own thread, where an interrupt ends the work at once and nothing is left to stop.
    """
    if workers == 1:
        return [work(item) for item in items]
    pool = ThreadPoolExecutor(workers)
    try:
        futures = [pool.submit(work, item) for item in items]
        results = [future.result() for future in futures]
    except BaseException as error:
        if stop is not None:
            stop()
        # After an error nothing may go on behind the caller's back; whoever interrupts does not want to wait.
        pool.shutdown(wait=not isinstance(error, KeyboardInterrupt), cancel_futures=True)
        raise
    pool.shutdown()
    return results
