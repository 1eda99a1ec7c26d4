"""What training on samples does to their mean ratio: enumerated over every batch of an honest step; and biases beyond it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from entclip.integrations.diagnose import diagnose
from entclip.integrations.diagnose.bias_claim import FACTOR, by_training


def _enumerated(probs, reward, rate, steps):
    """Means over the samples of every batch of two, weighed by its probability, after steps of the surrogate's gradient on it.

    One state; the advantage of a group of two: reward less their mean. Returns E[log r], E[r] - 1, rms, E[r - 1 - log r], and the
    mean moves per unit of advantage, k = 1 - 2 pi + sum pi^2, of samples with A > 0 and with A < 0.
    """
    old, p = np.log(probs), np.asarray(probs)
    k = 1 - 2 * p + np.sum(p**2)
    sums, sides = np.zeros(4), np.zeros((2, 2))
    for pair in itertools.product(range(len(p)), repeat=2):
        for won in itertools.product((0, 1), repeat=2):
            chance = math.prod(p[a] * (reward[a] if w else 1 - reward[a]) for a, w in zip(pair, won, strict=True))
            advantages = np.array(won) - np.mean(won)
            z = old.copy()
            for _ in range(steps):
                now = np.exp(z - np.log(np.sum(np.exp(z))))
                for a, advantage in zip(pair, advantages, strict=True):
                    z = z + rate * advantage * (now[a] / p[a]) * (np.eye(len(p))[a] - now) / 2
            x = (z - np.log(np.sum(np.exp(z))) - old)[list(pair)]
            sums += chance * np.array([x.mean(), np.mean(np.exp(x)) - 1, np.mean(x**2), np.mean(np.exp(x) - 1 - x)])
            for a, advantage in zip(pair, advantages, strict=True):
                sides[int(advantage < 0)] += chance * abs(advantage) * np.array([1, k[a]])
    return sums[0], sums[1], math.sqrt(sums[2]), sums[3], sides[0, 1] / sides[0, 0], sides[1, 1] / sides[1, 0]


REWARDS = {
    "random": [0.5, 0.5, 0.5, 0.5],
    "the likely one is good": [0.9, 0.2, 0.2, 0.2],
    "the likely one is bad": [0.1, 0.8, 0.8, 0.8],
    "a rare one is good": [0.05, 0.05, 0.05, 0.95],
}


@pytest.mark.parametrize("name", REWARDS)
@pytest.mark.parametrize("probs", [(0.25, 0.25, 0.25, 0.25), (0.5, 0.3, 0.15, 0.05)], ids=["uniform", "peaked"])
@pytest.mark.parametrize(("rate", "steps"), [(0.02, 1), (0.3, 1), (0.1, 6)])
def test_an_honest_step_keeps_to_its_bounds(probs, name, rate, steps):
    """Both means are within the bounds of the factor that the enumeration itself has, however the reward goes with pi."""
    log_ratio, excess, rms, kl, good, bad = _enumerated(probs, REWARDS[name], rate, steps)
    assert excess == pytest.approx(log_ratio + kl, abs=1e-14)
    factor = max(good / bad, bad / good)
    (low, high), (least, most) = by_training(rms, kl, factor)
    # Of second order beside the bounds: the pair's other sample, and moves along a policy that has moved.
    room = 2 * kl
    assert low - room <= log_ratio <= high + room
    assert least - room <= excess <= most + room
    if factor <= FACTOR:
        (low, high), (least, most) = by_training(rms, kl)
        assert low <= log_ratio <= high
        assert least <= excess <= most


def test_multiples_of_the_kl_are_no_bounds():
    """Where good samples move farther than bad ones the mean ratio is off by many times the KL, and nothing is wrong."""
    _, excess, rms, kl, good, bad = _enumerated((0.5, 0.3, 0.15, 0.05), REWARDS["the likely one is bad"], 0.02, 1)
    assert good / bad < FACTOR
    assert excess > 10 * kl
    assert excess <= by_training(rms, kl)[1][1]


def _log(shift, rms=0.1, rows=60, **names):
    """Rows of CleanRL under normal noise whose log-ratio is shifted: its two estimates of KL."""
    rng = np.random.default_rng(4)
    out = []
    for _ in range(rows):
        mean = shift - rms**2 / 2 + 1e-4 * rng.standard_normal()
        out.append({"losses/old_approx_kl": -mean, "losses/approx_kl": math.exp(mean + rms**2 / 2) - 1 - mean})
    return [row | {"losses/clipfrac": 0.02} for row in out]


@pytest.mark.parametrize("rms", [0.03, 0.1, 0.3])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_bias_is_told_from_what_training_makes(rms, sign):
    """A shift of a quarter of the noise may be training's; one of its own size is not."""
    quarter = diagnose(_log(sign * rms / 4, rms))["bias"]
    assert quarter.labels[1:] == ("or-training",)
    assert quarter.level == "info"
    assert "this log does not tell which" in " ".join(diagnose(_log(sign * rms / 4, rms)).to_text(80).split())
    assert "bias" not in diagnose(_log(0.0, rms))
    found = diagnose(_log(sign * rms, rms))["bias"]
    assert found.labels == ("ratio-above-one" if sign > 0 else "ratio-below-one",)
    assert found.confidence == "medium"
    assert "training on the samples makes at most" in found.reason


def test_without_the_size_of_the_noise_it_says_from_which_on_it_would_be_training():
    rows = [{"train/probs_ratio": 0.96 + 1e-3 * (i % 3), "train/loss": 0.1, "train/approx_entropy": 0.4} for i in range(30)]
    found = diagnose(rows)["bias"]
    assert found.confidence == "low"
    assert "unless training made it" in found.answer
    assert "an rms of 0.12 or more" in found.reason


# The sampling engine


def _engine(mean, sd, cap=None, rows=40):
    """Rows of verl whose ratio to the engine is lognormal noise about a mean, from 4,000 tokens each; by its KLs, or weights with
    a cap alone."""
    rng, out = np.random.default_rng(5), []
    for _ in range(rows):
        x = math.log(mean) - sd**2 / 2 + sd * rng.standard_normal(4000)
        weights = {"rollout_corr/rollout_is_mean": float(np.mean(np.minimum(np.exp(x), cap or np.inf)))}
        kl = {"rollout_corr/kl": float(-x.mean()), "rollout_corr/k3_kl": float(np.mean(np.exp(x) - 1 - x))}
        out.append({"actor/entropy": 0.6, "actor/pg_clipfrac": 0.002} | (weights if cap else weights | kl))
    return out


@pytest.mark.parametrize("sd", [0.05, 0.3, 0.8])
def test_the_age_of_samples_makes_no_bias(sd):
    """However far the engine's policy is, E[r] = 1 where it reports what it sampled from; a kept mass of .95 is told apart."""
    assert "bias" not in diagnose(_engine(1.0, sd))
    found = diagnose(_engine(0.95, sd))["bias"]
    assert found.labels == ("ratio-below-one", "engine")
    assert (found.level, found.confidence) == ("warn", "high")
    mean = found.evidence[0]
    assert abs(mean.value - 0.95) < 4 * mean.error
    assert "The clip does not see it" in found.answer
    assert {"rollout_corr/kl", "rollout_corr/k3_kl"} < {e.metric for e in found.evidence}
    above = diagnose(_engine(1.06, sd))["bias"]
    assert above.labels == ("ratio-above-one", "engine")


def test_weights_with_a_cap_may_be_below_one_for_that():
    found = diagnose(_engine(1.0, 0.8, cap=2.0))["bias"]
    assert found.confidence == "medium"
    assert "unless the cap on the weights makes it" in found.answer
    assert "bias" not in diagnose(_engine(1.0, 0.05, cap=2.0))
    assert diagnose(_engine(1.1, 0.2, cap=2.0))["bias"].confidence == "high"  # a cap makes no mean larger


def test_where_the_clip_is_to_the_engine_its_bounds_see_the_bias():
    text = (
        "data.train_batch_size=512 actor_rollout_ref.actor.ppo_mini_batch_size=128 algorithm.rollout_correction.bypass_mode=True"
    )
    found = diagnose(_engine(0.93, 0.2), config=text)["bias"]
    assert "the low side clips more and the high one less" in found.answer
    assert "does not see" not in found.answer


def test_both_ratios_are_spoken_of():
    """A bias of the trainer's own ratio beside one of the engine's: one answer has both, with both labels."""
    rows = [row | {"actor/ppo_kl": -0.02 + 1e-4 * (i % 3)} for i, row in enumerate(_engine(0.93, 0.2))]
    found = diagnose(rows)["bias"]
    assert set(found.labels) >= {"ratio-below-one", "ratio-above-one", "engine"}
    assert "below 0, which no KL is" in found.answer
    assert "sampling engine" in found.answer


# An entropy that is estimated


def test_an_entropy_from_sampled_tokens_is_called_an_estimate():
    rows = [
        {"actor/pg_clipfrac_higher": 0.004, "actor/entropy_loss": 0.9 - 0.01 * i, "actor/ppo_kl": 0.03, "step": i}
        for i in range(30)
    ]
    found = diagnose(rows)
    assert found.library.startswith("EasyR1")
    assert "mean of -log pi of the sampled tokens, and it holds the KL of 0.03" in found["entropy"].answer
    assert found["entropy"].confidence == "medium"
    assert "only on-policy at temperature 1" in found["names"].answer
    weighed = [{"train/probs_ratio": 1.0, "train/approx_entropy": 0.9 - 0.01 * i} for i in range(30)]
    assert "An estimate: train/approx_entropy" in diagnose(weighed)["entropy"].answer
    older = [{"actor/pg_clipfrac": 0.004, "actor/entropy_loss": 0.9 - 0.01 * i, "step": i} for i in range(30)]
    assert "estimate" not in diagnose(older)["entropy"].answer  # verl's of that name is the entropy


def test_half_a_mean_square_is_no_estimate_of_the_mean_ratio():
    """TRL's PPO logs (log r)^2/2 as approxkl: with log(pi_old/pi) it makes no E[r] - 1, and its size is the noise's own."""
    rng, rows = np.random.default_rng(2), []
    for i in range(40):
        x = 0.3 * rng.exponential(size=4000)  # skewed: a third moment of 2 sd^3, of which the difference would have a sixth
        x -= math.log(np.mean(np.exp(x)))
        numbers = {"ppo/policy/approxkl": np.mean(x**2) / 2, "ppo/policy/policykl": -x.mean(), "ppo/policy/entropy": 0.6}
        rows.append(numbers | {"ppo/policy/clipfrac": 0.01, "step": i})
    assert abs(np.mean([row["ppo/policy/approxkl"] - row["ppo/policy/policykl"] for row in rows])) > 5e-3
    assert "bias" not in diagnose(rows)
