"""What a user wrote is never markup: a closing tag in a path, in a grid value and on the command line comes out as it is."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from typer.testing import CliRunner

from entclip.cli.app import app, main

SMALL = ["policy.vocab=8", "policy.contexts=64", "update.batch=64", "update.minibatches=4", "update.rollouts=1"]
QUICK = ["--batch", "64", "--minibatches", "4", "--rollouts", "1"]
SET = [word for key in SMALL for word in ("--set", key)]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with "[/x]", "[red]" and ":smile:" in the names of all that is in it: "[" is a folder of its own."""
    root = tmp_path_factory.mktemp("markup")
    (root / "[").mkdir()
    for name in ("[/x].npy", "[/red].npy"):
        np.save(root / name, np.zeros((4, 8)))
    (root / "[red]:smile:.toml").write_text(
        'name = "mine"\n[policy]\nkind = "file"\npath = "[/x].npy"\n[update]\nbatch = 64\nminibatches = 4\nrollouts = 1\n'
        '[grid]\n"policy.path" = ["[/x].npy", "[/red].npy"]\n',
        encoding="utf-8",
    )
    return root


def told(place, monkeypatch, *words):
    monkeypatch.chdir(place)
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert done.exit_code in (0, 3), done.output
    return done.stdout


def test_paths_and_grid_values_come_out_as_they_are(place, monkeypatch):
    shown = told(place, monkeypatch, "run", "[red]:smile:.toml", "--out", "[/x]run")
    assert "[/x].npy" in "".join(shown.split())
    assert "[/red].npy" in "".join(shown.split())
    assert "are in [/x]run" in shown
    for words in (["report", "[/x]run"], ["compare", "[/x]run", "[/x]run"], ["ledger", "[/x]run", "--out", "[/x]explained"]):
        assert "[/x].npy" in "".join(told(place, monkeypatch, *words).split()), words
    assert "[/x]run" in told(place, monkeypatch, "ledger", "[/x]run", "--out", "[/x]explained")


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["drift", "--policy", "[/x].npy", *QUICK, "--out", "[/x]drift"], "are in [/x]drift"),
        (["noise", "headline", *SET, "--out", "[/x]noise.csv"], "headline"),
        (["predict", "headline", *SET, "--noise", "[/x]noise.csv", "--out", "[/x]forecast"], "log-ratio noise [/x]noise.csv"),
        (["map", "widths", "--points", "2", "--out", "[/x]map"], "are in [/x]map"),
        (["init", "[/x]:smile:.toml"], "[/x]:smile:.toml is written"),
        (["noise", "--old", "[/x]old.npy", "--new", "[/x]new.npy", "--per-decade", "1"], "[/x]old.npy, [/x]new.npy"),
    ],
    ids=lambda v: v[0] if isinstance(v, list) else "",
)
def test_options_come_out_as_they_are(words, shown, place, monkeypatch):
    rng = np.random.default_rng(0)
    old = np.log(rng.dirichlet(np.ones(8), 64))
    for name, values in (("old", old), ("new", old + 0.01 * rng.standard_normal(old.shape))):
        np.save(place / f"[/x]{name}.npy", values - np.log(np.exp(values).sum(-1, keepdims=True)))
    assert shown in told(place, monkeypatch, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["run", "[/x]none"],
        ["report", "[/x]none"],
        ["drift", "--policy", "[/x]none"],
        ["drift", "--reward", "[/x]"],
        ["drift", "--arm", "[/x]"],
        ["drift", "--set", "[/x]=1"],
        ["drift", "--engine", "[/x]"],
        ["lint", "[/x]none"],
        ["llm", "[/x]none"],
        ["ledger", "[/x]none"],
        ["reproduce", "[/x]"],
        ["--[/x]"],
        ["[/x]"],
        ["map", "[/x]"],
        ["predict", "--noise", "[/x]:.1"],
        ["neutral", "--eps-high", "[/x]"],
        ["convert", "--to", "[/x]", "--eps-low", ".2"],
    ],
    ids=" ".join,
)
def test_messages_come_out_as_they_are(words, place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", ["entclip", *words])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert "[/x]" in capsys.readouterr().err


def test_progress_shows_names_as_they_are(monkeypatch, capsys):
    """In a terminal, too: the description of a bar is markup unless it is told not to be."""
    from entclip.support.progress import progress

    for terminal in ("1", ""):
        monkeypatch.setenv("FORCE_COLOR", terminal)
        monkeypatch.setenv("TTY_COMPATIBLE", terminal or "0")
        with progress("[/x]:smile:[red]", 2) as advance:
            advance()
        assert "[/x]:smile:[red]" in capsys.readouterr().err
