"""compare with objectives: pairs share their samples, ranks only where intervals part, what cannot run is said."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from entclip import objective, run
from entclip.cli.app import app
from entclip.cli.compare import _served
from entclip.experiments.experiment import parse_experiment
from entclip.report.contest import contest_figure
from entclip.runs.comparison import compare

SPEC = {
    "name": "small",
    "policy": {"kind": "dirichlet", "vocab": 8, "contexts": 64, "floor": 0.3},
    "update": {"geometry": "natural", "learning_rate": 0.1, "batch": 256, "minibatches": 16, "rollouts": 2},
    "reward": {"kind": "rademacher"},
    "advantage": {"kind": "independent"},
}
THREE = {
    "clip": objective("clip", low=0.05, high=0.05),
    "none": objective("none"),
    "low": objective("clip", low=0.05, high=math.inf),
}


def invoke(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "small.toml"
    path.write_text(parse_experiment(SPEC).to_toml())
    return str(path)


def test_arms_are_those_of_runs_of_their_own_and_differences_are_paired() -> None:
    found = compare(parse_experiment(SPEC), THREE)
    by_name = {c.name: c for c in found.contenders}
    for name, member in THREE.items():
        alone = run(parse_experiment(SPEC | {"arm": [{"name": name, "objective": member}]})).summary()["arms"][name]
        assert by_name[name].arm["measured"] == alone["measured"]
        assert by_name[name].change == pytest.approx(alone["measured_cv"], rel=1e-12)
        assert np.mean(by_name[name].units) == pytest.approx(alone["measured_cv"], rel=1e-9)
    apart = found.difference(by_name["low"], by_name["clip"])
    x = by_name["low"].units - by_name["clip"].units
    assert apart.value == pytest.approx(np.mean(x), rel=1e-9)
    assert apart.se == pytest.approx(np.std(x, ddof=1) / 8, rel=1e-12)
    assert apart.half == pytest.approx(1.998341 * apart.se, rel=1e-5)  # Student's t with 63 degrees of freedom
    order = sorted(THREE, key=lambda name: -by_name[name].change)
    assert order[0] == "low", "T6: clip-low alone raises entropy here"
    assert found.ranks() == {name: (k, k) for k, name in enumerate(order, 1)}


def test_what_cannot_be_told_apart_has_no_place_of_its_own() -> None:
    """The same objective twice is exactly equal, and a wide one that never clips is the same as no clip."""
    wide = objective("clip", low=0.99, high=50.0)
    found = compare(parse_experiment(SPEC), {"a": objective("none"), "b": wide, "c": THREE["low"]})
    assert found.ranks() == {"c": (1, 1), "a": (2, 3), "b": (2, 3)}
    few = parse_experiment(SPEC | {"policy": SPEC["policy"] | {"contexts": 1}})
    lone = compare(few, {"a": objective("none"), "c": THREE["low"]})
    assert lone.ranks() == {"a": (1, 2), "c": (1, 2)}, "one unit has no error"
    assert lone.difference(*lone.contenders).half is None


def test_a_bonus_is_part_of_what_is_predicted() -> None:
    bonus = {"none": objective("none"), "bonus": objective("entropy_bonus", coefficient=0.1)}
    rows = {row["objective"]: row for row in compare(parse_experiment(SPEC), bonus).summary()["comparison"]}
    assert rows["bonus"]["change"] > 0.005 > rows["none"]["change"]
    assert rows["bonus"]["predicted"] == pytest.approx(rows["bonus"]["change"], abs=1e-4)  # all but third order


def test_a_difference_replaces_by_theory_what_both_have_it_for() -> None:
    """Clip-B of the same batch has no expectations; where its rule never acts it is the clip, whose luck is taken out."""
    idle = {"clip": objective("clip"), "batch": objective("clip_b", mu=1e9, source="batch")}
    found = compare(parse_experiment(SPEC | {"replicas": 2}), idle)
    clip, batch = found.contenders
    assert batch.arm["measured"] == clip.arm["measured"]
    assert abs(batch.change - clip.change) > 1e-4, "one is raw, the other a control variate"
    apart = found.difference(batch, clip)
    assert (apart.value, apart.se, apart.half) == (0.0, 0.0, 0.0)


def test_controllers_are_contenders_that_move_the_first_objective() -> None:
    """The arm of a controller is that of a run of its own, on the same random numbers: its first rollout is the clip's."""
    rules = {"pi": {"kind": "pi", "k_p": 5.0}, "both": {"kind": "predictive", "sides": "both"}}
    found = compare(parse_experiment(SPEC), {"clip": THREE["clip"]}, controllers=rules)
    assert [c.name for c in found.contenders] == ["clip", "clip-pi", "clip-both"]
    arm = {"name": "clip-pi", "objective": THREE["clip"], "controller": rules["pi"]}
    alone = run(parse_experiment(SPEC | {"arm": [arm]})).summary()["arms"]["clip-pi"]
    assert found.contenders[1].arm["measured"] == alone["measured"]
    first = [found.ledger.arms[c.name].summaries[0]["entropy"] for c in found.contenders]
    assert len(set(first)) == 1
    last = [found.ledger.arms[c.name].summaries[1]["entropy"] for c in found.contenders]
    assert len(set(last)) == 3


def test_controllers_by_name(file: str) -> None:
    done = invoke("compare", file, "--controllers", "pi(k_p=5),predictive(sides=both)", "--json", "--quiet")
    assert done.exit_code == 0, done.output
    rows = {row["objective"]: row for row in json.loads(done.stdout)["comparison"]}
    assert set(rows) == {"clip", "clip-pi-k_p-5", "clip-predictive-sides-both"}
    assert rows["clip"]["difference"] == 0
    unfit = invoke("compare", file, "--objectives", "clip,none", "--controllers", "adaptive_bonus")
    assert "the objective 'clip' has no coefficient" in str(unfit.exception)
    unknown = invoke("compare", file, "--controllers", "sliding")
    assert "sliding" in str(unknown.exception)


def test_exact_engines_have_no_error() -> None:
    spec = SPEC | {
        "policy": {"kind": "zipf", "vocab": 3},
        "update": SPEC["update"] | {"batch": 2, "minibatches": 2, "rollouts": 1},
    }
    found = compare(
        parse_experiment(spec), {"none": objective("none"), "off": objective("clip", low=1, high=math.inf), **THREE}, "exact"
    )
    ranks = found.ranks()
    assert ranks["none"] == ranks["off"]
    assert ranks["none"][1] - ranks["none"][0] == 1
    assert len({ranks["clip"], ranks["low"], ranks["none"]}) == 3


def test_reward_and_reachable_actions() -> None:
    """Under a true reward expected reward rises; a policy that had all actions within reach loses some."""
    values = [1.0] + [0.0] * 7
    spec = SPEC | {"reward": {"kind": "table", "values": values}, "policy": {"kind": "uniform", "vocab": 8, "contexts": 4}}
    spec |= {"update": SPEC["update"] | {"learning_rate": 3.0, "minibatches": 8}}
    found = compare(parse_experiment(spec), {"none": objective("none"), "clip": objective("clip")})
    none = found.contenders[0]
    assert none.start is not None
    assert none.end is not None
    assert none.start.reward == pytest.approx(1 / 8)
    assert none.end.reward > 0.9
    assert (none.start.reachable, none.end.reachable < 8) == (8.0, True)
    gained = found.reward_difference(*reversed(found.contenders))
    each = found.contenders[1].end.rewards - none.end.rewards
    assert gained.se == pytest.approx(np.std(each, ddof=1) / 2, rel=1e-12)
    assert gained.half == pytest.approx(3.182446 * gained.se, rel=1e-6)  # Student's t with 3 degrees of freedom
    assert gained.value == pytest.approx(found.contenders[1].end.reward - none.end.reward, rel=1e-12)
    joined = compare(parse_experiment(spec), {"none": objective("none"), "clip_b": objective("clip_b")})
    assert joined.reward_difference(*joined.contenders).half is None, "contexts are joined, and one replica has no error"
    reduced = compare(parse_experiment(SPEC), {"none": objective("none"), "clip": objective("clip")}, "reduced")
    sampled = compare(parse_experiment(SPEC), {"none": objective("none"), "clip": objective("clip")})
    assert reduced.contenders[0].start.reachable == pytest.approx(sampled.contenders[0].start.reachable, abs=1e-9)


def test_a_bar_without_an_error_is_hatched() -> None:
    """Every other row has its interval drawn, however narrow."""
    rows = [{"objective": name, "change": -0.1, "change_se": se, "predicted": -0.1} for name, se in (("a", 1e-4), ("b", None))]
    figure = contest_figure({"comparison": rows, "arms": {"a": {"units": 64}, "b": {"units": 1}}, "experiment": "mine"})
    axes = figure.axes[0]
    assert [patch.get_hatch() for patch in axes.patches] == [None, "////"]
    assert len(axes.collections) == 2, "the interval of a, black on white"
    assert "hatched: one unit, which has no error" in axes.get_xlabel()
    sure = contest_figure({"comparison": rows[:1], "arms": {"a": {"units": 64}}, "experiment": "mine"})
    assert "hatched" not in sure.axes[0].get_xlabel()


def test_a_runaway_leaves_the_others(file: str) -> None:
    data = parse_experiment(SPEC | {"policy": {"kind": "zipf", "vocab": 64, "exponent": 2.0}}).model_dump(exclude_none=True)
    Path(file).write_text(parse_experiment(data).to_toml())
    done = invoke("compare", file, "--objectives", "none,reinforce", "--set", "update.learning_rate=5", "--json", "-q")
    summary = json.loads(done.output)
    assert "no finite number" in summary["failed"]["reinforce"]
    assert [row["objective"] for row in summary["comparison"]] == ["none"]


def test_all_leaves_out_what_does_not_fit_the_experiment_and_says_why() -> None:
    served, unfit = _served("sampled", parse_experiment(SPEC))
    assert next(iter(served)) == "clip"
    assert {"steer", "cde", "clip_cov"} <= served.keys()
    assert unfit.keys() == {"qae", "leave_one_out", "gapo"}
    assert "use advantage.kind = 'group'" in unfit["qae"]
    groups = parse_experiment(SPEC | {"advantage": {"kind": "group", "size": 8}, "reward": {"kind": "bernoulli", "p": 0.5}})
    assert _served("sampled", groups)[1].keys() == {"cde"}
    assert "steer" not in _served("reduced", groups)[0]


def test_the_command(file: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = invoke("compare", file, "--objectives", "clip(low=.05, high=inf), none", "--out", str(out), "-q")
    assert done.exit_code == 0, done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())
    rows = json.loads((out / "comparison.json").read_text())["comparison"]
    assert [row["objective"] for row in rows] == ["clip-low-.05-high-inf", "none"]
    assert rows[0]["difference"] == 0
    assert (out / "comparison.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objectives", "clip"], "at least two objectives"),
        (["--objectives", "clip,gpo"], "unknown objective 'gpo'"),
        (["--objectives", "clip,clip"], "names 'clip' twice"),
        (["--objectives", "clip(low=2),none"], r"clip.low must be in [0, 1]"),
        (["--objectives", "clip(low),none"], "'low' is no parameter"),
        (["--objectives", "clip none"], "write names with commas"),
        (["--objectives", "clip,none", "--all"], "exclude each other"),
        (["b", "--all"], "not two"),
        ([], "one run cannot be compared"),
        (["--objectives", "clip,clip_b", "--engine", "tokens"], "'clip_b' looks at"),
        (["--objectives", "clip,none", "--set", 'grid={"update.batch"=[8,16]}'], "has 2 cases"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_message(file: str, words: list[str], message: str) -> None:
    done = invoke("compare", file, *words)
    assert message in str(done.exception) + done.output
