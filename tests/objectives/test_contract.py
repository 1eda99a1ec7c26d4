"""The contract of an objective: every kind is in the suites, pieces part where gains jump, facts are true, kinds are unique."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pytest

from entclip import objective
from entclip.experiments.experiment import parse_experiment
from entclip.objectives import base
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.catalogue import PUBLISHED, kinds, parameters
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.clip import Clip
from entclip.objectives.needs import NEEDS
from entclip.objectives.widths import Bounded
from entclip.support.errors import SpecError
from tests.family import EDGES, family, members
from tests.seen import changed

MEMBERS = members(0.2) | EDGES
every_member = pytest.mark.parametrize("member", MEMBERS.values(), ids=MEMBERS)


def test_every_kind_is_in_the_list_of_the_suites() -> None:
    assert {given["kind"] for given in family(0.2, NEEDS.keys()).values()} == set(PUBLISHED)


@every_member
def test_gains_jump_and_sets_end_only_between_pieces(member: Objective) -> None:
    """Along a fine grid of ratios a gain moves by more than its slope allows only where the piece changes."""
    ratio = np.exp(np.linspace(-3, 3, 20_001))
    for old in (0.3, 0.01, 1e-6):
        change = changed(member, ratio, np.full_like(ratio, old))
        same = np.diff(change.piece) == 0
        for x in (*change.gains[:2], change.low.astype(float), change.high.astype(float)):
            assert np.all(np.abs(np.diff(x))[same] < 4 * 3e-4 * np.maximum(1, np.abs(x))[1:][same])


@every_member
def test_facts_are_true(member: Objective) -> None:
    ratio = np.exp(np.linspace(-700, 3, 10_000))
    change = changed(member, ratio, np.full_like(ratio, 0.05))
    gains = change.gains[:2]
    coins = all(bool(np.all((g == 0) | (g == 1))) for g in gains)
    assert coins if member.hard else not coins or member.width == math.inf
    assert member.pushes_at_zero is any(g[0] > 1e6 for g in gains)
    low, high = member.idle
    if low == low:
        inside = (ratio >= low) & (ratio <= high)
        assert all(np.all(g[inside] == 1) for g in gains)
        assert not np.any((change.low | change.high)[inside])
    if member.width < math.inf:
        about = 1 + np.array([-1, 1, 0]) * (member.width * 1.01 + 1e-9)
        for old in (0.05, 1 - 1e-9):
            beyond = changed(member, about, np.full(3, old))
            if np.any(beyond.low | beyond.high) or any(np.max(np.abs(g[:2] / g[2] - 1)) > 0.45 for g in beyond.gains[:2]):
                break
        else:
            pytest.fail("no gain changes by about one half")


def test_a_hard_ce_gppo_is_hard() -> None:
    assert CeGppo(beta_low=0, beta_high=0).hard
    assert not CeGppo(beta_low=0).hard
    assert not CeGppo(beta_low=0).pushes_at_zero


def test_facts_of_a_parent_are_not_those_of_another_change() -> None:
    class Halved(Clip):
        def change(self, view: View) -> Change:
            whole = super().change(view)
            return Change.of(whole.gains.plus / 2, whole.gains.minus / 2, whole.low, whole.high)

    class Renamed(Clip):
        pass

    assert (Halved().hard, Halved().width, math.isnan(Halved().idle[0])) == (False, math.inf, True)
    assert (Renamed().hard, Renamed().idle) == (True, Clip().idle)

    class OwnChange(Bounded):
        def change(self, view: View) -> Change:
            raise NotImplementedError

    assert OwnChange().idle == (0.8, 1.2), "a parent without a change states facts for its children"


def test_a_kind_has_one_class() -> None:
    with pytest.raises(ValueError, match=r"the kind 'clip' is entclip\.objectives\.clip\.Clip: give .*Other another name"):

        class Other(Objective):
            kind: Literal["clip"] = "clip"

            def change(self, view: View) -> Change:
                raise NotImplementedError

    assert kinds()["clip"] is Clip
    with pytest.raises(TypeError, match=r'Bare: write its kind as a field, kind: Literal\["bare"\] = "bare"'):

        class Bare(Objective):
            kind = "bare"

            def change(self, view: View) -> Change:
                raise NotImplementedError


@pytest.fixture
def own_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kinds that a test defines are forgotten after it."""
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))


def define() -> type[Objective]:
    @dataclass(frozen=True)
    class OwnWidth(Objective):
        width_of_all: float = 0.1
        kind: Literal["own_width"] = "own_width"

        def change(self, view: View) -> Change:
            return Change.dropped(view, view.ratio < 1 - self.width_of_all, view.ratio > 1 + self.width_of_all)

    return OwnWidth


@pytest.mark.usefixtures("own_kinds")
def test_a_class_of_ones_own_is_named_in_experiments() -> None:
    """By table, by name and as an object; defined again (a notebook's cell run twice) it takes the place of its former self."""
    define()
    own = define()
    table = {"kind": "own_width", "width_of_all": 0.3}
    arms = [{"name": "a", "objective": table}, {"name": "b", "objective": "own_width"}, {"name": "c", "objective": own(0.3)}]
    experiment = parse_experiment({"arm": arms})
    assert [arm.build() for arm in experiment.arm] == [own(0.3), own(), own(0.3)]
    assert parse_experiment(experiment.model_dump(exclude_none=True)) == experiment
    assert (objective("own_width", width_of_all=0.2), parameters("own_width")) == (own(0.2), ("width_of_all",))
    assert "own_width" not in PUBLISHED
    for wrong, message in (
        ({"kind": "own_width", "width": 0.3}, "width"),
        ({"kind": "own_wdith"}, r"arm\.a\.objective: unknown objective 'own_wdith': did you mean own_width\?"),
        (3, "a name, a table with a kind, or an Objective, not 3"),
    ):
        with pytest.raises(SpecError, match=message):
            parse_experiment({"arm": [{"name": "a", "objective": wrong}]})


def test_an_objective_without_a_kind_is_not_for_experiments() -> None:
    class Nameless(Clip):
        pass

    with pytest.raises(SpecError, match="has no kind of its own"):
        parse_experiment({"arm": [{"name": "a", "objective": Nameless()}]})
