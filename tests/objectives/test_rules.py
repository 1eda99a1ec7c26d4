"""Members that go by the group of a sample or by the value of its advantage, beyond what every member's tests see."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entclip import SoftmaxPolicy, expected_entropy_drift, objective
from entclip.experiments.experiment import parse_experiment
from entclip.ledger.columns import PARTS
from entclip.objectives.base import Objective, View
from entclip.objectives.clip import Clip
from entclip.policies.softmax import log_softmax
from entclip.prediction.meanfield import predict
from entclip.rewards.advantage import GroupRelative
from entclip.rewards.reward import Bernoulli
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.contexts import geometries
from tests.objectives.one_update import GROUPS, TABLE, one_update
from tests.properties.oracle import complex_entropy
from tests.tolerances import SIGMAS

OLD = log_softmax(np.array([1.2, 0.3, -0.4, 0.9]))
MOVE = np.array([0.35, -0.5, 0.2, -0.3])
P, STEP = 0.3, 1e-20
RULES: dict[str, Objective] = {
    "qae": objective("qae", quantile=0.4, low=0.2, high=0.25),
    "leave_one_out": objective("leave_one_out", low=0.2, high=0.25),
    "gapo": objective("gapo", low=0.2, high=0.9, group=3),
}


def advantage_by_hand(kind: str, rewards: tuple[float, ...]) -> np.ndarray:
    """Each paper's advantage of a group, from its text."""
    r, size = np.array(rewards), len(rewards)
    if kind == "qae":
        return r - sorted(rewards)[int(np.ceil(0.4 * size)) - 1]
    if kind == "leave_one_out":
        return np.array([x - (r.sum() - x) / (size - 1) for x in r])
    return r - r.mean()


def slope_by_hand(member: Objective, geometry: str) -> float:
    """The entropy's slope along the mean step of groups of three, every reward of which is listed: no theory of entclip's."""
    logits, old, size = OLD + MOVE, np.exp(OLD), 3
    pi = np.exp(log_softmax(logits))
    ratio, gradient = pi / old, np.zeros(4)
    for rewards in itertools.product((0.0, 1.0), repeat=size):
        chance = np.prod([P if x else 1 - P for x in rewards])
        a = advantage_by_hand(member.kind, rewards)[0]  # of the first: its members are alike
        high = member.high
        if member.kind == "gapo":
            high = member.low + (member.high - member.low) * (size - sum(rewards)) / (size - 1)
        kept = ratio <= 1 + high if a > 0 else ratio >= 1 - member.low
        weight = chance * old * ratio * a * kept
        gradient += weight - pi * weight.sum()
    step = gradient / pi if geometry == "natural" else gradient
    return float(complex_entropy(logits + 1j * STEP * step).imag / STEP)


@geometries
@pytest.mark.parametrize("name", RULES)
def test_first_order_of_rules_for_groups(name: str, geometry: Any) -> None:
    def slope(member: Objective) -> float:
        terms = expected_entropy_drift(
            SoftmaxPolicy(OLD + MOVE),
            Clip(),
            Bernoulli(P),
            old_policy=SoftmaxPolicy(OLD),
            learning_rate=1.0,
            geometry=geometry,
            advantage=GroupRelative(3),
            objective=member,
        )
        return float(terms.total)

    assert abs(slope(RULES[name]) - slope_by_hand(RULES[name], geometry)) <= 1e-8
    assert abs(slope(Clip(0.2, 0.25)) - slope_by_hand(RULES[name], geometry)) > 1e-4, "falsifier: the clip"


@geometries
def test_gapo_against_every_outcome_of_groups_of_three(geometry: str) -> None:
    """Widths .3 and .2 as one and two of three are right (with none or three all advantages are 0); a ratio of 1.25."""
    setting = {"reward": {"kind": "bernoulli", "p": 0.4}, "advantage": {"kind": "group", "size": 3}}
    move = {"perturbation": {"law": "array", "values": [0.4, -0.25, 0.25, -0.3]}}
    update = {"geometry": geometry, "learning_rate": 0.3, "batch": 3, "minibatches": 1, "rollouts": 1}
    gapo = objective("gapo", low=0.1, high=0.3, group=3)
    found = run(one_update(geometry, setting | move, gapo, update=update), "exact").summary()["arms"]["a"]
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    assert all(abs(found[part] - found[f"expected_{part}"]) <= room for part in PARTS)
    narrow, wide = (
        run(one_update(geometry, setting | move, Clip(0.1, high), update=update), "exact").summary()["arms"]["a"]["clip_high"]
        for high in (0.1, 0.3)
    )
    assert len({round(x, 9) for x in (narrow, wide, found["clip_high"])}) == 3, "the widths differ from group to group"


SOURCES = {
    "steer": objective("steer", lambda_min=0.5, low=0.1, high=0.15),
    "steer_linear": objective("steer", mode="linear", lambda_min=0.5, lambda_max=1.4, low=0.1, high=0.15),
    "clip_cov": objective("clip_cov", ratio=0.2, lower=0.02, upper=0.6, low=0.2, high=0.3),
    "kl_cov": objective("kl_cov", ratio=0.3, coefficient=0.1),
    "clip_v": objective("clip_v", mu=0.1, max_fraction=0.1, low=0.1, high=0.15),
    "bapo": objective("bapo", target=0.6, low=0.3, low_end=0.05, low_step=0.05, high=0.05, high_end=0.3, high_step=0.05),
    "adapo": objective("adapo", gain=0.5, low=0.1, high=0.1),
}


def two_updates(geometry: str, member: Objective, **changes: Any) -> Any:
    update = {"geometry": geometry, "learning_rate": 0.4, "batch": 2, "minibatches": 2, "rollouts": 1}
    spec = {"policy": {"kind": "zipf", "vocab": 3}, "arm": [{"name": "a", "objective": member}], "update": update}
    return parse_experiment(spec | GROUPS | changes)


@geometries
@pytest.mark.parametrize("source", ["policies", "previous"])
@pytest.mark.parametrize("name", SOURCES)
def test_statistics_known_before_the_samples_have_exact_expectations(name: str, source: Any, geometry: str) -> None:
    """T17: two minibatches of every outcome; statistics of the policies, and of the minibatch before."""
    member = replace(SOURCES[name], source=source)
    found = run(two_updates(geometry, member), "exact").summary()["arms"]["a"]
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    assert all(abs(found[part] - found[f"expected_{part}"]) <= room for part in PARTS)
    none = run(two_updates(geometry, objective("none")), "exact").summary()["arms"]["a"]
    assert any(abs(found[part] - none[f"expected_{part}"]) > 1e3 * room for part in PARTS), "falsifier"


CERTAIN = {
    "random_drop": objective("random_drop", drop_pos=1.0, drop_neg=0.1),
    "clip_cov": objective("clip_cov", ratio=1.0, lower=0.02, upper=0.6),
}


@geometries
@pytest.mark.parametrize("name", CERTAIN)
def test_what_a_sample_would_have_done_that_is_always_dropped_is_booked(name: str, geometry: str) -> None:
    """Of the first update of every outcome: unclipped is that of no objective at all, and the drop is `other`."""
    learned = {"kind": "table", "values": [1.0, 0.0, 0.5]}
    update = two_updates(geometry, CERTAIN[name]).update.model_dump() | {"minibatches": 1}
    found, none = (
        run(two_updates(geometry, member, update=update, reward=learned), "exact").summary()["arms"]["a"]
        for member in (CERTAIN[name], objective("none"))
    )
    assert abs(found["unclipped"] - none["unclipped"]) <= 1e-12
    assert abs(found["expected_unclipped"] - none["unclipped"]) <= 1e-12
    assert abs(found["other"]) > 1e-4, "something is dropped"
    assert abs(found["other"] - found["expected_other"]) <= 1e-12


@pytest.mark.parametrize("engine", ["exact", "sampled"])
@pytest.mark.parametrize("name", SOURCES)
def test_statistics_of_the_same_batch_have_none(name: str, engine: str) -> None:
    member = replace(SOURCES[name], source="batch")
    if (name, engine) == ("clip_cov", "exact"):
        with pytest.raises(SpecError, match="'clip_cov' drops before it knows the minibatch"):
            run(two_updates("natural", member), engine)
        return
    found = run(two_updates("natural", member, replicas=16), engine).summary()["arms"]["a"]
    assert {found[f"expected_{part}"] for part in PARTS} == {None}


@pytest.mark.statistical
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "clip_cov"])
def test_the_same_batch_on_samples_is_that_of_every_outcome(name: str) -> None:
    """Means of 4,096 replicas within five standard errors of what the exact engine lists for statistics of the same batch."""
    member = replace(SOURCES[name], source="batch")
    exact = run(two_updates("natural", member), "exact").summary()["arms"]["a"]
    drawn = run(two_updates("natural", member, replicas=4096)).summary()["arms"]["a"]
    for part in ("clip_low", "clip_high", "other", "measured"):
        assert abs(drawn[part] - exact[part]) <= SIGMAS * drawn[f"{part}_se"] + 1e-13, part


@pytest.mark.parametrize("mode", ["exponential", "linear"])
def test_steer_weighs_the_largest_least(mode: Any) -> None:
    """By hand: lambda_min for the largest |Omega| of the samples, whatever the scale of A; one number where all are the same."""
    member = objective("steer", mode=mode, lambda_min=0.5, lambda_max=1.5, low=1, high=float("inf"))
    old = np.array([[[0.6, 0.3, 0.1]]])
    size = np.abs((1 - old) * (np.log(old) - np.sum(old * np.log(old))))[0, 0]
    place = size / size.max() if mode == "exponential" else (size - size.min()) / np.ptp(size)
    expected = 0.5**place if mode == "exponential" else 1.5 - place
    for scale in (1.0, 10.0):
        view = View.of(np.log(old), np.log(old), {"entropy"})
        view = replace(view, advantage=scale * np.array([1.0, -1.0]).reshape(2, 1, 1, 1))
        numbers = member.statistics(view, np.broadcast_to(old / 2, (2, 1, 1, 3)))
        change = member.change(replace(view, statistics=numbers))
        np.testing.assert_allclose(change.gains.plus[0, 0, 0], expected, rtol=1e-12)
        np.testing.assert_allclose(change.gains.minus[0, 0, 0], expected, rtol=1e-12)
    same = member.change(replace(view, statistics=numbers | dict.fromkeys(("largest", "smallest"), np.float64(10 * size[1]))))
    assert same.gains.plus[0, 0, 0, 1] == pytest.approx(0.5 if mode == "exponential" else 1.5)


def test_cde_gives_wrong_answers_of_reward_0_nothing() -> None:
    """With 0/1 rewards the weight of a wrong answer is A less the mean bonus, the same for all actions."""
    member = objective("cde", omega=1, kappa=2, alpha=0.2, low=1, high=float("inf"))
    old = np.exp(OLD)
    values = np.array([-P, 1 - P]).reshape(2, 1)
    view = View(np.ones(4), old, OLD, advantage=values, rewards=np.array([[0.0], [1.0]]), chances=np.array([[1 - P], [P]]))
    extra = member.change(view).extra_plus
    assert np.ptp(extra[0]) == pytest.approx(0, abs=1e-15)
    assert np.ptp(extra[1]) > 0.1
    assert np.sum(old * (extra[0] * (1 - P) + extra[1] * P)) == pytest.approx(0, abs=1e-15), "less its mean"
    assert np.max(extra[1]) - extra[0, 0] <= 0.5 + 1e-12, "at most |R|/kappa"


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("qae", {"advantage": {"kind": "independent"}}, "'qae': it compares rewards of a group"),
        ("qae", {"reward": {"kind": "gaussian"}}, "'qae': no quantile of a group of reward.kind = 'gaussian'"),
        ("leave_one_out", {"advantage": {"kind": "independent"}}, "'leave_one_out': it compares rewards of a group"),
        (
            "leave_one_out",
            {"advantage": {"kind": "group", "size": 2, "scale": "std"}},
            "no scale, but advantage.scale = 'std'",
        ),
        ("gapo", {}, "'gapo': it reads the number of right answers off the advantage: .* size = 3"),
        ("cde", {}, "'cde': its baseline is the exact mean"),
        ("steer", {"reward": {"kind": "gaussian"}}, "'steer' looks at the advantage value by value, but .* is continuous"),
    ],
)
def test_settings_that_do_not_fit(name: str, changes: dict[str, Any], message: str) -> None:
    member = RULES.get(name) or SOURCES.get(name) or objective(name)
    with pytest.raises(SpecError, match=message):
        run(two_updates("natural", member, **changes))


@pytest.mark.parametrize("engine", ["reduced", "tokens"])
def test_engines_without_values_say_so(engine: str) -> None:
    with pytest.raises(SpecError, match=r"'steer' looks at .*the advantage value by value.* use the engine sampled or exact"):
        run(two_updates("natural", SOURCES["steer"]), engine)
    with pytest.raises(SpecError, match=r"'qae' looks at rewards, which it makes into advantages .*, which predict does not"):
        predict(two_updates("natural", RULES["qae"]))


@pytest.mark.statistical
@pytest.mark.parametrize("engine", ["sampled", "reduced", "tokens"])
@pytest.mark.parametrize("name", ["qae", "leave_one_out"])
def test_rules_for_groups_on_every_engine_that_serves_them(name: str, engine: str) -> None:
    """Residuals within five standard errors, and the theory of the group's mean is rejected."""
    update = {"geometry": "natural", "learning_rate": 0.1, "batch": 16, "minibatches": 4, "rollouts": 1}
    changes = {"advantage": {"kind": "group", "size": 4}, "update": update, "replicas": 512}
    found = run(two_updates("natural", RULES[name], **changes), engine).summary()["arms"]["a"]
    mean = run(two_updates("natural", Clip(0.2, 0.25), **changes), engine).summary()["arms"]["a"]
    for part in ("unclipped", "clip_low", "clip_high", "curvature"):
        assert abs(found[part] - found[f"expected_{part}"]) <= SIGMAS * found[f"residual_{part}_se"] + 1e-13, part
    off = [
        abs(found[part] - mean[f"expected_{part}"]) > SIGMAS * found[f"residual_{part}_se"] for part in ("curvature", "clip_high")
    ]
    assert any(off), "falsifier"


def test_independent_rewards_of_a_table_have_values_of_their_own_in_each_context() -> None:
    """Two contexts whose means differ: the enumerated update of both is the theory's."""
    policy = {"kind": "dirichlet", "vocab": 4, "contexts": 2}
    update = {"geometry": "natural", "learning_rate": 0.3, "batch": 1, "minibatches": 1, "rollouts": 1}
    changes = {"policy": policy, "advantage": {"kind": "independent"}, "update": update}
    for name in ("steer", "clip_cov"):
        found = run(one_update("natural", TABLE, SOURCES[name], **changes), "exact").summary()["arms"]["a"]
        assert all(abs(found[part] - found[f"expected_{part}"]) <= 1e-12 for part in PARTS)
