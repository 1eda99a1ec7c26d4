"""What the measurement says: what it is doing, what is left, and what its pairs decide."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any

from entclip.support.sentences import wrapped

__all__ = ["Teller", "left", "table"]

_QUIET = 15.0  # seconds of silence at most


class Teller:
    """Prints each step when it begins, and again every quarter of a minute while it lasts."""

    def __init__(self, before: str) -> None:
        self._before, self._words, self._since = before, "", time.monotonic()
        self._news, self._over = threading.Event(), False
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __call__(self, words: str) -> None:
        """Say that this begins."""
        self._words, self._since = words, time.monotonic()
        print(f"{self._before}: {words}", flush=True)
        self._news.set()

    def __enter__(self) -> Teller:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over = True
        self._news.set()
        self._thread.join()

    def _go_on(self) -> None:
        while not self._over:
            if self._news.wait(_QUIET):
                self._news.clear()
            else:
                print(f"{self._before}: {self._words}, {time.monotonic() - self._since:.0f} s so far", flush=True)


def left(missing: int, seconds: Iterable[float], jobs: int) -> str:
    """Say how many rollouts of an arm are left, and how long they take if they are as those that are done."""
    known = list(seconds)
    if not missing:
        return "Nothing is left to do."
    if not known:
        return f"{missing} rollouts are left; how long they take will be known after the first."
    minutes = statistics.mean(known) * missing / jobs / 60
    return f"{missing} rollouts are left: about {minutes:.0f} minutes, at {statistics.mean(known):.0f} s each, {jobs} at a time."


def table(decided: Mapping[str, Any]) -> str:
    """Return each arm's change and its difference from no clipping, with 99 % intervals, in 80 columns."""
    runs = {name: len(arm["runs"]) for name, arm in decided["arms"].items() if "runs" in arm}
    unit = "runs" if runs else "pairs"
    done = ", ".join(f"{name} {count}" for name, count in runs.items()) or str(len(decided["pairs"]))
    lines = [
        *wrapped(f"{unit.capitalize()} that are finished: {done}.", 80),
        "Entropy change over all rollouts, nats: mean +- half of the 99 % interval over",
        f"{unit} (Student's t). Clipped: share of tokens, low / high, %. Verdict at 99 % on",
        f"the difference, with the {unit} that would decide it.",
        "",
        f"{'arm':<12}{'change':>18}{'minus none':>18}{'clipped':>12} verdict ({unit})",
    ]
    for name, arm in decided["arms"].items():
        change, minus = arm["measured"], arm["minus_none"]
        clipped = f"{100 * arm['clip_fraction_low']:.2f} / {100 * arm['clip_fraction_high']:.2f}"
        needed = "" if minus is None else f" {minus['verdict']} ({_or(minus['pairs_needed'])})"
        lines.append(f"{name:<12}{_interval(change):>18}{_interval(minus):>18}{clipped:>12}{needed}")
    return "\n".join(lines)


def _or(number: int | None) -> str:
    return "?" if number is None else str(number)


def _interval(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return ""
    return f"{found['mean']:+.4f}" + ("" if found["half_99"] is None else f" +- {found['half_99']:.4f}")
