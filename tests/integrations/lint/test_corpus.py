"""Every claim of lint over the corpus: said where it is true and nowhere else."""

from __future__ import annotations

from tests.integrations.lint.corpus import score


def test_precision_and_recall_are_whole():
    off = {claim: counts for claim, counts in score().items() if len(set(counts)) > 1}
    assert off == {}
