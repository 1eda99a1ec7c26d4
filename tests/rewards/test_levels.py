"""The law of an advantage value by value, against the moments by convolution (T7), against rules by hand and against samples."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.baselines import LeaveOneOut, QuantileBaseline
from entclip.rewards.levels import level_law, moments_of_groups, nearest
from entclip.rewards.reward import Bernoulli, Gaussian, TableReward
from tests.tolerances import SIGMAS

PROBS = np.random.default_rng(0).dirichlet(np.ones(4), size=3)
REWARDS = {"coin": Bernoulli(0.3), "table": TableReward((1.0, 0.0, 0.5, 0.2))}
GROUPS = {"plain": GroupRelative(4), "std": GroupRelative(3, "std"), "pair": GroupRelative(2, "std", 0, 0.1)}
MOMENTS = ("plus", "minus", "plus_sq", "minus_sq", "plus_fourth", "minus_fourth", "share_plus", "share_minus")
rewards = pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
groups = pytest.mark.parametrize("group", GROUPS.values(), ids=GROUPS)


@groups
@rewards
def test_listing_the_others_gives_the_moments_of_the_convolution(group, reward):
    listed, known = moments_of_groups(group, reward, PROBS), group.moments(reward, PROBS)
    for name in MOMENTS:
        assert getattr(listed, name) == pytest.approx(getattr(known, name), abs=1e-14), name
    for pair in fields(known.pair):
        assert getattr(listed.pair, pair.name) == pytest.approx(getattr(known.pair, pair.name), abs=1e-14), pair.name


@groups
@rewards
def test_values_and_chances_have_the_moments(group, reward):
    law, known = level_law(group, reward, PROBS), group.moments(reward, PROBS)
    assert np.sum(law.chances, axis=-1) == pytest.approx(1)
    up, down = np.maximum(law.values, 0), np.maximum(-law.values, 0)
    for name, value in {"plus": up, "minus_sq": down**2, "plus_fourth": up**4, "share_minus": down > 0}.items():
        of_actions = np.sum(law.chances * value[:, None], axis=-1)
        assert np.broadcast_to(of_actions, PROBS.shape) == pytest.approx(np.broadcast_to(known.by_action(name), PROBS.shape))
    # Two samples of one group whose actions are drawn: the joint law of their values.
    own = np.broadcast_to(law.shares, (3, 4, len(law.index))) if law.shares.shape[1] > 1 else law.shares
    met = np.einsum("ua,uaq->uq", PROBS, own) if own.shape[1] > 1 else np.ones((3, len(law.index)))
    values = law.values[0][law.index]
    joint = met[:, :, None] * met[:, None] * law.joint
    assert np.sum(joint, axis=(1, 2)) == pytest.approx(1)
    moment = np.sum(joint * np.maximum(values, 0)[:, None] * np.maximum(-values, 0), axis=(1, 2))
    level = PROBS @ known.level_probs if known.action_dependent else np.ones((3, 1))
    table = np.broadcast_to(known.pair.plus_minus, (3, *known.pair.plus_minus.shape[-2:]))
    assert moment == pytest.approx(np.einsum("ui,uj,uij->u", level, level, table), abs=1e-14)
    if group.scale == "none":  # advantages of a group add up to 0
        assert np.sum(joint * values[:, None] * values, axis=(1, 2)) == pytest.approx(
            -np.sum(joint * (values**2)[:, None], axis=(1, 2)) / (group.size - 1), abs=1e-14
        )


def test_independent_advantages_have_a_value_for_each_reward():
    law = level_law(Independent(), REWARDS["table"], PROBS)
    assert law.rewards == pytest.approx([0, 0.2, 0.5, 1])
    assert law.values == pytest.approx(law.rewards - (PROBS @ [1, 0, 0.5, 0.2])[:, None])
    assert nearest(law.values + 1e-15, law.values).tolist() == [[0, 1, 2, 3]] * 3


def test_the_quantile_of_a_group_by_hand():
    rule = QuantileBaseline(5, quantile=0.4)
    for right, baseline in ((0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 1)):  # 1 - K = .6: above it the quantile is 1
        group = np.array([1.0] * right + [0.0] * (5 - right))
        assert rule.of_rewards(group).tolist() == (group - baseline).tolist()
    scaled = QuantileBaseline(4, "std", 0, quantile=0.4)  # by std = sqrt(p(1 - p)): right answers of a hard group get 1/std
    assert scaled.of_rewards(np.array([1.0, 0, 0, 0])) == pytest.approx([1 / np.sqrt(3 / 16), 0, 0, 0])
    assert scaled.of_rewards(np.ones(4)).tolist() == [0] * 4
    assert np.all(rule.of_rewards(np.array([0.3, 0.1, 0.2, 0.5, 0.4])) == np.array([0.3, 0.1, 0.2, 0.5, 0.4]) - 0.2)


def test_leave_one_out_is_the_mean_of_the_others():
    group = np.array([0.3, 1.0, -2.0, 0.5])
    assert LeaveOneOut(4).of_rewards(group) == pytest.approx([x - (group.sum() - x) / 3 for x in group])
    wide = LeaveOneOut(4).moments(Gaussian(0, 1), PROBS)
    assert wide.plus == pytest.approx(GroupRelative(4).moments(Gaussian(0, 1), PROBS).plus * 4 / 3)


@pytest.mark.statistical
@pytest.mark.parametrize("rule", [LeaveOneOut(4), QuantileBaseline(4, "std"), QuantileBaseline(3)], ids=repr)
@rewards
def test_moments_of_rules_against_drawn_groups(rule, reward):
    """A+, A-, their squares and products of two of a group over 200,000 groups: within five standard errors."""
    rng, number, probs = np.random.default_rng(3), 200_000, PROBS[1]
    actions = rng.choice(4, size=(number, rule.size), p=probs)
    if isinstance(reward, TableReward):
        drawn = np.asarray(reward.values)[actions]
    else:
        drawn = (rng.random(actions.shape) < 0.3).astype(float)
    a = rule.of_rewards(drawn, ties=True)
    moments = rule.moments(reward, probs[None])
    level = (probs @ moments.level_probs) if moments.action_dependent else np.ones(1)
    first, second = a[:, 0], a[:, 1]
    pair = np.einsum("i,j,ij->", level, level, np.reshape(moments.pair.plus_minus, (len(level), len(level))))
    cases = {
        "plus": (np.maximum(first, 0), np.reshape(moments.plus, -1) @ level),
        "minus": (np.maximum(-first, 0), np.reshape(moments.minus, -1) @ level),
        "plus_sq": (np.maximum(first, 0) ** 2, np.reshape(moments.plus_sq, -1) @ level),
        "pair": (np.maximum(first, 0) * np.maximum(-second, 0), pair),
    }
    for name, (sample, expected) in cases.items():
        se = np.std(sample) / np.sqrt(number)
        assert abs(np.mean(sample) - expected) <= SIGMAS * se + 1e-14, name
    sample, expected = cases["plus"]
    assert abs(np.mean(sample) - 1.05 * expected) > SIGMAS * np.std(sample) / np.sqrt(number), "falsifier"


def test_what_has_no_law_says_so():
    with pytest.raises(ValueError, match="'gaussian' is continuous"):
        level_law(GroupRelative(2), Gaussian(0, 1), PROBS)
    with pytest.raises(ValueError, match=r"QuantileBaseline has no exact moments under reward.kind = 'gaussian'"):
        QuantileBaseline(4).moments(Gaussian(0, 1), PROBS)
    with pytest.raises(ValueError, match=r"a group of 8 with 50 distinct rewards has .* use fewer distinct rewards"):
        level_law(GroupRelative(8), TableReward(tuple(np.arange(50.0))), np.full((1, 50), 0.02))
    with pytest.raises(ValueError, match=r"leave-one-out baseline has no scale, but advantage.scale = 'std'"):
        LeaveOneOut(4, "std")
