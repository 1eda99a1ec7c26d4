"""A page of findings on some of the runs: one sentence names the others, and no row or section is spent on them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from entclip.findings.data import load_catalogue
from entclip.findings.kept import read_data
from entclip.findings.page import render

CATALOGUE = load_catalogue()
RESULTS = read_data(Path(__file__).resolve().parents[2] / "docs")


@pytest.mark.parametrize("made", [("headline",), ("theorem1", "dropped_baseline"), ("knob",)])
def test_a_page_on_some_of_the_runs(made: tuple[str, ...]) -> None:
    page = render(CATALOGUE, {name: RESULTS[name] for name in made})
    (missing,) = re.findall(r"\*\*Not run here:\*\* .*", page)
    assert set(re.findall(r"`(\w+)`", missing)) == set(CATALOGUE.runs) - set(made)
    assert not [row for row in page.splitlines() if row.startswith("|") and "not run" in row]
    asked = {f.title for f in CATALOGUE.findings for c in CATALOGUE.contrasts(f) if c.run in made}
    assert {f.title for f in CATALOGUE.findings if f"### {f.title}\n" in page} == asked
    assert {f.title for f in CATALOGUE.findings if f"[{f.title}](#" in page} == asked
    assert "*Result.*" not in page, "the sentences are of the published runs"


def test_the_whole_page_names_nothing_as_missing() -> None:
    page = render(CATALOGUE, RESULTS)
    assert "Not run here" not in page
    assert "of the published runs" not in page
