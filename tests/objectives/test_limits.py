"""Every kind's parameters at their ends and just beyond, its idle range, and statistics of several replicas at once."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from entclip.objectives.adapo import Adapo
from entclip.objectives.aepo import Aepo
from entclip.objectives.aer import Aer
from entclip.objectives.bapo import Bapo
from entclip.objectives.base import Change, Objective, View
from entclip.objectives.catalogue import PUBLISHED, kinds, objective
from entclip.objectives.needs import NEEDS
from entclip.policies.softmax import log_softmax
from entclip.rewards.advantage import LARGEST_GROUP
from tests.family import members

INF = math.inf
# BAPO's steps that make exactly as many pairs of widths as are tried, 8,192 of low and 1,808 of high
MANY = {"low": 1.0, "low_end": 0.5, "low_step": 2.0**-14, "high": 0.0, "high_end": 1808 / 1024, "high_step": 2.0**-10}
# By kind: what is still allowed, and what no longer is, each refused by the name of its first parameter.
ENDS: dict[str, tuple[list[dict[str, float]], list[dict[str, float]]]] = {
    "abc_grpo": ([], [{"low_pos": 1.1}, {"high_pos": -0.1}, {"low_neg": 1.1}, {"high_neg": -0.1}]),
    "adapo": (
        [{"target": 0.0}, {"gain": 0.0}, {"least": 0.0, "most": 0.0}],
        [{"target": -0.1}, {"gain": -0.1}, {"least": -0.1}, {"least": 0.5, "most": 0.4}, {"most": INF}],
    ),
    "aepo": (
        [{"coefficient": 0.0}, {"target": 0.0}, {"cold": 1.0, "hot": 1.0}],
        [{"coefficient": -0.1}, {"target": -0.1}, {"cold": 0.0}, {"cold": 1.3}, {"hot": INF}],
    ),
    "aer": ([{"coefficient": 0.0}, {"target": 0.0}], [{"coefficient": -0.1}, {"target": -0.1}]),
    "bapo": (
        [{"target": 0.0}, {"target": 1.0}, {"low_end": 0.0}, {"low_end": 0.4}, {"high_end": 0.2}, MANY],
        [
            {"target": -0.1},
            {"target": 1.1},
            {"low_end": -0.1},
            {"low_end": 0.5},
            {"high_end": 0.1},
            {"high_end": INF},
            {"low_step": 0.0},
            {"high_step": 0.0},
            {"low_step": INF},
            {"high_step": INF},
            {"low_step": 2.0**-14, **MANY, "high_end": 1809 / 1024},
        ],
    ),
    "calibrl": (
        [{"coefficient": 0.0}, {"slope": 0.0}],
        [{"coefficient": -0.1}, {"slope": -0.1}, {"expert": 0.0}, {"expert": 1.0}],
    ),
    "cde": ([{"omega": 0.0}, {"alpha": 0.0}, {"kappa": 0.5}], [{"omega": -0.1}, {"alpha": -0.1}, {"kappa": 0.0}, {"kappa": INF}]),
    "ce_gppo": ([{"beta_low": 0.0}, {"beta_high": 0.0}], [{"beta_low": -0.1}, {"beta_high": -0.1}]),
    "cispo_trl": ([{"high": INF}, {"high": 0.5}], [{"high": 0.0}]),
    "clip_b": ([{"mu": 0.0}], [{"mu": -0.1}]),
    "clip_cov": (
        [{"ratio": 0.0}, {"ratio": 1.0}],
        [{"ratio": -0.1}, {"ratio": 1.1}, {"lower": 2.0, "upper": 2.0}],
    ),
    "clip_v": ([{"mu": 0.0}, {"max_fraction": 1.0}], [{"mu": -0.1}, {"max_fraction": 0.0}, {"max_fraction": 1.1}]),
    "dppo_kl": ([{"delta": 0.0}], [{"delta": -0.1}]),
    "dppo_tv": ([{"delta": 0.0}, {"delta": 1.0}], [{"delta": -0.1}, {"delta": 1.1}]),
    "dual_clip": ([{"cap": INF}], [{"cap": 1.0}]),
    "entropic": (
        [{"alpha": -1.0}, {"alpha": 1.0}],
        [{"alpha": -1.1}, {"alpha": 1.1}, {"threshold": 0.0}, {"threshold": 1.0}],
    ),
    "entropy_bonus": ([{"coefficient": -2.0}, {"coefficient": 0.0}], [{"coefficient": INF}]),
    "erc": ([{"entropy_low": 0.0}], [{"entropy_low": -0.1}, {"entropy_low": 1.0}, {"entropy_high": 1.0}]),
    "flexible": (
        [{"low": 0.25, "low_slope": -0.25}, {"low": 0.25, "low_slope": 0.75}, {"high": 0.25, "high_slope": -0.25}],
        [{"low_slope": -0.31}, {"low_slope": 0.71}, {"high_slope": -0.51}, {"high_slope": INF - INF}],
    ),
    "gapo": ([{"high": 0.2}, {"group": 2}, {"group": LARGEST_GROUP}], [{"high": 0.1}, {"high": INF}, {"group": 1}]),
    "gmpo": ([{"low": 0.0}, {"high": 0.0}, {"low": INF, "high": INF}], [{"low": -0.1}, {"high": -0.1}]),
    "high_entropy_mask": ([{"share": 1.0}], [{"share": 0.0}, {"share": 1.1}]),
    "kl_cov": ([{"ratio": 1.0}, {"coefficient": 0.0}], [{"ratio": 0.0}, {"ratio": 1.1}, {"coefficient": -0.1}]),
    "parl": ([{"coefficient": 0.0}], [{"coefficient": -0.1}]),
    "positive_weight": ([{"lambda_pos": 0.0}], [{"lambda_pos": -0.1}]),
    "qae": ([], [{"quantile": 0.0}, {"quantile": 1.0}]),
    "random_drop": (
        [{"drop_pos": 0.0, "drop_neg": 0.0}, {"drop_pos": 1.0, "drop_neg": 1.0}],
        [{"drop_pos": -0.1}, {"drop_pos": 1.1}, {"drop_neg": -0.1}, {"drop_neg": 1.1}],
    ),
    "reference_kl": ([{"coefficient": 0.0}], [{"coefficient": -0.1}]),
    "repo": ([{"coefficient": 0.0}], [{"coefficient": -0.1}]),
    "repo_r": ([{"zeta": 0.0}], [{"zeta": -0.1}]),
    "ripo": ([{"delta": 0.0}], [{"delta": -0.1}]),
    "sapo": ([{"tau_pos": 1e-9, "tau_neg": 1e-9}], [{"tau_pos": 0.0}, {"tau_neg": 0.0}, {"tau_pos": INF}]),
    "sapo_trinity": ([{"tau_pos": 1e-9, "tau_neg": 1e-9}], [{"tau_pos": 0.0}, {"tau_neg": 0.0}, {"tau_pos": INF}]),
    "steer": (
        [{"lambda_min": 1.0}, {"lambda_max": 0.8}, {"cap": INF}, {"cap": 1.5}],
        [{"lambda_min": 0.0}, {"lambda_min": 1.1}, {"lambda_max": 0.7}, {"lambda_max": INF}, {"cap": 1.0}],
    ),
    "truncated_weights": ([{"cap": INF}, {"cap": 0.5}], [{"cap": 0.0}]),
    "w_reinforce": ([{"lambda_pos": 0.0}, {"lambda_neg": 0.0}], [{"lambda_pos": -0.1}, {"lambda_neg": -0.1}]),
}
LEVELLED = ("advantage", "rewards", "chances")  # of a view: their first axis is that of values
OF_THEIR_OWN = {"gmpo", "cispo_trl"}  # their low and high are no widths of ratios about 1


@pytest.mark.parametrize("kind", PUBLISHED)
def test_parameters_at_their_ends_and_just_beyond(kind: str) -> None:
    allowed, refused = ENDS.get(kind, ([], []))
    names = {f.name for f in fields(kinds()[kind])}
    if {"low", "high"} <= names and kind not in OF_THEIR_OWN:
        refused = [*refused, {"low": 1.1}, {"low": -0.1}, {"high": -0.1}]
        allowed = [*allowed, {"high": INF}] if kind not in ("gapo", "bapo") else allowed
    for given in allowed:
        assert all(getattr(objective(kind, **given), name) == value for name, value in given.items())
    for given in refused:
        with pytest.raises(ValueError, match=rf"{kind}(\.| .* ){next(iter(given))} "):
            objective(kind, **given)


def test_the_table_of_ends_is_whole() -> None:
    numbers = {
        kind for kind in PUBLISHED for f in fields(kinds()[kind]) if "float" in str(f.type) and f.name not in ("low", "high")
    }
    assert numbers <= ENDS.keys(), "a new kind's parameters have ends, too"


def whole_view(member: Objective, ratio: np.ndarray, old: float) -> View:
    """One context of two actions with all that a member may look at; statistics as they are where its bounds are nearest.

    Both actions have the probability `old` now, too: widths may go by either.
    """
    log_probs = np.full((1, 2), math.log(old))
    nearest = {"adapo": {"high": "least"}, "bapo": {"low": "low_end", "high": "high"}}.get(member.kind, {})
    numbers = {"temperature": 1.0, "strength": 0.0, "coefficient": 0.0}
    numbers |= {name: getattr(member, field) for name, field in nearest.items()}
    one = np.ones((1, 1))
    return View(ratio, np.full((1, 2), old), log_probs, one, one, numbers, log_probs, 1e-9 * one[None], one[None], one[None])


EVERY = members(0.2, NEEDS.keys())
EVERY["steer_linear"] = replace(EVERY["steer"], mode="linear")  # type: ignore[type-var]
IDLE = {name: member for name, member in EVERY.items() if not math.isnan(member.idle[0])}
COUNTING = {name: member for name, member in EVERY.items() if "statistics" in member.needs}
APART = {name: member for name, member in EVERY.items() if "prefixes" not in member.needs}


def test_no_kind_has_lost_its_facts() -> None:
    assert len(IDLE) > 20
    assert len(COUNTING) > 8
    for member in EVERY.values():
        assert {type(member.hard), type(member.by_ratio), type(member.pushes_at_zero)} == {bool}, member.kind


@pytest.mark.parametrize("name", IDLE)
def test_no_ratio_beyond_the_idle_range_is_idle_for_all_actions(name: str) -> None:
    """The bounds of the range are inside it; a part in 10^8 further out the gain of an action of some probability changes."""
    member = IDLE[name]
    low, high = member.idle
    assert 0 <= low < 1 < high, name
    for side, (bound, step) in enumerate(((low, -1e-8), (high, 1e-8))):
        if not 0 < bound < INF:
            continue
        for moved, touched in ((0.0, False), (step, True)):
            ratio = np.ones((1, 2))
            ratio[0, side] = bound * (1 + moved)
            changes = [member.change(whole_view(member, ratio, old)) for old in (1e-12, 0.5, 1.0)]
            found = [bool(np.any(c.low | c.high) or np.any(c.gains.plus != 1) or np.any(c.gains.minus != 1)) for c in changes]
            assert any(found) is touched, (name, side, moved)


def views(member: Objective) -> tuple[View, np.ndarray]:
    """Three replicas of two contexts with four actions, advantages of five values, and the shares of samples."""
    rng = np.random.default_rng(12)
    log_probs, old = log_softmax(rng.normal(size=(2, 3, 2, 4)))
    chances, weights = rng.dirichlet(np.ones(5), (3, 2, 4)).transpose(3, 0, 1, 2), rng.dirichlet(np.ones(2), 3)
    advantage, reference = rng.normal(size=(5, 3, 2, 1)), log_softmax(rng.normal(size=(3, 2, 4)))
    view = View.of(log_probs, old, member.needs, reference=reference)
    share = weights[:, :, None] * np.exp(old)
    if "sequence" in member.needs:  # the last axis holds tokens
        view = replace(view, share=rng.dirichlet(np.ones(4), (3, 2)))
    if "levels" not in member.needs:
        return view, share
    return replace(view, advantage=advantage, rewards=advantage, chances=chances), chances * share


def part(view: View, *some: slice) -> View:
    """Some replicas, and some contexts, of a view."""
    rows = {name: x if x is None else x[some] for name, x in vars(view).items() if name not in ("statistics", *LEVELLED)}
    levels = {name: x if (x := getattr(view, name)) is None else x[:, *some] for name in LEVELLED}
    return View(**rows, **levels, statistics={name: x[some[:1]] for name, x in view.statistics.items()})


def replicas(member: Objective, some: slice) -> dict[str, np.ndarray]:
    """Statistics of some replicas."""
    view, share = views(member)
    return member.statistics(part(view, some), share[:, some] if "levels" in member.needs else share[some])


def updated(member: Objective) -> View:
    """The view with the statistics of its replicas."""
    view, share = views(member)
    if "statistics" not in member.needs:
        return view
    return replace(view, statistics={name: x[:, None, None] for name, x in member.statistics(view, share).items()})


def arrays(change: Change) -> dict[str, np.ndarray]:
    """Every array of a change that has numbers, by name."""
    found = dict(change.gains._asdict())
    found |= {name: x for name in ("extra_plus", "extra_minus") if (x := getattr(change, name)) is not None}
    found |= {} if change.survival is None else {f"kept_{name}": x for name, x in change.survival._asdict().items()}
    return found | dict(change.bonus)


@pytest.mark.parametrize("name", APART)
def test_contexts_have_changes_of_their_own(name: str) -> None:
    """Of all members but those that follow sequences from prefix to prefix, together and one context at a time."""
    member = APART[name]
    view = updated(member)
    whole, shape = member.change(view), view.ratio.shape
    lead = (slice(None),) if "levels" in member.needs else ()
    for r, s in itertools.product(range(3), range(2)):
        place = slice(r, r + 1), slice(s, s + 1)
        alone = member.change(part(view, *place))
        pairs = [(x, arrays(whole)[key]) for key, x in arrays(alone).items()]
        pairs += zip((alone.low, alone.high, *alone.jumps), (whole.low, whole.high, *whole.jumps), strict=True)
        for one, of_all in pairs:
            full = np.broadcast_to(of_all, (5, *shape) if lead and of_all.ndim == 4 else shape)
            np.testing.assert_allclose(one, full[(*lead, *place) if full.ndim == 4 else place], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", APART)
def test_float32_stays_float32_whatever_a_member_needs(name: str) -> None:
    def narrow(x: Any) -> Any:
        return x.astype(np.float32) if isinstance(x, np.ndarray) else {key: narrow(y) for key, y in x.items()} if x else x

    member = APART[name]
    view = View(**{key: narrow(x) for key, x in vars(updated(member)).items()})
    kinds_of = {key: x.dtype for key, x in arrays(member.change(view)).items()}
    assert set(kinds_of.values()) == {np.dtype(np.float32)}, (name, kinds_of)


# (hard, by_ratio) of those whose gains need more than a ratio and a probability; the changes of the others show theirs.
FACTS = {
    **dict.fromkeys(("erc", "reference_kl", "parl", "adapo", "aer", "entropy_bonus", "qae", "leave_one_out"), (True, True)),
    **dict.fromkeys(("clip_b", "gspo", "gapo", "clip_v", "bapo", "aepo"), (True, False)),
    **dict.fromkeys(("random_drop", "high_entropy_mask"), (False, True)),
    **dict.fromkeys(("repo", "gmpo", "steer", "clip_cov", "kl_cov", "cde"), (False, False)),
}


def test_every_member_that_needs_more_has_its_facts() -> None:
    assert FACTS.keys() | {"steer_linear"} == {name for name, member in EVERY.items() if member.needs}


@pytest.mark.parametrize("name", FACTS)
def test_no_fact_is_denied_by_a_change(name: str) -> None:
    """A hard member has gains of 0 and 1 and no extra weights in contexts unlike each other, or at all prefixes of two tokens."""
    member = EVERY[name]
    tree = View.of(*log_softmax(np.random.default_rng(6).normal(size=(2, 3, 2))))
    change = member.change(tree if "prefixes" in member.needs else updated(member))
    coins = change.extra_plus is None and all(np.all((x == 0) | (x == 1)) for x in change.gains)
    assert coins or not member.hard
    assert (member.hard, member.by_ratio) == FACTS[name]


@pytest.mark.parametrize("name", COUNTING)
def test_replicas_have_statistics_of_their_own(name: str) -> None:
    member = COUNTING[name]
    if member.kind in ("aer", "aepo"):  # a target that some of the replicas are above
        member = replace(member, target={"aer": 1.1, "aepo": 1.2}[member.kind])  # type: ignore[type-var]
        assert all(len(set(y.tolist())) == 2 for y in replicas(member, slice(None)).values())
    whole = replicas(member, slice(None))
    for r in range(3):
        alone = replicas(member, slice(r, r + 1))
        assert alone.keys() == whole.keys()
        for number, value in whole.items():
            assert (value.shape, value.dtype) == ((3,), np.float64), name
            assert value[r] == pytest.approx(alone[number][0], rel=1e-12), name


def test_bapo_takes_the_first_widths_that_reach_its_target() -> None:
    """Against a walk along the path sample by sample, replicas of every kind; ratios on the bounds are kept."""
    path = [(0.4, 0.2), (0.4, 0.4), (0.4, 0.6), (0.3, 0.6), (0.2, 0.6), (0.1, 0.6)]
    given = {"low": 0.4, "low_end": 0.1, "low_step": 0.1, "high": 0.2, "high_end": 0.6, "high_step": 0.2}
    assert np.array(Bapo(**given).path) == pytest.approx(np.array(path), rel=1e-14)
    rng, size = np.random.default_rng(4), (3, 40, 2, 4)
    ratio, old, share = rng.uniform(0.4, 1.7, size[1:]), rng.dirichlet(np.ones(4), size[1:3]), rng.dirichlet(np.ones(24), 40)
    ratio[..., 0], ratio[..., 1] = rng.choice([1.2, 1.4, 1.6], size[1:3]), rng.choice([0.6, 0.7, 0.8], size[1:3])
    share, advantage = share.reshape(40, 3, 2, 4).swapaxes(0, 1), rng.normal(size=(3, 40, 2, 1))
    advantage[0, :5] = 0.0
    view = View(ratio, old, np.log(old), advantage=advantage)
    taken = set()
    for target in (0.3, 0.5, 0.7):
        bapo = Bapo(target=target, **given)
        got = bapo.statistics(view, share)
        for r in range(40):
            for low, high in bapo.path:
                gain = loss = 0.0
                for level, s, a in itertools.product(range(3), range(2), range(4)):
                    push = share[level, r, s, a] * old[r, s, a] * ratio[r, s, a] * advantage[level, r, s, 0]
                    gain += max(push, 0.0) if ratio[r, s, a] <= 1 + high else 0.0
                    loss += max(-push, 0.0) if ratio[r, s, a] >= 1 - low else 0.0
                if gain >= target * (gain + loss):
                    break
            assert (got["low"][r], got["high"][r]) == (low, high)
            taken.add(bapo.path.index((low, high)))
    assert taken == set(range(6)), "every pair of widths is some replica's"
    one = np.ones((1, 1, 1))  # half of the loss is positive, exactly
    even = View(one, one, one, advantage=np.array([1.0, -1.0]).reshape(2, 1, 1, 1))
    found = Bapo(target=0.5, **given).statistics(even, np.full((2, 1, 1, 1), 0.5))
    assert (found["low"].tolist(), found["high"].tolist()) == ([0.4], [0.2])


def test_what_happens_exactly_at_a_target() -> None:
    """AER's bonus is taken at its target, and AEPO is hot there; an advantage of 0 is no right answer."""
    half, one = np.full((1, 1, 1), 0.5), np.ones((1, 1, 2)) / 2
    view = View(one, one, np.log(one), half, half)
    assert Aer(coefficient=0.3, target=0.5).statistics(view, one)["coefficient"].tolist() == [0.3]
    aepo = Aepo(target=0.5)
    assert aepo.statistics(view, one[None])["temperature"].tolist() == [aepo.hot]
    view = replace(view, statistics={"temperature": 1.0, "strength": 0.05})
    nothing = replace(view, advantage=np.zeros((1, 1, 1, 1)), chances=one[None])
    assert not np.any(aepo.change(nothing).bonus["bonus"])


def test_adapo_stays_between_its_ends() -> None:
    for target, want in ((0.0, 0.1), (50.0, 0.7)):
        given: dict[str, Any] = {"target": target, "gain": 100.0, "least": 0.1, "most": 0.7}
        assert replicas(Adapo(**given), slice(None))["high"].tolist() == [want] * 3
