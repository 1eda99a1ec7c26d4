"""Every command's tables at 80 columns: no line is longer, no number is cut, and every block says which arm is which."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from typer.testing import CliRunner

from entclip.cli.app import app

SMALL = ["policy.vocab=8", "policy.contexts=6", "update.batch=64", "update.minibatches=4", "update.rollouts=2"]
SET = [word for key in SMALL for word in ("--set", key)]
LLM = ["--model", "untrained", "--rollouts", "2", "--replicas", "4", "--every", "3", "--set", "update.minibatches=4"]


def entclip(*words, columns=None):
    """Standard output of a command that must end well (or be inconclusive), as a pipe sees it."""
    done = CliRunner().invoke(app, [str(w) for w in words], env={"COLUMNS": columns}, catch_exceptions=False)
    assert done.exit_code in (0, 3), done.output
    return done.stdout


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("one", "two"):
        entclip("run", "headline", *SET, "--set", f"seed={len(name)}", "--out", folder / name)
    entclip("llm", *LLM, "--arm", "both", "--out", folder / "model")
    (folder / "grpo.yaml").write_text("epsilon: 0.2\nepsilon_high: 0.28\nnum_generations: 16\nloss_type: dapo\nbeta: 0.0\n")
    return folder


COMMANDS = {
    "drift": ["drift", *SET],
    "run": ["run", "headline", *SET],
    "run with cases": ["run", "reward_laws", *SET],
    "check": ["check", "headline", *SET],
    "plan": ["check", "headline", "--plan", *SET],
    "predict": ["predict", "headline", *SET],
    "predict, given noise": ["predict", "headline", "--noise", "flat:.1", *SET],
    "noise": ["noise", "headline", *SET, "--set", "policy.contexts=64"],
    "neutral": ["neutral", "headline", "--eps-high", ".2", *SET],
    "map": ["map", "widths", "--points", "2", "--verify", "1"],
    "llm": ["llm", *LLM, "--arm", "both"],
    "list": ["list"],
    "findings": ["reproduce", "--list"],
    "findings, quick": ["reproduce", "--list", "--quick"],
    "report": ["report", "one", "--out", "report"],
    "ledger": ["ledger", "one"],
    "ledger of a model": ["ledger", "model"],
    "compare": ["compare", "one", "two"],
    "lint": ["lint", "grpo.yaml"],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_no_line_is_over_80_and_every_block_has_the_first_column(name, runs, monkeypatch):
    monkeypatch.chdir(runs)
    lines = [line.rstrip() for line in entclip(*COMMANDS[name]).splitlines()]
    assert [line for line in lines if len(line) > 80] == []
    assert not any("…" in line for line in lines)
    rules = [i for i, line in enumerate(lines) if line and set(line) == {"─"}]
    assert rules or name == "lint"
    firsts = [lines[i - 1].split()[0] for i in rules]
    # A table that was split shows the same first column, with the same names, in each of its blocks.
    bodies = [[line.split()[0] for line in _body(lines, i)] for i in rules]
    titles = sum(1 for i in rules if _starts_a_table(lines, i))
    assert len({(first, tuple(body)) for first, body in zip(firsts, bodies, strict=True)}) <= titles or not rules
    for i in rules:
        for line in _body(lines, i):
            assert not re.search(r"[-+]?\d+\.$", line), line  # a number that was cut after its point


def _body(lines, rule):
    """The lines below a rule that begin in the first column."""
    out = []
    for line in lines[rule + 1 :]:
        if not line:
            break
        if not line.startswith(" "):
            out.append(line)
    return out


def _starts_a_table(lines, rule):
    """Whether a title stands above the head of this block, rather than the blank line between two blocks."""
    top = rule - 1
    while top and lines[top - 1].startswith(" "):
        top -= 1
    return bool(lines[top - 1])


@pytest.mark.slow
def test_a_pipe_is_as_wide_as_columns_says(runs, monkeypatch):
    monkeypatch.chdir(runs)
    longest = {c: max(map(len, entclip("ledger", "one", columns=c).splitlines())) for c in (None, "50", "120", "no number", "0")}
    assert longest["50"] <= 50 < longest["120"] <= 120
    assert longest[None] == longest["no number"] <= 80
    assert longest["0"] <= 22  # narrower than anything can be: as narrow as is readable


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "key", "column"),
    [
        ("drift", "arm", "measured"),
        ("run", "arm", "measured_cv"),
        ("check", "arm", "verdict"),
        ("plan", "part", "units_needed"),
        ("predict", "arm", "expected_measured"),
        ("noise", "prob", "rms"),
        ("neutral", "high", "low"),
        ("map", "arm", "expected_measured"),
        ("llm", "arm", "measured"),
        ("ledger", "arm", "measured"),
        ("list", "name", "claims"),
    ],
)
def test_csv_has_the_numbers_of_the_tables_unrounded(name, key, column, runs, monkeypatch, tmp_path):
    monkeypatch.chdir(runs)
    printed = entclip(*COMMANDS[name], "--csv", "-")
    rows = list(csv.DictReader(io.StringIO(printed)))
    assert rows
    assert all(row[key] and row[column] for row in rows)
    shown = entclip(*COMMANDS[name], "--csv", tmp_path / "rows.csv", "--quiet")
    assert "─" in shown or name == "map"
    assert (tmp_path / "rows.csv").read_text(encoding="utf-8") == printed
    if name == "drift":
        arms = json.loads(entclip(*COMMANDS[name], "--json"))["arms"]
        assert [(row["arm"], float(row["measured"])) for row in rows] == [(n, arm["measured"]) for n, arm in arms.items()]


def test_csv_and_json_cannot_share_standard_output_and_a_folder_is_no_file(tmp_path):
    for words, message in ((["--json", "--csv", "-"], "both go to standard output"), (["--csv", tmp_path], "is a folder")):
        with pytest.raises(ValueError, match=message):
            entclip("drift", *SET, *words)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drift", "predict", "noise", "report", "compare", "ledger"])
def test_quiet_leaves_the_numbers_and_drops_the_rest(name, runs, monkeypatch):
    monkeypatch.chdir(runs)
    words = [*COMMANDS[name], "--quiet"]
    done = CliRunner().invoke(app, words, env={"COLUMNS": None}, catch_exceptions=False)
    assert done.exit_code == 0
    assert done.stderr == ""
    full = entclip(*COMMANDS[name])
    assert "─" in done.stdout
    assert len(done.stdout) <= len(full)
    for chatter in ("Upper line: measured", "Signs:", " are in ", "raising eps_high"):
        assert chatter not in done.stdout
