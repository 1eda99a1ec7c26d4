"""Precision and recall of every claim over the corpus."""

from __future__ import annotations

from collections import Counter

import pytest

from entclip.integrations.diagnose.diagnosis import ORDER
from tests.integrations.logs.corpus.cases import CASES, FOLDER, Case, answered

LEAST = 0.95
JUDGED = [name for name in ORDER if name != "noise"]  # whose answer is a number: test_diagnose.py judges it


def answers(case: Case) -> dict[str, set[str]]:
    found = answered(case.name)
    return {name: set(found[name].labels) if name in found else set() for name in JUDGED}


@pytest.fixture(scope="module")
def score() -> dict[str, Counter[str]]:
    """Labels right, made and missed, by claim; what is wrong under "wrong"."""
    out: dict[str, Counter[str]] = {name: Counter() for name in (*JUDGED, "wrong")}
    for case in CASES:
        for name, got in answers(case).items():
            right = set(case.right.get(name, ()))
            out[name] += Counter(right=len(got & right), false=len(got - right), missed=len(right - got))
            if got != right:
                out["wrong"][f"{case.name}: {name} {sorted(got)} for {sorted(right)}"] += 1
    return out


def test_there_are_enough_logs_and_each_has_a_file():
    assert len(CASES) >= 60
    assert sorted(case.name for case in CASES) == sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", JUDGED)
def test_precision_and_recall(score, name, record_property):
    count = score[name]
    precision = count["right"] / max(count["right"] + count["false"], 1)
    recall = count["right"] / max(count["right"] + count["missed"], 1)
    record_property("precision", precision)
    record_property("recall", recall)
    print(f"{name:14} precision {precision:.3f} recall {recall:.3f} of {count['right'] + count['missed']} labels")
    assert count["right"] > 0
    assert min(precision, recall) >= LEAST, [text for text in score["wrong"] if f": {name} " in text]
