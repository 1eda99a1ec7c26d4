"""The report of a run folder: one page that needs nothing else, its text for a stranger, its files, and its errors."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from entclip import load, report, run
from entclip.cli.app import app
from entclip.report.document import document
from entclip.report.github import text
from entclip.report.page import page
from entclip.report.story import arm_sentence, limits, over_units, what_was_run
from entclip.support.errors import DamagedFileError, SpecError
from tests.folders import relist

SMALL = ["policy.vocab=8", "policy.contexts=6", "update.batch=64", "update.minibatches=4", "update.rollouts=2"]
HOSTILE = 'a<b>&"c"|_d_'
_VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Tags that are opened and closed in order, attributes by tag, and the text."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.attributes, self.words = [], [], [], []
        self.feed(source)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    small = load("headline", SMALL)
    run(small.model_copy(update={"arm": small.arm[:2]}), "sampled", out=out)
    return out


@pytest.fixture(scope="module")
def source(folder):
    return report.html(folder)


def test_page_is_well_formed_and_self_contained(source):
    found = Page(source)
    assert not {"script", "link", "iframe", "object", "a"} & set(found.tags)
    addresses = [value for _, name, value in found.attributes if name in ("src", "href", "srcset", "action", "style")]
    assert len(addresses) == found.tags.count("img") == 2
    assert all(value.startswith("data:image/png;base64,iVBOR") for value in addresses)
    assert "http:" not in source
    assert "https:" not in source
    assert "url(" not in source
    assert "@import" not in source
    assert all(value for tag, name, value in found.attributes if (tag, name) == ("img", "alt"))


def test_page_says_what_a_stranger_needs(source, folder):
    words = " ".join(" ".join(Page(source).words).split())
    for needed in (
        "This run puts 2 settings of the clip of PPO/GRPO (arms) on softmax policies (dirichlet) over 8 actions in 6 contexts",
        "random rewards (rademacher), which say nothing about the action",
        "Each arm makes 2 rollouts of 4 updates, in 6 independent units",
        "none : ",
        "both : ",
        "How to read the signs",
        "raising eps_high means less clipping at the high bound, hence higher entropy",
        "theory along the path",
        "no forecast",
        "entclip run experiment.toml --engine sampled --out results/headline",
        "git commit",
        "clip alive in",
        "numpy ",
        load("headline", SMALL).model_copy(update={"arm": load("headline", SMALL).arm[:2]}).digest,
    ):
        assert needed in words, needed
    assert words.count("raising eps_high means") == 1
    assert (folder / "experiment.toml").read_text().strip() in "".join(Page(source).words)


def test_names_are_escaped(folder, tmp_path):
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for name in ("ledger.parquet", "rollouts.parquet"):
        rows = pq.read_table(folder / name)
        column = rows.column_names.index("arm")
        renamed = [HOSTILE if arm == "both" else arm for arm in rows["arm"].to_pylist()]
        pq.write_table(rows.set_column(column, "arm", [renamed]).replace_schema_metadata(rows.schema.metadata), tmp_path / name)
    summary = json.loads((folder / "summary.json").read_text())
    summary["arms"] = {HOSTILE if name == "both" else name: arm for name, arm in summary["arms"].items()}
    summary["experiment"] = HOSTILE
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    made = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(made | {"experiment": HOSTILE}))
    relist(tmp_path)
    sections = document(tmp_path)
    found, markdown = Page(page(sections)), text(sections)
    assert found.words.count(HOSTILE) >= 4  # heading, verdict, both tables
    assert "b" not in found.tags
    assert r'a&lt;b&gt;&amp;"c"\|\_d\_' in markdown
    assert HOSTILE not in markdown


def test_markdown_has_the_same_sections(folder, source):
    sections = document(folder)
    shown = text(sections)
    headings = re.findall("<h2>(.*?)</h2>", source)
    assert len(headings) > 5
    assert re.findall("^## (.*)$", shown, flags=re.MULTILINE) == headings
    assert "![" in shown
    assert "](rollouts.png)" in shown
    assert page(sections) == source  # and the page is the same every time


def test_sentences_state_what_was_found():
    arm = {"measured": -0.034, "measured_se": 0.0006, "units": 500, "entropy_start": 3.8, "entropy_end": 3.766}
    arm |= {"clip_high": -0.05, "clip_high_se": 0.001, "unclipped": 0.01, "unclipped_se": 0.008}
    arm |= {
        "expected_clip_high": -0.05,
        "verdict_clip_high": "agree",
        "expected_unclipped": 0.0,
        "verdict_unclipped": "inconclusive",
    }
    said = arm_sentence(arm)
    assert said == (
        "entropy fell: -.0340(6) nats over 500 independent units (from 3.8000 to 3.7660); largest parts: clip high -.0500(10); "
        "theory agrees with what was measured for clip high."
    )
    assert "theory is REJECTED for clip high" in arm_sentence(arm | {"verdict_clip_high": "reject"})
    assert "too little data to judge clip high" in arm_sentence(arm | {"verdict_clip_high": "inconclusive"})
    assert "theory is REJECTED for unclipped" in arm_sentence(arm | {"verdict_unclipped": "reject"})
    assert (
        "no entropy change that can be told from zero: -.03(2) nats over 500 independent units, 95 % interval -.0733 to +.0053"
    ) in arm_sentence(arm | {"measured_se": 0.02})
    # Twelve standard errors of two units are no more than noise: the units say why.
    assert "zero: -.034(3) nats over 2 independent units, 95 % interval -.0696 to" in arm_sentence(
        arm | {"units": 2, "measured_se": 0.0028}
    )
    alone = arm_sentence(arm | {"units": 1, "measured_se": None})
    assert alone.startswith("entropy fell: -.0340 nats in one independent unit (no standard error) (from 3.8000")
    assert over_units(({"units": 6}, {"units": 12})) == " over 6 to 12 independent units"
    assert arm_sentence({"measured": -0.034}).startswith("entropy fell: -.0340 nats;")  # an exact engine
    assert "entropy rose" in arm_sentence(arm | {"measured": 0.034})
    partly = arm_sentence(arm | {"updates": 17, "skipped": 303, "unaccounted": 0.006, "unaccounted_se": 0.0004})
    assert "17 of 320 updates accounted, the others changed entropy by +.0060(4); largest parts of the accounted ones:" in partly
    assert "to 3.7660, with other prefixes visited)" in arm_sentence(arm | {"visitation": 0.01})
    assert "no part has a theory" in arm_sentence(
        arm
        | {
            "expected_clip_high": None,
            "verdict_clip_high": "not tested",
            "verdict_unclipped": "not tested",
            "expected_unclipped": None,
        }
    )
    assert arm_sentence({"measured": None}) == "Nothing was measured."


def test_language_models_are_described_as_what_they_are():
    experiment = load("llm_six")
    summary = {
        "engine": "llm",
        "rollouts": 6,
        "arms": {"both": {"units": 5, "measured": 0.1, "remainder": 0.01, "unclipped": 0.1}},
    }
    said = what_was_run(experiment, summary)
    assert "the language model tiny, trained by GRPO on the task digits, under random rewards (" in said
    assert "trained for real" in said
    assert "entropy is that of the fixed probe contexts" in " ".join(limits(experiment, summary))
    assert "at most 10.0 % of the other parts" in " ".join(limits(experiment, summary))
    assert "a reward that judges the response (correct)" in what_was_run(load("llm_true_reward"), summary)


def test_cases_that_differ_are_not_described_as_one():
    said = what_was_run(load("theorem1"), {"engine": "sampled", "rollouts": 1, "arms": {}})
    assert "policies that differ by case, in 4 cases" in said
    assert "1 rollout of 1 update," in said


def test_command_writes_the_files(folder, source, tmp_path):
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path / "there")])
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (tmp_path / "there").iterdir()) == ["figure.png", "report.html", "report.md", "rollouts.png"]
    assert (tmp_path / "there" / "report.html").read_text() == source
    assert (tmp_path / "there" / "rollouts.png").read_bytes().startswith(b"\x89PNG")
    assert "report.html" in done.output


def test_folders_that_are_no_runs_are_refused(folder, tmp_path):
    with pytest.raises(SpecError, match="not the folder of a finished run"):
        report.html(tmp_path)
    for name in ("summary.json", "ledger.parquet", "rollouts.parquet"):
        spoiled = tmp_path / name.partition(".")[0]
        shutil.copytree(folder, spoiled)
        (spoiled / name).write_bytes((folder / name).read_bytes()[:200])
        with pytest.raises(DamagedFileError, match="truncated or damaged"):
            report.write_report(spoiled, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_notebooks_show_the_table():
    small = load("headline", SMALL)
    ledger = run(small.model_copy(update={"arm": small.arm[1:2]}), "sampled")
    table = report.table(ledger.summary())
    assert list(table.index) == ["both"]
    assert table.index.name == "arm"
    assert list(table.columns) == [
        "measured",
        "control variate",
        "unclipped",
        "unclipped, theory",
        "clip low",
        "clip low, theory",
        "clip high",
        "clip high, theory",
        "curvature",
        "curvature, theory",
        "remainder",
        "units",
        "verdict",
    ]
    arm = ledger.summary()["arms"]["both"]
    assert table.loc["both", "clip low"] == report.with_error(arm["clip_low"], arm["clip_low_se"])
    assert table.loc["both", "clip low, theory"].split()[-1] in ("ok", "NO", "?")
    shown = ledger._repr_html_()
    assert table.loc["both", "clip low"] in shown
    Page(shown)
