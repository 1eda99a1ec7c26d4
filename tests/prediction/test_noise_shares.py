"""Shares of clipped tokens turned into the size of the noise: against the forecast itself, against samples, and refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.prediction.meanfield import predict_noise
from entclip.prediction.meanfield.noise_shares import rms_of_shares
from entclip.prediction.noise_words import Shares, StudentT, noise_words
from entclip.support.errors import SpecError


def experiment(**arm: Any) -> Experiment:
    return parse_experiment(
        {
            "name": "x",
            "policy": {"kind": "zipf", "vocab": 64, "exponent": 1.0, "contexts": 1},
            "reward": {"kind": "rademacher"},
            "advantage": {"kind": "independent"},
            "update": {"learning_rate": 1e-6, "batch": 1024, "minibatches": 4, "rollouts": 1},
            "arm": [{"name": "free", "objective": "none"}, {"name": "both", "low": 0.2, "high": 0.28} | arm],
        }
    )


@pytest.mark.parametrize("rms", [0.07, 0.12, 0.4])
@pytest.mark.parametrize("tail", [None, StudentT(5)], ids=["gauss", "t"])
def test_the_size_of_the_noise_comes_back(rms: float, tail: StudentT | None) -> None:
    """Shares that predict_noise has at a size give that size, to the accuracy of the root; the sides add up and split alike."""
    arm = predict_noise(experiment(), "flat", rms, tail).summary()["arms"]["both"]
    shares = Shares(arm["clip_fraction_low"], arm["clip_fraction_high"])
    found = rms_of_shares(experiment(), "flat", shares, tail)
    assert found.rms == pytest.approx(rms, rel=1e-4)
    assert (found.low, found.high) == pytest.approx((shares.low, shares.high), rel=1e-4)
    assert found.outside == ()


def test_sampled_shares_give_the_size() -> None:
    """Log-ratios drawn token by token, normalised over the vocabulary, clipped by the sign of A: within 5 standard errors."""
    rng, rms, updates, n = np.random.default_rng(5), 0.2, 4, 4_000
    probs = 1 / np.arange(1, 65)
    probs /= probs.sum()
    hits = np.zeros((n, 2))
    for k in range(1, updates):
        x = rms * math.sqrt(k / updates) * rng.standard_normal((n, 64))
        ratio = np.exp(x) / (np.exp(x) @ probs)[:, None]
        # Half of the tokens have each sign.
        hits += np.stack([(ratio < 0.8) @ probs, (ratio > 1.28) @ probs], axis=1) / 2 / updates
    mean, error = hits.mean(axis=0), hits.std(axis=0, ddof=1) / math.sqrt(n)
    found = rms_of_shares(experiment(), "flat", Shares(*mean))
    assert np.all(np.abs([found.low, found.high] - mean) < 5 * error)
    # d(share)/d(rms): the share of a size a hundredth larger.
    slope = (rms_of_shares(experiment(), "flat", Shares(*(1.01 * mean))).rms - found.rms) / (0.01 * mean.sum())
    assert abs(found.rms - rms) < 5 * slope * hits.sum(axis=1).std(ddof=1) / math.sqrt(n)


def test_a_split_that_noise_does_not_have_is_said() -> None:
    found = rms_of_shares(experiment(), "flat", Shares(0.03, 0.0004))
    assert "split otherwise than noise does" in found.outside[0]


@pytest.mark.parametrize(
    ("shares", "arm", "message"),
    [
        (Shares(0.3, 0.3), {}, "more than noise of any size"),
        (Shares(0.01, 0.01), {"high": math.inf}, "no arm of the experiment has a low and a high side"),
    ],
)
def test_what_cannot_be_is_refused(shares: Shares, arm: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        rms_of_shares(experiment(**arm), "flat", shares)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shares:.004", "give both sides"),
        ("shares:0:0", "not both 0"),
        ("shares:1.5:0", "from 0 to 1"),
        ("shares:a:.1", "is not a number"),
        ("shares:nan:.1", "from 0 to 1"),
    ],
)
def test_words_of_shares_are_checked(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        noise_words(text)


def test_words_of_shares() -> None:
    assert noise_words("shares:.004:.001:t:5") == ("flat", Shares(0.004, 0.001), StudentT(5))
