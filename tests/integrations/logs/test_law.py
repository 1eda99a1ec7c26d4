"""The law behind diagnose's bounds: against samples of its own, and against the forecast of predict --noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.experiments.load import load
from entclip.integrations.diagnose import law
from entclip.integrations.diagnose.law import clip_effect
from entclip.prediction.meanfield.noise_law import predict_noise


def test_the_law_has_the_shares_and_gaps_of_sampled_tokens():
    """400,000 tokens of the policy law with noise of their own, at a random update each; sums over updates are 15 times that."""
    effect = clip_effect(0.7, 0.004, 0.006, 0.2, 0.2, 16)
    assert effect is not None
    assert effect.share_low + effect.share_high == pytest.approx(0.01, rel=1e-4)
    log_probs, counts = law._at_entropy(0.7)
    probs, rng, n = np.exp(log_probs), np.random.default_rng(8), 400_000
    mass = counts * probs
    assert np.mean(-np.sum(mass * log_probs, axis=1)) == pytest.approx(0.7, rel=1e-4)
    variance = effect.spread**2 * np.maximum(1 - 2 * probs + np.sum(mass * probs, axis=1, keepdims=True), 0)
    assert math.sqrt(np.mean(np.sum(mass * variance, axis=1))) == pytest.approx(effect.sigma, rel=1e-6)
    at = rng.choice(mass.size, n, p=(mass / mass.sum()).ravel())
    surplus = (-log_probs - np.sum(mass * -log_probs, axis=1, keepdims=True)).ravel()[at]
    k = rng.integers(1, 16, n)
    sd = np.sqrt(variance.ravel()[at] * k / 16)
    x = rng.standard_normal(n) * sd - sd**2 / 2
    # Surprisal over its mean as it is in the update: log r less, over its mean under pi.
    moved = np.broadcast_to(np.sum(mass * variance, axis=1, keepdims=True), mass.shape).ravel()[at] * k / 32
    now = surplus - x + moved
    for side, beyond in (("low", np.exp(x) < 0.8), ("high", np.exp(x) > 1.2)):
        share = beyond.mean() / 2 * 15 / 16
        assert abs(share - getattr(effect, f"share_{side}")) < 3 * share / math.sqrt(beyond.sum())
        weights = np.exp(x) * beyond  # from samples of pi_old to pi
        taken = now if side == "low" else surplus  # at the high bound that of the rollout's start, which is larger
        gap = np.sum(weights * taken) / np.sum(weights)
        error = math.sqrt(np.sum((weights * (taken - gap)) ** 2)) / np.sum(weights)
        assert abs(gap - getattr(effect, f"gap_{side}")) < 3 * error
        # A clipped token's push: what it moved in k updates, over sqrt(k). A side's bound goes with the share it was given.
        push = weights * now * np.abs(x) / np.sqrt(k)
        most = 15 * np.mean(push) * {"low": 0.004, "high": 0.006}[side] / getattr(effect, f"share_{side}")
        error = 3 * most * np.std(push) / (np.mean(push) * math.sqrt(n))
        if side == "low":
            assert abs(most - effect.low) < error
        else:
            assert most + error < effect.high


def test_the_law_agrees_with_the_forecast():
    """128 places of the snapshot instead of 96 of its responses, through predict --noise: alike within what places scatter.

    Each side's error is that of a mean, or of a ratio of means, over places. Stages of the rollout taken as a continuum by the
    law and one by one by the forecast make 1.2 % of a share and 1 % of a gap, a sixth of these errors.
    """
    effect = clip_effect(1.93, 0.01, 0.01, 0.2, 0.2, 4)
    experiment = load("headline_llm", ["update.minibatches=4", "policy.contexts=128", "update.geometry=natural"])
    arms = tuple(arm for arm in experiment.arm if arm.name == "both")
    book = predict_noise(experiment.model_copy(update={"arm": arms}), "flat", effect.spread).summary()["arms"]["both"]
    pool, sides = law._Law.at(1.93, 4, 0.0), law._sides(0.2, 0.2)
    arrays = (pool.mass, pool.surplus, pool.shape, pool.probs)
    places = [law._Law(*(x[k : k + 1] for x in arrays), 4) for k in range(len(pool.mass))]
    shares = np.array([place.sampled(effect.scale, sides) for place in places])
    mass, weighted = np.moveaxis([place.clipped(effect.scale, sides)[:2] for place in places], 1, 0)
    gaps = np.sum(weighted, axis=0) / np.sum(mass, axis=0)
    both = math.sqrt(1 / len(places) + 1 / 128)
    share_error = np.std(shares, axis=0, ddof=1) * both
    gap_error = np.std((weighted - gaps * mass) / np.mean(mass, axis=0), axis=0, ddof=1) * both
    for k, side in enumerate(("low", "high")):
        assert abs(book[f"clip_fraction_{side}"] - getattr(effect, f"share_{side}")) < 3 * share_error[k]
        assert abs(book[f"gap_{side}"] - getattr(effect, f"gap_{side}")) < 3 * gap_error[k]
    # The sides of the one against those of the other are told apart.
    assert abs(book["clip_fraction_low"] - effect.share_high) > 3 * share_error[1]
    assert abs(book["gap_low"] - effect.gap_high) > 3 * gap_error[1]
