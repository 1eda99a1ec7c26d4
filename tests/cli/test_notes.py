"""What a command says while the first part of its work is long in coming."""

from __future__ import annotations

import itertools
import logging
import math
import re

import pytest

from entclip.support import progress as module
from entclip.support.progress import followed, progress

LOG = logging.getLogger("entclip.somewhere")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_say_what_is_going_on_until_parts_get_done(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with progress("llm", 3, first="3 updates") as advance:
        for seconds, text in ((1, "loading"), (5, "generating"), (8, "a"), (11, "b"), (80, "c"), (89, "d"), (133, "e")):
            clock[0] = 100 + seconds
            LOG.info(text)
        clock[0] = 240
        advance()
        LOG.info("f")
        clock[0] = 301
        LOG.info("g")
    LOG.info("afterwards")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "llm: 3 updates",
        "llm: generating (5 s so far)",
        "llm: b (11 s so far)",
        "llm: c (1 min 20 s so far)",
        "llm: e (2 min 13 s so far)",
        "llm: 1 of 3 in 2 min 20 s",
        "llm: g (3 min 21 s so far)",
    ]


@pytest.mark.parametrize(
    ("moments", "said"),
    [
        # A model is loaded in the first part: the others take a second each.
        ([16.0, 17.0, 18.0, 21.0], ["1 of 9 in 16 s", "4 of 9 in 21 s, about 8 s left"]),
        # Two threads, 20 seconds a part.
        ([20.0, 20.1, 40.0, 40.1], ["1 of 9 in 20 s", "3 of 9 in 40 s, about 1 min 0 s left"]),
        # Parts of a second from the start on.
        ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0], ["6 of 9 in 6 s, about 3 s left"]),
    ],
)
def test_the_time_left_is_measured_from_the_end_of_the_first_part(
    clock: list[float], capsys: pytest.CaptureFixture[str], moments: list[float], said: list[str]
) -> None:
    with progress("llm", 9) as advance:
        for moment in moments:
            clock[0] = 100 + moment
            advance()
    assert capsys.readouterr().err.splitlines() == ["llm", *(f"llm: {words}" for words in said)]


def test_quiet_is_quiet_and_the_log_is_left_as_it_was(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("entclip")
    before = log.level, list(log.handlers)
    with progress("llm", 1, quiet=True):
        clock[0] += 100
        LOG.info("loading")
    with pytest.raises(KeyError), progress("llm", 1):
        raise KeyError
    assert (log.level, list(log.handlers)) == before
    assert capsys.readouterr().err == "llm\n"


def test_a_bar_says_it_too(clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with progress("llm", 3, first="3 updates") as advance:
        advance()
        LOG.info("[soon]")
        clock[0] += 3
        LOG.info("[generating]")
    err = capsys.readouterr().err
    assert "[generating]" in err  # no markup
    assert "[soon]" not in err


def test_a_bar_keeps_its_times_in_80_columns(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich cuts the times first: a long description left nothing of them."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    long = "what takes a while to say, and is more than a line of a terminal has room for, in so many words"
    with progress("headline (natural)", 3, first=long):
        clock[0] = 104
        LOG.info(long)  # the last thing shown
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line).strip() for line in re.split(r"[\r\n]+", capsys.readouterr().err)]
    bars = [line for line in lines if "%" in line]
    assert " ".join(line for line in lines if line and "%" not in line) == f"headline (natural): {long}"
    assert any(line.startswith("what takes a while to say") for line in bars)
    assert all(re.search(r" left [-\d]+:[-\d]+:[-\d]+$", line) and len(line) <= 80 for line in bars), bars


@pytest.mark.parametrize("seconds", [0.0625, 0.5, 3.0])
def test_blocks_of_a_long_part_tell_the_time_left(clock: list[float], capsys: pytest.CaptureFixture[str], seconds: float) -> None:
    """Parts of 200 blocks each: a line after five seconds, the time left by then, later one a minute; short parts say nothing."""
    with progress("drift", 3, first="3 updates") as advance:
        for _ in range(3):
            for _ in followed(range(200), "an update", part=True):
                clock[0] += seconds
            advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "drift: 3 updates"
    if seconds < 0.1:
        assert lines[1:] == [
            "drift: an update, block 81 of 200 (5 s so far)",
            "drift: an update, block 161 of 200 (10 s so far, about 27 s left)",
            "drift: 1 of 3 in 12 s, about 25 s left",
        ]
        return
    assert lines[1] == f"drift: an update, block {1 + math.ceil(5 / seconds)} of 200 ({6 if seconds == 3 else 5} s so far)"
    left = [_seconds(line.split("about ")[1]) for line in lines if "left" in line]
    assert len(left) > 3
    assert left == sorted(left, reverse=True)
    told = [(_seconds(re.search(r"(?:in |\()((?:\d+ \w+ ?)+)", line).group(1)), line) for line in lines[2:]]
    for (before, _), (after, line) in itertools.pairwise(told):
        assert after - before <= 63
        assert abs(_seconds(line.split("about ")[1]) - (600 * seconds - after)) <= 0.02 * 600 * seconds, line


def _seconds(words: str) -> int:
    return sum(int(n) * {"s": 1, "min": 60, "h": 3600}[unit] for n, unit in re.findall(r"(\d+) (s|min|h)", words))


def test_reproduce_counts_the_updates_of_all_simulated_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of published objectives among them, which have no file of an experiment; what is computed exactly has no updates."""
    from contextlib import nullcontext

    from entclip.cli.output import Output
    from entclip.cli.reproduce import _progress
    from entclip.findings.data import load_catalogue

    runs = load_catalogue().runs
    told: list[int] = []
    monkeypatch.setattr(Output, "progress", lambda self, title, total, first: nullcontext(told.append(total)))
    with _progress([runs[name] for name in ("family_knobs", "quadrants", "smollm2")], True, Output()):
        pass
    knobs = runs["family_knobs"].spec(True)
    update = knobs.update
    assert told == [update.rollouts * update.epochs * update.minibatches * len(knobs.arm)]
    assert told[0] > 0
