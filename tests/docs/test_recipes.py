"""The recipes of CONTRIBUTING.md name files that exist, and their skeletons do what the recipe says, copied as they stand."""

from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from pydantic import TypeAdapter

from entclip.controllers.base import Controller, Memory, Observed, parameter
from entclip.engines.base import Directive, Minibatch
from entclip.engines.minibatches import entry_of
from entclip.engines.samples import Sums
from entclip.engines.tabular.facts import SAMPLED
from entclip.engines.tabular.table import TabularBooks, TabularRollout, TabularState, begin, begin_rollout, update_block
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.setting import Notation
from entclip.ledger.columns import Column
from entclip.ledger.entry import Entry
from entclip.objectives import base
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.catalogue import objective
from entclip.runs.runner import run
from entclip.support.numbers import NotNegative
from entclip.support.rewording import dataclass

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
RECIPES = dict(re.findall(r"^### (Add .+?)\n(.*?)(?=^##)", TEXT, re.MULTILINE | re.DOTALL))
# What a skeleton may use besides what it defines.
CLASSES: tuple[Any, ...] = (
    Change,
    Column,
    Controller,
    Directive,
    Entry,
    Experiment,
    Library,
    Minibatch,
    Notation,
    Objective,
    Observed,
    Sums,
    View,
)
TABULAR: tuple[Any, ...] = (TabularBooks, TabularRollout, TabularState, begin, begin_rollout, entry_of, update_block)
IMPORTED: dict[str, Any] = {x.__name__: x for x in (*CLASSES, *TABULAR, dataclass, parameter, replace)}
IMPORTED |= {"Literal": Literal, "Memory": Memory, "NotNegative": NotNegative, "SAMPLED": SAMPLED}


def skeleton(recipe: str, language: str = "python") -> str:
    (body,) = re.findall(rf"```{language}\n(.*?)```", RECIPES[recipe], re.DOTALL)
    return str(body)


def made(recipe: str, name: str, **more: Any) -> Any:
    found = IMPORTED | more
    exec(compile(skeleton(recipe), recipe, "exec", dont_inherit=True), found)
    return found[name]


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))  # an objective of a skeleton is not every test's


def small(arm: dict[str, Any], **update: Any) -> Experiment:
    rules = {"learning_rate": 0.3, "batch": 64, "minibatches": 4, "rollouts": 3} | update
    return parse_experiment({"policy": {"kind": "dirichlet", "vocab": 8, "contexts": 4}, "update": rules, "arm": [arm]})


def test_there_is_a_recipe_for_everything_that_grows() -> None:
    kinds = ("a claim", "a column", "an objective", "a controller", "an engine", "a trainer to lint", "a notebook")
    assert set(RECIPES) == {f"Add {kind}" for kind in kinds}


@pytest.mark.parametrize("recipe", RECIPES)
def test_files_of_a_recipe_exist(recipe: str) -> None:
    """Names in capitals stand for what is new: the folder that it goes into is there."""
    listed = re.findall(r"`((?:entclip|tests|docs|theory|notebooks)/[\w./]+|claims\.toml)`", RECIPES[recipe])
    assert listed
    for path in listed:
        known = re.split(r"\b\w*NAME|\bNN_", path)[0]
        assert (ROOT / known).exists(), path


def test_a_claim() -> None:
    (entry,) = tomllib.loads(skeleton("Add a claim", "toml"))["claim"]
    claims = tomllib.loads((ROOT / "claims.toml").read_text())["claim"]
    assert entry["id"] not in {claim["id"] for claim in claims}
    assert all(set(entry) <= set(claim) for claim in claims if "proof" in claim and claim["status"] == "landed")


def test_a_column() -> None:
    (column,) = eval(skeleton("Add a column"), IMPORTED)
    assert (column.prefixes, column.units) == ("max", "max")


def test_an_objective() -> None:
    """The skeleton drops samples with A < 0 below the low bound: the clip with its high side off."""
    ours, clip = made("Add an objective", "Name")(0.1), objective("clip", low=0.1, high=float("inf"))
    found, expected = (run(small({"name": "a", "objective": o})).summary()["arms"]["a"] for o in (ours, clip))
    assert found["clip_low"] == expected["clip_low"] != 0
    assert found["measured"] == expected["measured"]


def test_a_controller() -> None:
    """Entropy falls below a target above its start: the low width is halved before each rollout but the first."""
    rule = made("Add a controller", "Halving")(target=9.0)
    clip, memory = objective("clip", low=0.4), rule.start(objective("clip", low=0.4), 2.0)
    widths = []
    for rollout in range(3):
        widths.append(rule.objective(clip, memory).low)
        memory = rule.update(memory, Observed(rollout, 3, 2.0, []))
    assert widths == [0.4, 0.2, 0.1]
    assert rule.columns(memory) == {"eps_low": 0.05, "target_entropy": 9.0}
    assert TypeAdapter(type(rule)).validate_python({"kind": "halving", "target": 9.0}) == rule


def test_an_engine() -> None:
    """Its causes are those of T5 exactly, update by update, and its ledger closes; curvature is that of the mean step."""
    engine = made("Add an engine", "MeanEngine")()
    experiment = small({"name": "a", "low": 0.05, "high": 0.05})
    state, rollout = engine.roll_out(engine.start(experiment, experiment.arm[0].build()))
    for minibatch in rollout:
        state, entry = engine.step(state, rollout, minibatch, Directive())
        for cause in ("unclipped", "clip_low", "clip_high", "other"):
            assert np.max(np.abs(entry.columns[cause] - entry.columns[f"expected_{cause}"])) <= 1e-12, cause
        parts = sum(entry.columns[p] for p in ("unclipped", "clip_low", "clip_high", "other", "curvature", "remainder"))
        assert np.max(np.abs(parts - entry.columns["measured"])) <= 1e-12
    assert set(engine.observe(state)) == {"entropy", "sequence_entropy"}
    back = engine.unpack(engine.start(experiment, experiment.arm[0].build()), engine.pack(state))
    assert np.array_equal(back.log_probs, state.log_probs)


def test_a_trainer_to_lint() -> None:
    own = {"DEFAULTS": {"clip_low": 0.2}, "__name__": "x", "build": lambda read, evidence: None}
    library = made("Add a trainer to lint", "NAME", **own)
    assert (library.name, library.deciding) == ("name", ("clip_low", "clip_high"))


def test_a_notebook() -> None:
    text = skeleton("Add a notebook")
    assert text.startswith("# %% [markdown]\n# # ")
    assert "assert" in text.rpartition("# %%")[2]
    exec(compile(text, "notebook", "exec"), {})
