"""Every published objective has a card that says the same things, and the page of the site is made of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from entclip.cli.app import app
from entclip.objectives.catalogue import PUBLISHED, kinds, objective, parameters
from entclip.objectives.not_built import NOT_BUILT
from entclip.report.card import FIELDS, LEVELS, Card, card, cards
from entclip.report.cards import cards_markdown

CARDS = {c.name: c for c in cards()}
REQUIRED = {"Formula", "Source", "Random reward", "True reward", "Traps"}
# Every paper of the family has its card: what outside checks ask for by name, and what has no objective.
ASKED = {
    "clip",
    "none",
    "reinforce",
    "dual_clip",
    "truncated_weights",
    "cispo",
    "cispo_trl",
    "cispo_torchrl",
    "gppo",
    "ce_gppo",
    "sapo",
    "sapo_trinity",
    "dppo_tv",
    "dppo_kl",
    "ripo",
    "abc_grpo",
    "gapo",
    "gspo",
    "gmpo",
    "steer",
    "clip_cov",
    "kl_cov",
    "clip_b",
    "clip_v",
    "erc",
    "bapo",
    "flexible",
    "positive_weight",
    "w_reinforce",
    "high_entropy_mask",
    "qae",
    "leave_one_out",
    "repo",
    "repo_r",
    "adapo",
    "aer",
    "entropic",
    "aepo",
    "cde",
    "calibrl",
    "parl",
    "random_drop",
    "entropy_bonus",
    "reference_kl",
}


@pytest.mark.parametrize("found", CARDS.values(), ids=CARDS)
def test_a_card_says_what_it_must(found: Card) -> None:
    assert found.fields.keys() <= set(FIELDS)
    wanted = REQUIRED if found.built else REQUIRED | {"Not built", "Report instead"}
    assert wanted <= found.fields.keys()
    assert found.summary.endswith(".")
    assert all(text.endswith((".", "?")) and len(text) < 700 for text in found.fields.values())
    assert set(found.levels) - {" ", "-"} <= LEVELS.keys()
    if found.built:
        assert tuple(found.parameters) == parameters(found.name)
        assert objective(found.name) == objective(found.name, **found.parameters)
        assert ("Needs" in found.fields) == bool(kinds()[found.name]().needs)


def test_every_paper_has_a_card_and_no_name_is_a_stub() -> None:
    assert CARDS.keys() >= ASKED
    assert not set(PUBLISHED) & NOT_BUILT.keys()
    for name in NOT_BUILT:
        with pytest.raises(ValueError, match=f"'{name}' has a card and no objective: entclip objectives {name} says why"):
            objective(name)
    with pytest.raises(ValueError, match=r"unknown objective 'fpso': did you mean fspo\?"):
        card("fpso")


def test_the_page_is_fresh() -> None:
    page = Path(__file__).parents[2] / "docs" / "objectives.md"
    assert page.read_text("utf-8") == cards_markdown(cards()), "python -m entclip.report.cards writes it"


def test_the_command() -> None:
    run = CliRunner()
    table = run.invoke(app, ["objectives"]).output
    assert all(len(line) <= 80 for line in table.splitlines())
    assert "gppo" in table
    assert "(fspo)" in table
    one = json.loads(run.invoke(app, ["objectives", "gppo", "--json"]).output)
    assert one["parameters"] == {"low": 0.2, "high": 0.2}
    assert {c["name"] for c in json.loads(run.invoke(app, ["objectives", "--json"]).output)} == CARDS.keys()
    assert "2508.07629" in run.invoke(app, ["objectives", "gppo"]).output
