"""T5, T10 of every member from its surrogate alone: differentiate it by the logits, step, and measure the entropy.

The published surrogate (tests/properties/published.py), with whatever a stop-gradient holds at the current policy, is averaged
exactly over actions and rewards; its gradient in the logits is a complex step; the entropy's slope along the resulting update is
another. Neither uses a gain, a weight or a covariance.
"""

from __future__ import annotations

import numpy as np
import pytest

from entclip import SoftmaxPolicy, expected_entropy_drift, objective
from entclip.objectives.base import Objective
from entclip.objectives.clip import Clip
from entclip.objectives.needs import NEEDS
from entclip.policies.softmax import Geometry, log_softmax
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Bernoulli, DiscreteReward, TableReward
from tests.contexts import geometries
from tests.family import members
from tests.properties.oracle import complex_entropy
from tests.properties.published import published_surrogate

# Of one context a mask of contexts keeps it; the reference of a KL term is where a run starts (test_beyond_gains.py).
# Rules for groups and sequences have tests of their own (test_rules.py, test_sequence_ratios.py).
ELSEWHERE = {"high_entropy_mask", "reference_kl", "qae", "leave_one_out", "gapo", "gspo", "gmpo", "parl"}
MEMBERS = {k: o for k, o in members(0.2, NEEDS.keys()).items() if k not in ELSEWHERE}
MEMBERS |= {"erc": objective("erc", entropy_low=0.5, entropy_high=2.0), "erc_left": MEMBERS["erc"]}
OLD = log_softmax(np.array([1.2, 0.3, -0.4, 0.9, -1.5, -0.1]))
MOVE = np.array([0.35, -0.5, 0.2, -0.3, 0.45, -0.12])
REWARDS = {"random": Bernoulli(0.3), "true": TableReward((1.0, 0.0, 0.4, 1.0, 1.0, 0.0))}
STEP = 1e-20
NEUTRAL = {"none", "reinforce", "cispo", "cispo_trl", "cispo_torchrl", "truncated_weights", "random_drop", "erc_left"}


def complex_log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - np.max(logits.real)
    return shifted - np.log(np.sum(np.exp(shifted)))


def gradient_of_the_surrogate(member: Objective, reward: DiscreteReward, logits: np.ndarray) -> np.ndarray:
    """dJ/dtheta of J = sum_a pi_old(a) sum_A P(A|a) L(r_theta(a), A), the branches and detached weights held at theta."""
    old, r0 = np.exp(OLD), np.exp(log_softmax(logits) - OLD)
    chances = np.broadcast_to(reward.level_probs, (6, len(reward.levels)))
    levels = reward.levels - np.sum(old[:, None] * chances * reward.levels)

    # CDE shapes rewards, all others see advantages.
    law = list(zip(reward.levels if member.kind == "cde" else levels, chances.T, strict=True))

    def mean(theta: np.ndarray) -> complex:
        r = np.exp(complex_log_softmax(theta) - OLD)
        values = [published_surrogate(member, r, r0, np.full(6, level), old, law) for level in levels]
        right = sum(c * (level > 0) for c, level in zip(chances.T, levels, strict=True))
        bonus = bonus_of(member, theta, logits, right)
        return complex(bonus + sum(np.sum(old * c * v) for c, v in zip(chances.T, values, strict=True)))

    return np.array([mean(logits + 1j * STEP * unit).imag / STEP for unit in np.eye(6)])


def bonus_of(member: Objective, theta: np.ndarray, held: np.ndarray, right: np.ndarray) -> complex:
    """What a member adds to the mean of its samples: right is the chance of each action to do well."""
    entropy = float(complex_entropy(held).real)
    if member.kind == "entropy_bonus" or (member.kind == "aer" and entropy <= member.target):
        return complex(member.coefficient * complex_entropy(theta))
    if member.kind == "aepo":  # PPO's surrogate with A = 1 of right answers that the rollout policy draws at a temperature
        hot = float(complex_entropy(OLD).real) <= member.target
        drawn = np.exp(OLD / (member.hot if hot else member.cold))
        kept = np.exp(log_softmax(held) - OLD) <= 1 + member.high
        ratio = np.exp(complex_log_softmax(theta) - OLD)
        return complex(member.coefficient / (1 if hot else 2) * np.sum(drawn / drawn.sum() * right * kept * ratio))
    return 0j


def measured_slope(member: Objective, reward: DiscreteReward, geometry: Geometry) -> float:
    """d/d eta of the entropy after the update by eta, at eta = 0."""
    logits = OLD + MOVE
    step = gradient_of_the_surrogate(member, reward, logits)
    if geometry == "natural":
        step = step / np.exp(log_softmax(logits))
    return float(complex_entropy(logits + 1j * STEP * step).imag / STEP)


def predicted_slope(member: Objective, reward: DiscreteReward, geometry: Geometry) -> float:
    """T5's first order per unit of learning rate, all causes."""
    terms = expected_entropy_drift(
        SoftmaxPolicy(OLD + MOVE),
        Clip(),
        reward,
        old_policy=SoftmaxPolicy(OLD),
        learning_rate=1.0,
        geometry=geometry,
        advantage=Independent(),
        objective=member,
        order=1,
    )
    return float(terms.total)


@geometries
@pytest.mark.parametrize("reward", REWARDS.values(), ids=REWARDS)
@pytest.mark.parametrize("name", MEMBERS)
def test_first_order_is_the_slope_of_the_members_own_update(name: str, reward: DiscreteReward, geometry: Geometry) -> None:
    member, other = MEMBERS[name], MEMBERS["low_only" if name == "none" else "none"]
    predicted = predicted_slope(member, reward, geometry)
    assert abs(predicted - measured_slope(member, reward, geometry)) <= 1e-8
    if reward is REWARDS["true"] or name not in NEUTRAL:
        assert abs(predicted - measured_slope(other, reward, geometry)) > 1e-5, "falsifier: another's surrogate"
    else:
        assert abs(predicted) <= 1e-15, "g+ = g-: nothing of its own under random reward, T14"
