"""Every kind's parameters at their ends and just beyond, its idle range, and statistics of several replicas at once."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from entclip.objectives.adapo import Adapo
from entclip.objectives.base import Objective, View
from entclip.objectives.catalogue import PUBLISHED, kinds, objective
from entclip.objectives.needs import NEEDS
from entclip.policies.softmax import log_softmax
from tests.family import members

INF = math.inf
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
        [{"target": 0.0}, {"target": 1.0}, {"low_end": 0.0}, {"low_end": 0.4}, {"high_end": 0.2}],
        [
            {"target": -0.1},
            {"target": 1.1},
            {"low_end": -0.1},
            {"low_end": 0.5},
            {"high_end": 0.1},
            {"high_end": INF},
            {"low_step": 0.0},
            {"high_step": 0.0},
        ],
    ),
    "calibrl": (
        [{"coefficient": 0.0}, {"slope": 0.0}],
        [{"coefficient": -0.1}, {"slope": -0.1}, {"expert": 0.0}, {"expert": 1.0}],
    ),
    "cde": ([{"omega": 0.0}, {"alpha": 0.0}], [{"omega": -0.1}, {"alpha": -0.1}, {"kappa": 0.0}, {"kappa": INF}]),
    "ce_gppo": ([{"beta_low": 0.0}, {"beta_high": 0.0}], [{"beta_low": -0.1}, {"beta_high": -0.1}]),
    "cispo_trl": ([{"high": INF}], [{"high": 0.0}]),
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
    "gapo": ([{"high": 0.2}, {"group": 2}], [{"high": 0.1}, {"high": INF}, {"group": 1}]),
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
    "steer": ([{"lambda_min": 1.0}, {"cap": INF}], [{"lambda_min": 0.0}, {"lambda_min": 1.1}, {"cap": 1.0}]),
    "truncated_weights": ([{"cap": INF}], [{"cap": 0.0}]),
    "w_reinforce": ([{"lambda_pos": 0.0}, {"lambda_neg": 0.0}], [{"lambda_pos": -0.1}, {"lambda_neg": -0.1}]),
}
OF_THEIR_OWN = {"gmpo", "cispo_trl"}  # their low and high are no widths of ratios about 1


def test_parameters_at_their_ends_and_just_beyond() -> None:
    for kind in PUBLISHED:
        allowed, refused = ENDS.get(kind, ([], []))
        names = {f.name for f in fields(kinds()[kind])}
        if {"low", "high"} <= names and kind not in OF_THEIR_OWN:
            refused = [*refused, {"low": 1.1}, {"low": -0.1}, {"high": -0.1}]
            allowed = [*allowed, {"high": INF}] if kind not in ("gapo", "bapo") else allowed
        for given in allowed:
            assert all(getattr(objective(kind, **given), name) == value for name, value in given.items())
        for given in refused:
            with pytest.raises(ValueError, match=next(iter(given)).removesuffix("_pos").removesuffix("_neg")):
                objective(kind, **given)
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
    numbers = {"temperature": 1.0, "coefficient": 0.0} | {name: getattr(member, field) for name, field in nearest.items()}
    one = np.ones((1, 1))
    return View(ratio, np.full((1, 2), old), log_probs, one, one, numbers, log_probs, 1e-9 * one[None], one[None], one[None])


def test_no_ratio_beyond_the_idle_range_is_idle_for_all_actions() -> None:
    """The bounds of the range are inside it; a part in 10^8 further out the gain of an action of some probability changes."""
    seen = 0
    for name, member in members(0.2, NEEDS.keys()).items():
        low, high = member.idle
        if math.isnan(low):
            continue
        seen += 1
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
    assert seen > 20


def replicas(member: Objective, some: slice) -> dict[str, np.ndarray]:
    """Statistics of some of three replicas of two contexts with four actions, advantages of three values."""
    rng = np.random.default_rng(12)
    log_probs, old = log_softmax(rng.normal(size=(2, 3, 2, 4)))
    chances, weights = rng.dirichlet(np.ones(3), (3, 2, 4)).transpose(3, 0, 1, 2), rng.dirichlet(np.ones(2), 3)
    advantage = rng.normal(size=(3, 3, 2, 1))
    view = View.of(log_probs[some], old[some], member.needs)
    share = weights[:, :, None] * np.exp(old)
    if "levels" not in member.needs:
        return member.statistics(view, share[some])
    view = replace(view, advantage=advantage[:, some], rewards=advantage[:, some], chances=chances[:, some])
    return member.statistics(view, (chances * share)[:, some])


def test_replicas_have_statistics_of_their_own() -> None:
    seen = 0
    for name, member in members(0.2, NEEDS.keys()).items():
        if "statistics" not in member.needs:
            continue
        seen += 1
        whole = replicas(member, slice(None))
        for r in range(3):
            alone = replicas(member, slice(r, r + 1))
            assert alone.keys() == whole.keys()
            for number, value in whole.items():
                assert value.shape == (3,), name
                assert value[r] == pytest.approx(alone[number][0], rel=1e-12), name
    assert seen > 8


def test_adapo_stays_between_its_ends() -> None:
    for target, want in ((0.0, 0.1), (50.0, 0.7)):
        given: dict[str, Any] = {"target": target, "gain": 100.0, "least": 0.1, "most": 0.7}
        assert replicas(Adapo(**given), slice(None))["high"].tolist() == [want] * 3
