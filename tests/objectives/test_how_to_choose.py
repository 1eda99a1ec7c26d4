"""The page on choosing says what its experiment gave, and the experiment gives that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from entclip import load, run
from entclip.experiments.experiment import parse_experiment

DOCS = Path(__file__).parents[2] / "docs"
DATA = json.loads((DOCS / "data" / "objectives_headline.json").read_text("utf-8"))
ROWS = {row["objective"]: row for row in DATA["rows"]}


def shown(value: float) -> str:
    text = f"{value:+.4f}".replace("+0.", "+.").replace("-0.", "-.")
    return "0" if float(text) == 0 else text


def line_of(row: dict[str, Any]) -> str:
    half, best, worst = row["difference_half_width"], row["rank_best"], row["rank_worst"]
    against = shown(row["difference"]) + (f" ± {shown(half)[1:]}" if half else "")
    parts = [shown(row[part]) for part in ("clip_low", "clip_high", "other", "curvature")]
    places = str(best) if best == worst else f"{best}-{worst}"
    return " | ".join([row["objective"], shown(row["change"]), "-" if row["objective"] == "clip" else against, places, *parts])


def test_the_page_has_the_numbers_of_the_data() -> None:
    page = (DOCS / "how-to-choose.md").read_text("utf-8")
    for row in DATA["rows"]:
        assert f"| {line_of(row)} |" in page
    for name in DATA["failed"]:
        assert f"`{name}`" in page
    assert abs(sum(ROWS["abc_grpo"][part] for part in ("clip_low", "clip_high", "other"))) < 1e-12
    assert all(ROWS[name]["change"] == ROWS["clip"]["change"] for name in ("dual_clip", "clip_b", "entropic"))
    assert all(abs(ROWS[name]["change"] - ROWS["none"]["change"]) < 2e-5 for name in ("dppo_tv", "dppo_kl", "ripo", "cispo_trl"))
    assert {row["objective"] for row in DATA["rows"] if row["change"] > 0} == {"repo_r"}


def test_the_experiment_gives_the_data() -> None:
    """One row again: with the same seed it is the same number up to rounding."""
    experiment = load("headline").model_dump(exclude_none=True) | {"arm": [{"name": "abc_grpo", "objective": "abc_grpo"}]}
    arm = run(parse_experiment(experiment)).summary()["arms"]["abc_grpo"]
    assert arm["measured_cv"] == pytest.approx(ROWS["abc_grpo"]["change"], rel=1e-9)
    assert arm["expected_clip_low"] == pytest.approx(ROWS["abc_grpo"]["clip_low"], rel=1e-9)
