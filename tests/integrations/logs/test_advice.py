"""docs/common-advice.md says what its experiment gave, and a part of the experiment gives it again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmarks.advice import ARMS, OUT, RUNS, results

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "common-advice.md").read_text("utf-8")
FOUND = json.loads(OUT.read_text("utf-8"))


def short(x: float, sign: bool = True) -> str:
    return (f"{x:+.3f}" if sign else f"{x:.3f}").replace("0.", ".")


def test_the_page_has_the_numbers_of_the_data():
    rows = [line for line in PAGE.splitlines() if line.startswith("| (")]
    assert len(rows) == len(ARMS)
    for line, (arm, numbers) in zip(rows, FOUND["page"].items(), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == arm.replace("KL", "(.2, .2), KL")
        assert cells[1] == " to ".join(f"{x:.3f}" for x in numbers["entropy"])
        assert cells[2] == " to ".join(short(x, sign=False) for x in numbers["success"])
        for cell, key in zip(cells[3:], ("difference", "difference_success", "difference_at_equal_success"), strict=True):
            if key in numbers:
                mean, half = numbers[key]
                assert cell == f"{short(mean)} +- {short(half, sign=False)}"
            else:
                assert cell == ""


def test_what_is_claimed_holds_within_the_intervals():
    page = FOUND["page"]

    def interval(arm: str, key: str) -> tuple[float, float]:
        mean, half = page[arm][key]
        return mean - half, mean + half

    assert interval("(.2, .28)", "difference")[1] < 0 < interval("(.2, .28)", "difference_at_equal_success")[0]
    for arm in ("(.4, .2)", "(1, .2)"):
        assert interval(arm, "difference")[1] < 0
        assert interval(arm, "difference_at_equal_success")[0] < 0
    for arm in ("KL .03", "KL .3"):
        assert interval(arm, "difference")[0] > 0
        low, high = interval(arm, "difference_at_equal_success")
        assert low < 0 < high


def test_the_findings_that_are_quoted():
    with (ROOT / "docs" / "data" / "findings" / "contrasts.csv").open(encoding="utf-8") as file:
        rows = {(r["run"], r["case_arm"], r["column"]): r for r in csv.DictReader(file)}
    for key, digits in (
        (("headline", "clip_higher - both", "total"), 4),
        (("llm_true_reward", "clip_higher - both", "total"), 4),
        (("headline", "low_only", "clip_low"), 4),
    ):
        for name in ("value", "low", "high"):
            assert f"{float(rows[key][name]):+.{digits}f}".replace("0.", ".") in PAGE, (key, name)


def test_a_part_of_the_experiment_runs_again():
    for arm, numbers in results(*RUNS["check"]):
        for key, values in FOUND["check"][arm].items():
            assert numbers[key] == pytest.approx(values, rel=1e-6, abs=1e-9), (arm, key)
