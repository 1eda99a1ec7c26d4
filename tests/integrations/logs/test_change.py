"""What is advised, and how firmly: an entropy bonus comes before a width, and what is not decided is no firm advice."""

import pytest

from entclip import diagnose
from tests.integrations.logs.corpus.truth import Situation, updates_of


def rows(end, sigma, **more):
    truth = Situation(start=0.5, end=end, sigma=sigma, rollouts=24)
    names = {"clip_low": "clip_ratio/low_mean", "clip_high": "clip_ratio/high_mean"}
    return [
        {"step": i, "entropy": row["entropy"], **{name: row[key] for key, name in names.items()}, **more}
        for i, row in enumerate(updates_of(truth, seed=3))
    ]


def test_a_logged_bonus_is_lowered_first():
    found = diagnose(rows(0.8, 0.08, entropy_coef=0.02))["change"]
    assert found.labels[0] == "lower-bonus"
    assert found.answer.startswith("First *lower* the entropy bonus (entropy_coef = 0.02)")
    assert "lower-bonus" not in diagnose(rows(0.8, 0.08, entropy_coef=0.0))["change"].labels
    assert "lower-bonus" not in diagnose(rows(0.2, 0.08, entropy_coef=0.02))["change"].labels


@pytest.mark.parametrize("sigma", [0.05, 0.08, 0.2])
def test_a_bonus_of_the_configuration_is_lowered_first(sigma):
    names = {"clip_any": "actor/pg_clipfrac", "entropy": "actor/entropy"}
    log = [
        {"training/global_step": i, **{name: row[k] for k, name in names.items()}}
        for i, row in enumerate(updates_of(Situation(start=0.5, end=0.8, sigma=sigma, rollouts=10), seed=3))
    ]
    config = "actor_rollout_ref.actor.ppo_mini_batch_size=32 data.train_batch_size=128 actor_rollout_ref.actor.entropy_coeff=0.02"
    found = diagnose(log, config=config)["change"]
    assert found.labels[0] == "lower-bonus"
    assert "actor_rollout_ref.actor.entropy_coeff = 0.02" in found.answer


@pytest.mark.parametrize(("end", "sigma"), [(0.6, 0.4), (0.4, 0.25), (0.45, 0.3)])
def test_what_is_undecided_is_not_advised_firmly(end, sigma):
    found = diagnose(rows(end, sigma))
    assert set(found["cause"].labels) & {"clip-could", "unbounded"}
    assert found["change"].labels[-1] == "not-settled"
    assert found["change"].answer.startswith("Not settled")
    assert found["change"].confidence == "low"


def test_the_reward_is_told_of_the_fifths_that_entropy_is_told_of():
    log = [row | {"reward": 0.1 + 0.01 * i} for i, row in enumerate(rows(0.15, 0.06))]
    ends = len(log) // 5
    first, last = (sum(row["reward"] for row in part) / ends for part in (log[:ends], log[-ends:]))
    assert f"a reward that rises ({first:.2g} to {last:.2g})" in diagnose(log)["cause"].answer


def test_what_is_decided_is_advised():
    found = diagnose(rows(0.15, 0.06))
    assert "clip-too-small" in found["cause"].labels
    assert found["change"].answer.startswith("To hold entropy up")
