"""A page, a notebook and an output say a thing once, above all how to read the signs; claims stand with their condition."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from entclip import load
from entclip.cli.app import app
from tests.prose import plain, sentences, signs_read

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CARDS = {"objectives.md", "findings.md", "proofs.md"}  # made of entries, each of which stands by itself
SMALL = ["--contexts", "2", "--batch", "8", "--minibatches", "2", "--rollouts", "1"]


def _cells(path: Path) -> Iterator[str]:
    """Everything that a reader of a notebook reads as text."""
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            yield cell.source
        for output in cell.get("outputs", ()):
            yield output.get("text", "")
            yield output.get("data", {}).get("text/markdown", "")


def _text(path: Path) -> str:
    return "\n\n".join(_cells(path)) if path.suffix == ".ipynb" else path.read_text()


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda p: p.name)
def test_how_to_read_the_signs_is_said_once_on_a_page(path: Path) -> None:
    found = signs_read(_text(path))
    assert len(found) <= 1, found


@pytest.mark.parametrize("path", [*PAGES, *NOTEBOOKS], ids=lambda p: p.name)
def test_no_sentence_is_said_twice(path: Path) -> None:
    if path.suffix == ".ipynb":
        source = "\n\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
    else:
        source = path.read_text()
    twice = [s for s, times in Counter(sentences(source)).items() if times > 1]
    assert path.name in CARDS or twice == []


def test_a_sentence_said_twice_is_found() -> None:
    said = "Raising *eps_high* means less clipping there, hence higher entropy. "
    assert len(signs_read(said)) == 1
    other = said.replace("*eps_high*", r"$\varepsilon_{high}$")
    assert len(signs_read(f"{said}\n\n| x |\n{other}")) == 2
    assert Counter(sentences(said * 2)).most_common(1)[0][1] == 2


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "run"
    done = CliRunner().invoke(app, ["drift", "--vocab", "8", *SMALL, "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert len(signs_read(done.stdout)) == 1, "the table of a run says how to read its signs"
    return out


@pytest.mark.parametrize(
    ("command", "times"),
    [
        (["drift", "--vocab", "8", *SMALL], 1),
        (["ledger", "RUN"], 0),
        (["compare", "RUN", "RUN"], 0),
        (["objectives"], 0),
        (["objectives", "clip"], 1),
        (["list"], 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_how_to_read_the_signs_is_said_once_by_a_command(command: list[str], times: int, run_folder: Path) -> None:
    done = CliRunner().invoke(app, [str(run_folder) if word == "RUN" else word for word in command])
    assert done.exit_code == 0, done.output
    found = signs_read(done.stdout)
    assert len(found) == times, found


def test_how_to_read_the_signs_is_said_once_in_a_report(run_folder: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(run_folder)])
    assert done.exit_code == 0, done.output
    (page,) = run_folder.glob("*.html")
    text = html.unescape(re.sub(r"(?s)<(script|style)\b.*?</\1>|<[^>]+>", " ", page.read_text()))
    assert len(signs_read(text)) == 1, signs_read(text)


def test_the_first_sentences_of_readme_have_their_condition() -> None:
    first = plain((ROOT / "README.md").read_text().split("\n\n")[1])
    condition = first.index("above-average entropy value")
    for slogan in ("raises entropy", "lowers it"):
        assert condition < first.index(slogan), "the slogan stands before its condition"
    assert "where they do not, the signs turn" in first


def test_theorems_whose_print_was_not_compared_are_called_our_form() -> None:
    paragraph = plain((DOCS / "theory.md").read_text().partition("### T6\n")[2].partition("\n### T")[0])
    assert "our form of Theorem 1 (euclidean) and Theorem 2 (natural)" in paragraph
    assert "not compared line by line with their print" in paragraph
    for path in (DOCS / "cite.md", DOCS / "findings.md"):
        for sentence in re.split(r"(?<=[.|])\s", plain(path.read_text())):
            if "T6" in sentence and re.search(r"Theorems? [12]", sentence):
                assert "our form" in sentence, (path.name, sentence)
    for name in ("theorem1", "theorem2"):
        assert "Our form (T6) of Theorem" in load(name).description
    assert "our form of Theorems 1 and 2" in (ROOT / "theory" / "random_reward.py").read_text()
    assert "Our form of the paper's Theorems 1 and 2" in (DOCS / "proofs.md").read_text()


def test_faq_counts_the_ways_that_it_lists() -> None:
    paragraph = plain((DOCS / "faq.md").read_text().partition("## Is the entropy number itself right?")[2].partition("##")[0])
    number, _, rest = paragraph.strip().partition(" known ways to be wrong: ")
    ways = re.sub(r"\([^()]*(\([^()]*\)[^()]*)*\)", "", rest.partition("see also")[0]).strip(" ;").split(";")
    assert number == ["No", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine"][len(ways)], ways
    assert any("padding" in way for way in ways)
    assert any("loss_agg_mode" in way for way in ways)
