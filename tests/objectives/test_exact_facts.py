"""What single objectives make of numbers exactly on an edge: equal to a bound, to a threshold, to 0, and probabilities of 0."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entclip.objectives.base import Change, Keep, Objective, View, sample_counts, weight
from entclip.objectives.catalogue import objective
from entclip.objectives.cde import Cde
from entclip.objectives.clip import Clip
from entclip.objectives.clip_cov import ClipCov
from entclip.objectives.dppo_kl import _binary_kl as _dppo_kl
from entclip.objectives.drop import split_survivors
from entclip.objectives.erc import Erc
from entclip.objectives.high_entropy_mask import HighEntropyMask
from entclip.objectives.needs import NEEDS
from entclip.objectives.repo import Repo
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.baselines import QuantileBaseline
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher
from tests.family import members
from tests.seen import changed, seen
from tests.tolerances import assert_identity

HARD: list[tuple[str, dict[str, float], bool]] = [
    ("calibrl", {"coefficient": 0}, True),
    ("calibrl", {"coefficient": 1}, False),
    ("repo_r", {"zeta": 0}, True),
    ("repo_r", {"zeta": 1}, False),
    ("entropic", {"alpha": 0}, True),
    ("entropic", {"alpha": 1}, False),
    ("positive_weight", {"lambda_pos": 0}, True),
    ("positive_weight", {"lambda_pos": 1}, True),
    ("positive_weight", {"lambda_pos": 2}, False),
    ("w_reinforce", {"lambda_pos": 0, "lambda_neg": 1}, True),
    ("w_reinforce", {"lambda_pos": 1, "lambda_neg": 1}, True),
    ("w_reinforce", {"lambda_pos": 1, "lambda_neg": 2}, False),
    ("ce_gppo", {"beta_low": 0, "beta_high": 0}, True),
]
PUSHES: list[tuple[str, dict[str, float], bool]] = [
    ("gppo", {"low": 0.99}, True),
    ("gppo", {"low": 1}, False),
    ("cispo", {"low": 0.99}, True),
    ("cispo", {"low": 1}, False),
    ("ce_gppo", {"low": 1}, False),
    ("ce_gppo", {"beta_low": 0}, False),
    ("ce_gppo", {"beta_low": 1, "low": 0.99}, True),
    ("calibrl", {"coefficient": 0}, False),
    ("calibrl", {"coefficient": 0.1}, True),
    ("kl_cov", {"coefficient": 0}, False),
    ("kl_cov", {"coefficient": 0.1}, True),
]


def test_facts_at_parameters_where_they_turn() -> None:
    for kind, given, want in HARD:
        assert objective(kind, **given).hard is want, (kind, given)
    for kind, given, want in PUSHES:
        assert objective(kind, **given).pushes_at_zero is want, (kind, given)
    for kind in ("calibrl", "cde", "clip_b", "clip_v", "entropic", "positive_weight", "repo_r", "w_reinforce"):
        widths = [objective(kind, low=low, high=high).width for low, high in ((0.1, 0.3), (0.4, 0.2), (1, 0.3), (1, math.inf))]
        assert widths == [0.1, 0.2, 0.3, math.inf], kind
    assert Clip().source == "policies"
    assert Clip(0.1, 0.3).widths(np.full(3, 0.2)).tolist() == [pytest.approx(0.1)] * 3


@pytest.mark.parametrize("member", [x for x in members(0.2, NEEDS.keys()).values() if not x.needs], ids=lambda x: x.kind)
def test_no_fact_is_denied(member: Objective) -> None:
    """Of those that look at ratios and probabilities alone: gains of 0 and 1 alone are hard, and equal ones are by ratio."""
    ratio = np.exp(np.linspace(-2, 2, 401))
    changes = [changed(member, ratio, np.full_like(ratio, old)) for old in (1e-6, 0.05, 0.3, 0.9)]
    said = np.array([np.stack([np.broadcast_to(x, ratio.shape) for x in (*c.gains[:2], c.low, c.high)]) for c in changes])
    coins = bool(np.all((said == 0) | (said == 1))) and all(c.extra_plus is None for c in changes)
    assert (member.hard, member.by_ratio) == (coins, bool(np.all(said == said[0])))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", ["repo_r", "ripo", "dppo_kl", "clip_b", "clip_v", "cde"])
def test_an_action_that_underflowed_has_finite_gains(kind: str, dtype: type) -> None:
    """In either precision: the smallest number of the one is 0 in the other."""
    member, old = objective(kind), np.array([[0.0, 0.4, 0.6]], dtype)
    levels: dict[str, Any] = {"advantage": np.full((1, 1, 1), 0.5), "rewards": np.ones((1, 1, 1)), "chances": np.ones((1, 1, 3))}
    levels = {name: x.astype(dtype) for name, x in levels.items()}
    entropy, ratio = np.full((1, 1), 0.67, dtype), np.array([[0.0, 1.1, 0.9]], dtype)
    view = View(ratio, old, np.full((1, 3), -1.0, dtype), entropy, entropy, {"least": -0.1}, **levels)
    change = member.change(view)
    for gains in change.gains:
        assert np.all(np.isfinite(gains))
    if kind == "ripo":
        assert np.all(np.isfinite(member.widths(old)))


class Extra(Clip):
    """Extra weights of either sign beside the clip."""

    def change(self, view: View) -> Change:
        one = np.ones_like(view.ratio)
        return replace(super().change(view), extra_plus=0.3 * one, extra_minus=-0.7 * one)


def test_the_weight_of_a_sample_without_an_advantage_is_nothing() -> None:
    ratio = np.array([1.1, 0.9, 1.05, 0.95])
    got = weight(Extra(), View(ratio, ratio, ratio), np.array([1.0, -1.0, 0.0, 0.5]))
    assert_identity(got, ratio * [1.3, -1.7, 0.0, 0.8], np.full(4, 2.0))
    assert got.dtype == np.float64


def test_what_is_removed_is_counted_by_sign() -> None:
    never = np.zeros(3, bool)
    counts = sample_counts(Change.of(np.array([0.0, 1.0, 2.0]), np.array([1.0, 0.0, 0.5]), never, never), *np.full((2, 3), 4.0))
    assert counts["removed_plus"].tolist() == [4, 0, 0]
    assert counts["removed_minus"].tolist() == [0, 4, 0]


def test_nothing_is_below_a_cap() -> None:
    for kind in ("truncated_weights", "cispo_trl"):
        change = objective(kind).change(View(*np.array([[1e-300, 1.0, 6.0]] * 3)))
        assert (change.low.tolist(), change.high.tolist()) == ([False] * 3, [False, False, True])


def test_no_cap_at_all_leaves_every_ratio() -> None:
    gains = objective("truncated_weights", cap=math.inf).change(View(*np.array([[0.1, 1.0, 1e300]] * 3))).gains
    assert gains.plus.tolist() == gains.minus.tolist() == [1.0] * 3


def test_what_is_equal_to_a_bound_is_on_the_side_that_the_formula_says() -> None:
    at, one = np.full((1, 2), math.log(0.5)), np.ones((1, 2))
    calibrl = objective("calibrl", expert=0.5, slope=0.25, coefficient=0.2).change(View(one, one / 2, at))
    assert calibrl.gains.plus.tolist() == calibrl.gains.minus.tolist() == [[1.05, 1.05]], "neither behind nor ahead"
    assert objective("entropic", alpha=0.3, threshold=0.5).change(View(one, one / 2, at)).gains.plus.tolist() == [[1.0, 1.0]]
    bounds = View(np.array([0.8, 1.2]), *np.full((2, 2), 0.5), advantage=np.array([[-1.0], [1.0]]))
    cde = objective("cde", omega=0.0).change(replace(bounds, rewards=np.ones((2, 1)), chances=np.full((2, 2), 0.5)))
    assert not np.any(cde.low | cde.high)
    entropy = np.full((1, 1), 0.6)
    view = View(one, np.array([[0.3, 0.7]]), at, entropy, entropy)
    push = view.old_probs * (0.6 + np.log(view.old_probs))
    for kind, value in (("clip_b", push), ("clip_v", np.sum(view.old_probs * push) - push)):
        for k in range(2):
            change = objective(kind).change(replace(view, statistics={"least": float(value[0, k])}))
            assert change.gains.minus[0, k] == 1.0, kind


def test_steer_never_goes_below_its_least_factor() -> None:
    """Samples of the minibatch before may have had smaller |Omega|."""
    half = np.full((1, 2), 0.5)
    view = View(np.ones((1, 2)), half, np.log(half), np.zeros((1, 1)), statistics={"largest": 0.02}, advantage=np.ones((1, 1, 1)))
    assert objective("steer", lambda_min=0.6).change(view).gains.plus == pytest.approx(0.6 * np.ones((1, 1, 2)), rel=1e-15)


def test_of_samples_that_are_never_kept_nothing_is_estimated() -> None:
    never, zero, some = np.zeros(2, bool), np.zeros(2), np.array([0.0, 0.3])
    change = Change.of(np.ones(2), np.ones(2), never, never)
    for keep in (Keep(0.0, 0.5), Keep(np.array([0.0, 0.6]), np.full(2, 0.5))):
        plus = zero if isinstance(keep.plus, float) else some
        parts = split_survivors(change, plus, np.array([0.1, 0.2]), keep)
        assert parts["unclipped"].tolist() == ((plus / 0.6) - np.array([0.2, 0.4])).tolist()


def test_erc_keeps_what_is_strictly_within_its_band() -> None:
    entropies = np.array([[0.7], [0.5], [0.5]]), np.array([[0.5], [0.7], [0.5]])
    up, down = (0.7 + 1e-8) / (0.5 + 1e-8), (0.5 + 1e-8) / (0.7 + 1e-8)
    view = View(*np.ones((3, 3, 2)), *entropies)
    assert Erc(entropy_low=down, entropy_high=up).change(view).gains.plus[:, 0].tolist() == [0, 0, 1]


def test_a_context_at_the_threshold_of_the_mask_is_kept() -> None:
    view = View(*np.ones((3, 2, 2)), np.array([[0.5], [0.499]]), statistics={"threshold": 0.5, "kept": 0.25})
    assert HighEntropyMask().change(view).gains.plus.tolist() == [[4.0, 4.0], [0.0, 0.0]]


def test_repo_holds_back_by_the_surprise_beyond_the_entropy() -> None:
    log_probs = np.log([[0.2, 0.8]])
    entropy = -np.sum(np.exp(log_probs) * log_probs, axis=-1, keepdims=True)
    change = Repo(0.2).change(View(np.ones((1, 2)), np.exp(log_probs), log_probs, entropy))
    for extra in (change.extra_plus, change.extra_minus):
        assert_identity(extra, 0.2 * (-log_probs - entropy), np.ones((1, 2)))


def test_candidates_of_clip_cov_are_strictly_within_its_bounds_and_not_clipped() -> None:
    """Cov = A (log pi + 1) here: .5, 1 and 2 for A = 1; a sample with A = 0 is clipped by neither side, wherever its ratio is."""
    member = ClipCov(ratio=0.5, lower=0.5, upper=2.0, low=0.2, high=0.2)
    numbers = {"advantage": 0.0, "log_prob": -1.0, "dropped": 1.0}
    log_probs = np.array([-0.5, 0.0, 1.0, 0.0])
    view = View(np.array([1.0, 1.0, 1.0, 1.5]), *np.ones((2, 4)), statistics=numbers, advantage=np.ones((1, 1)))
    assert member._candidates(replace(view, log_probs=log_probs)).tolist() == [[False, True, False, False]]
    still = replace(
        view, ratio=np.array([0.5, 1.5, 1.0, 1.0]), advantage=np.zeros((1, 1)), statistics=numbers | {"advantage": -1.0}
    )
    assert member._candidates(replace(still, log_probs=np.zeros(4))).tolist() == [[True] * 4]


def test_cde_clips_by_the_sign_of_the_advantage_with_its_bonus() -> None:
    old, ratio = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 1.5, 0.7, 1.0])
    advantage, rewards = np.array([[-0.4], [0.3], [0.05]]), np.array([[-1.0], [1.0], [0.5]])
    chances = np.random.default_rng(3).dirichlet(np.ones(3), 4).T
    member = Cde(omega=1.0, kappa=2.0, alpha=0.2, low=0.2, high=0.2)
    change = member.change(View(ratio, old, np.log(old * ratio), advantage=advantage, rewards=rewards, chances=chances))
    bonus = np.minimum(np.abs(rewards) / 2, -0.2 * np.log(old))
    value = advantage + bonus - np.sum(old * chances * bonus)
    low, high = (value < 0) & (ratio < 0.8), (value > 0) & (ratio > 1.2)
    assert change.low.tolist() == low.tolist()
    assert change.high.tolist() == high.tolist()
    assert np.any(low)
    assert np.any(high)
    assert change.gains.plus.tolist() == (~(low | high)).astype(float).tolist()


def test_gapo_wants_its_own_groups_and_rewards_of_0_and_1() -> None:
    member: Objective = objective("gapo", group=4)
    assert member.advantage_rule(GroupRelative(4), Bernoulli(0.3)) == GroupRelative(4)
    for given, reward in (
        (GroupRelative(3), Bernoulli(0.3)),
        (GroupRelative(4, "std"), Bernoulli(0.3)),
        (Independent(), Bernoulli(0.3)),
        (GroupRelative(4), Rademacher()),
        (GroupRelative(4), Gaussian()),
    ):
        with pytest.raises(ValueError, match="use rewards of 0 and 1"):
            member.advantage_rule(given, reward)


def test_gapo_widens_by_the_share_that_was_wrong() -> None:
    """One right of four: A = 3/4, and the width is the highest; two: A = 1/2, and two thirds of the way; A < 0: low."""
    member = objective("gapo", low=0.2, high=0.5, group=4)
    ratio = np.array([1.19, 1.21, 1.39, 1.41, 1.49, 1.51])
    view = View(ratio, *np.ones((2, 6)), advantage=np.array([[0.75], [0.5], [-0.25]]))
    assert member.change(view).high.astype(int).tolist() == [[0, 0, 0, 0, 0, 1], [0, 0, 0, 1, 1, 1], [0, 1, 1, 1, 1, 1]]


def test_quantiles_are_those_of_the_objective() -> None:
    rule = objective("qae", quantile=0.3).advantage_rule(GroupRelative(4, "std", 0, 0.1), Bernoulli(0.3))
    assert rule == QuantileBaseline(4, "std", 0, 0.1, quantile=0.3)


@pytest.mark.parametrize(("pos", "neg"), [(1.0, 1.8), (1.8, 1.0)])
def test_trinitys_gate_over_the_ratio_has_grown_by_half_at_its_width(pos: float, neg: float) -> None:
    """(4/tau) sigmoid(-tau), which the gate does not fall below, over r = 1 - width is 3/2 of 2/tau for the smaller tau."""
    width, tau = objective("sapo_trinity", tau_pos=pos, tau_neg=neg).width, min(pos, neg)
    assert 4 / tau / (1 + math.exp(tau)) / (1 - width) == pytest.approx(3 / tau)


def four_samples(scale: float = 1.0) -> tuple[View, np.ndarray]:
    """Two replicas with four equally likely samples of A = -1 and different probabilities, the second's the other way round."""
    old = np.array([0.1, 0.2, 0.3, 0.4])
    rows = np.stack([old, old[::-1]])[:, None]
    entropy = np.full((2, 1, 1), float(-old @ np.log(old)))
    view = View(np.ones((2, 1, 4)), rows, np.log(rows), entropy, entropy, advantage=-scale * np.ones((1, 2, 1, 1)))
    return view, np.full((1, 2, 1, 4), 0.25)


def test_a_share_of_exactly_one_sample_is_that_sample() -> None:
    """Thresholds of KL-Cov (largest covariances, at any scale) and of Clip-V (largest D) hold just as many as the share says.

    A tenth of the samples has A > 0, and their covariances, 1.8 (log pi - mean), are the largest for the two likeliest actions.
    """
    for scale in (1.0, 1e-8):
        view, share = four_samples(scale)
        view = replace(view, advantage=scale * np.array([1.0, -1.0]).reshape(2, 1, 1, 1))
        both = np.concatenate([share, share]) * np.array([0.1, 0.9]).reshape(2, 1, 1, 1)
        member = objective("kl_cov", ratio=0.05)
        numbers = member.statistics(view, both)
        cov = (view.advantage - numbers["advantage"][:, None, None]) * (view.log_probs - numbers["log_prob"][:, None, None])
        for r in range(2):
            assert [int(np.sum(cov[k, r] >= numbers["threshold"][r])) for k in range(2)] == [2, 0]
    view, share = four_samples()
    old = view.old_probs[0, 0]
    push = old * (view.old_entropy[0, 0, 0] + np.log(old))
    value = old @ push - push
    spread = math.sqrt(np.mean((value - np.mean(value)) ** 2))
    for fraction, want in ((0.25, np.max(value)), (0.5, np.sort(value)[-2]), (1.0, 0.1 * spread)):
        least = objective("clip_v", mu=0.1, max_fraction=fraction).statistics(view, share)["least"]
        assert least == pytest.approx([want] * 2, rel=1e-8)
    found = objective("clip_b", mu=0.7).statistics(view, view.old_probs)["least"]
    assert found == pytest.approx([old @ push - 0.7 * math.sqrt(old @ (push - old @ push) ** 2)] * 2, rel=1e-12)


def test_dppos_width_is_where_the_divergence_is_delta_to_second_order() -> None:
    old = np.array([0.1, 0.5])
    assert_identity(objective("dppo_kl", delta=0.02).widths(old), np.sqrt([0.04 * 9, 0.04]), np.ones(2))


def test_pieces_are_whole_numbers() -> None:
    assert changed(Clip(), np.array([0.5, 1.0, 1.5]), np.full(3, 0.1)).piece.dtype == np.int64


def test_samples_of_one_covariance_are_all_held() -> None:
    """Equal covariances, 0 among them, are no reason to hold some and not others; the pull is towards ratio 1."""
    share = np.full((2, 1, 1, 4), 1 / 8)
    levels: dict[str, Any] = {"advantage": np.array([0.5, -0.5])[:, None, None, None], "chances": np.full((2, 1, 1, 4), 0.5)}
    ratio = np.array([[[1.5, 0.5, 1.0, 2.0]]])
    view = View(ratio, np.full((1, 1, 4), 0.25), np.log(np.full((1, 1, 4), 0.25)), **levels)
    member = objective("kl_cov", ratio=0.05, coefficient=2.0)
    statistics = {name: x[:, None, None] for name, x in member.statistics(view, share).items()}
    assert statistics["threshold"].item() == 0
    change = member.change(replace(view, statistics=statistics))
    assert_identity(
        np.broadcast_to(change.extra_plus, (2, 1, 1, 4))[0, 0, 0], np.array([-2, 2, 0, -2]) / ratio[0, 0], np.full(4, 4.0)
    )


def test_clip_v_counts_samples_of_negative_advantage_alone() -> None:
    """Its threshold is what the share of such samples asks for, whatever positive ones and those without an advantage do."""
    old = np.array([[[0.5, 0.3, 0.15, 0.05]]])
    advantage = np.array([-1.0, 0.0, 0.5])[:, None, None, None]
    entropy = np.full((1, 1, 1), float(-np.sum(old * np.log(old))))
    push = old * (entropy + np.log(old))
    value = (np.sum(old * push) - push)[0, 0]
    order = np.argsort(-value)
    share = np.zeros((3, 1, 1, 4))
    share[1, 0, 0, order[0]], share[2, 0, 0, order[1]], share[0, 0, 0, order[2]], share[0, 0, 0, order[3]] = 0.3, 0.3, 0.3, 0.1
    view = View(np.ones_like(old), old, np.log(old), entropy, entropy, advantage=advantage)
    least = objective("clip_v", mu=0.0, max_fraction=0.2).statistics(view, share)["least"].item()
    passing = value[order[2]] > 0
    assert least == pytest.approx(value[order[2]] - 1e-9 * abs(value[order[2]]) if passing else 0.0, rel=1e-14)


def test_dppo_kl_keeps_what_lies_on_its_bound() -> None:
    ratio, old = np.array([0.5, 1.0, 1.5]), np.array([0.3, 0.3, 0.3])
    divergence = old * np.log(1 / ratio) + (1 - old) * np.log((1 - old + 1e-8) / (1 - old * ratio + 1e-8))
    for place in (0, 2):
        change = changed(objective("dppo_kl", delta=float(_dppo_kl(seen(ratio, old))[place])), ratio, old)
        assert not (change.low | change.high)[place]
    assert_identity(_dppo_kl(seen(ratio, old)), divergence, np.ones(3))
