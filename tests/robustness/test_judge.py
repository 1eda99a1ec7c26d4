"""What the judge of the fuzz makes of commands that a limit ended: a word on how long it takes excuses no hang after it."""

from __future__ import annotations

import pytest

from tests.robustness.judge import faults
from tests.robustness.sandbox import RESIDENT, Case, Outcome

WORD = "x: predicting: about 3 minutes\n"
STEP = "x: predicting: 2 of 40 in 9 s, about 3 min 0 s left\n"
NOTE = "x: predicting: both, part 1, update 30 of 4000 (1 min 9 s so far)\n"
SHORT = "x: predicting\nx: predicting: 12 of 20 in 18 s, about 12 s left\n"
LARGE = "x: 9 updates, about 2 hours, about 7.3 GiB of memory\n"


def _found(err: str, *, ended: str = "time", silent: float = 2.0, limits: dict[str, float] | None = None) -> list[str]:
    return faults(Case("judged", ("predict", "x.toml"), limits=limits or {}), Outcome(-9, "", err, ended, RESIDENT, 24.0, silent))


@pytest.mark.parametrize("err", [SHORT, WORD + STEP, WORD + NOTE, "x: about 3 years\n" + STEP + NOTE])
def test_a_long_run_that_was_announced_and_moves_on_is_right(err: str) -> None:
    assert _found(err) == []


@pytest.mark.parametrize(
    ("err", "options", "kind"),
    [
        ("", {}, "time: stopped"),
        (SHORT, {"silent": 14.0}, "time: stopped"),
        (STEP + NOTE, {}, "time: stopped"),  # "about 3 min left" is no word beforehand
        (WORD, {}, "hang: "),
        (WORD + STEP, {"silent": 14.0}, "hang: "),
        (WORD + STEP, {"limits": {"cpu": 200.0}}, "time: stopped"),
        (WORD + STEP, {"ended": "memory"}, "memory: stopped"),
        (LARGE, {"ended": "memory"}, "memory: stopped"),
    ],
)
def test_what_hangs_or_was_not_said_is_not(err: str, options: dict[str, object], kind: str) -> None:
    (fault,) = _found(err, **options)  # type: ignore[arg-type]
    assert fault.startswith(kind)


def test_more_memory_is_taken_only_where_the_case_gave_it() -> None:
    assert _found(LARGE, ended="memory", limits={"data": 2.0**34}) == []
    assert _found(WORD, ended="memory", limits={"data": 2.0**34})


@pytest.mark.parametrize("err", ["", "error:", "x: 2 updates\nerror: \n", "error: x.json is no summary: . Delete it.", STEP])
def test_an_error_without_a_cause_is_silence(err: str) -> None:
    (fault,) = faults(Case("judged", ("run", "x.toml")), Outcome(2, "", err, "", RESIDENT, 1.0, 1.0))
    assert fault.startswith("silent: ")
    assert faults(Case("judged", ("run", "x.toml")), Outcome(2, "", "error: x = 3: give 2 .. 4.\n", "", RESIDENT, 1.0, 1.0)) == []


@pytest.mark.parametrize(
    "said", ["  entropy is\n  NaN, from row 3 on", "  Rows without a number (NaN, infinite or over 1e15): loss in 4 of 40"]
)
def test_what_is_said_of_a_log_is_no_result_but_a_number_beside_it_is(said: str) -> None:
    case = Case("judged", ("diagnose", "log.csv"))
    assert faults(case, Outcome(0, said, "", "", RESIDENT, 1.0, 1.0)) == []
    assert faults(case, Outcome(0, f"{said}\n  share nan", "", "", RESIDENT, 1.0, 1.0)) == ["number: prints nan as a result"]
