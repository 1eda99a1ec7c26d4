"""Work in threads: in the order of the items, and in the caller's own thread where there is one worker."""

from __future__ import annotations

import threading

import pytest

from entclip.support.workers import in_threads


def test_results_come_in_the_order_of_the_items() -> None:
    assert in_threads(lambda n: n**2, range(20), 3) == [n**2 for n in range(20)]


def test_one_worker_is_the_caller() -> None:
    """An interrupt reaches it at once; a thread would go on until its next step, inside torch if need be."""
    assert in_threads(lambda _: threading.current_thread(), range(2), 1) == [threading.current_thread()] * 2
    assert threading.current_thread() not in in_threads(lambda _: threading.current_thread(), range(2), 2)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_is_the_callers(workers: int) -> None:
    def work(item: int) -> int:
        raise KeyError(item)

    with pytest.raises(KeyError, match="0"):
        in_threads(work, range(3), workers)
