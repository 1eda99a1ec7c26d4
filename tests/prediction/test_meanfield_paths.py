"""T11, euclidean: the pieces of a prediction along paths, each against its definition."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entclip.drift.steps import logit_step
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.policies.laws import dirichlet, zipf
from entclip.prediction.meanfield.law import SampleLaw, sample_law
from entclip.prediction.meanfield.nodes import Nodes
from entclip.prediction.meanfield.paths import LARGEST, Noise, Paths, block_size, correlated, path_step, paths_of, representatives
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Rademacher

LAWS = {
    "independent": sample_law(Rademacher(), Independent()),
    "skewed": sample_law(Bernoulli(0.2), Independent()),
    "groups": sample_law(Bernoulli(0.3), GroupRelative(4)),
}


def state(vocab: int = 5, size: int = 3, objective: Any = None) -> Paths:
    """Paths some way into a rollout: actions on both sides of the band."""
    rng = np.random.default_rng(3)
    old = zipf(vocab, 1.0).log_probs
    moved = old + 0.4 * rng.standard_normal((size, vocab))
    moved -= np.log(np.sum(np.exp(moved), axis=1, keepdims=True))
    p = paths_of(Nodes(old, np.ones(vocab)), objective or Clip(), size)
    return replace(p, log_probs=moved)


def covariance(p: Paths, law: SampleLaw) -> np.ndarray:
    """B Cov(S) of T11 on the first path: E x x' + (G - 1) E x_i x_j' - G E x E x', x = r (A+ g_+ - A- g_-) of a drawn action."""
    g = p.binned
    up, down = (p.probs * g.plus)[0], (p.probs * g.minus)[0]
    mean = law.moment("plus") * up - law.moment("minus") * down
    square = p.probs * p.ratio * (law.moment("plus_sq") * g.plus_sq + law.moment("minus_sq") * g.minus_sq)
    out = np.diag(square[0]) - law.size * np.outer(mean, mean)
    if law.moments.pair is not None:
        pp, mm, pm = (
            float(np.squeeze(x)) for x in (law.moments.pair.plus_plus, law.moments.pair.minus_minus, law.moments.pair.plus_minus)
        )
        pairs = pp * np.outer(up, up) + mm * np.outer(down, down) - pm * (np.outer(up, down) + np.outer(down, up))
        out = out + (law.size - 1) * pairs
    return out


@pytest.mark.parametrize("objective", [Clip(), DualClip(cap=1.3)], ids=lambda o: o.kind)
@pytest.mark.parametrize("law", LAWS)
def test_the_noise_has_the_covariance_of_a_minibatch(law: str, objective: Any) -> None:
    p = state(size=5, objective=objective)
    now, old = (np.tile(x[:1], (5, 1)) for x in (p.log_probs, p.old_log_probs))
    first = replace(p, log_probs=now, old_log_probs=old)
    assert np.any(first.binned.plus == 0)
    assert np.any(first.binned.minus == 0)
    # The noise is linear in the normals: of unit vectors it makes the columns of a root of its covariance.
    root = correlated(first, LAWS[law], np.eye(5))
    np.testing.assert_allclose(root.T @ root, covariance(first, LAWS[law]), atol=1e-14)


def test_a_step_is_the_policy_gradient_step_of_its_weights() -> None:
    """Given the noise, S = mean + noise are summed weights; update.logit_step makes the same policy of them."""
    p, law, rate, batch = state(), LAWS["groups"], 1.5, 64
    normal = np.random.default_rng(0).standard_normal(p.log_probs.shape)
    g = p.binned
    mean = p.probs * (law.moment("plus") * g.plus - law.moment("minus") * g.minus)
    summed = mean + correlated(p, law, normal) / math.sqrt(batch)
    logits = p.log_probs + logit_step(summed / p.ratio, p.log_probs, p.old_log_probs, learning_rate=rate, geometry="euclidean")
    expected = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    np.testing.assert_allclose(path_step(p, law, rate, batch, normal).log_probs, expected, atol=1e-13)


def test_the_linear_noise_is_what_mirrored_noise_cancels() -> None:
    """Level = entropy - linear_noise: mirrored noise changes it at second order only."""
    p, law = state(), LAWS["independent"]
    normal = np.random.default_rng(1).standard_normal(p.log_probs.shape)
    odd = []
    for rate in (1e-2, 1e-3):
        one, other = (path_step(p, law, rate, 64, sign * normal).level for sign in (1, -1))
        odd.append(np.max(np.abs(one - other)))
    assert odd[1] < odd[0] / 80  # of order rate^2: a part of first order would fall by 10


def test_twins_scatter_as_their_actions_do() -> None:
    """A node of n actions: each entry has unit variance, and the sum over its actions that of n independent ones."""
    counts = np.array([1.0, 2.0, 3.7, 50.0])
    p = paths_of(Nodes(np.log(np.full(4, 1 / counts.sum())), counts), Clip(), 1)
    entries = len(p.count)
    assert entries == 7
    assert math.isclose(p.total(p.probs)[0, 0], 1, rel_tol=1e-14)
    wide = paths_of(Nodes(np.log(np.full(4, 1 / counts.sum())), counts), Clip(), entries)
    law = LAWS["independent"]
    root = correlated(wide, law, np.eye(entries)) / np.sqrt(wide.probs * law.moments.by_action("plus_sq")[0] * 2)
    cov = root.T @ root
    np.testing.assert_allclose(np.diag(cov), 1, atol=1e-12)
    node = np.array([0, 1, 1, 2, 2, 3, 3])
    for k, n in enumerate(counts):
        mine = p.count * (node == k)
        assert math.isclose(mine @ cov @ mine, n, rel_tol=1e-12)


def test_the_noise_is_standard_and_repeats() -> None:
    first, second = Noise(2, 16).block(4096, 40)
    assert first.shape == second.shape == (16, 4096, 40)
    # 4,096 numbers each, 640 times: 5 standard errors of a mean, of a variance and of a correlation.
    for z in (first, second):
        assert np.max(np.abs(z.mean(axis=1))) < 5 / 64
        assert np.max(np.abs(z.var(axis=1) - 1)) < 5 * math.sqrt(2) / 64
        # A likely action's mean over a rollout is a Sobol coordinate: its error is far below 1/64.
        assert np.max(np.abs(z[:, :, :32].sum(axis=0).mean(axis=0) / 4)) < 1 / 640
    # Rollouts are independent: scrambles of the same coordinates would not be.
    assert np.max(np.abs((first.sum(axis=0) * second.sum(axis=0)).mean(axis=0) / 16)) < 5 / 64
    again, same = Noise(2, 16), Noise(2, 16)
    one, other = next(again.block(32, 40)), next(same.block(32, 40))
    np.testing.assert_array_equal(one, other)
    assert np.any(next(again.block(32, 40)) != one)


def test_long_runs_do_without_sobol_points() -> None:
    blocks = list(Noise(100, 2).block(64, 3))
    assert len(blocks) == 100
    assert abs(np.mean(blocks)) < 5 / math.sqrt(100 * 2 * 64 * 3)


def test_contexts_are_represented_by_their_actions() -> None:
    small = representatives(np.stack([dirichlet(50, 1.0, seed=s).log_probs for s in range(6)]), 8)
    assert [share for share, _ in small] == [1 / 6] * 6
    assert all(len(nodes.count) == 50 for _, nodes in small)
    many = np.stack([zipf(40, x).log_probs for x in np.linspace(0.5, 2, 30)])
    chosen = representatives(many, 4)
    assert math.isclose(sum(share for share, _ in chosen), 1)
    assert np.all(np.diff([nodes.entropy for _, nodes in chosen]) > 0)
    ((share, large),) = representatives(np.tile(zipf(20_000, 1.0).log_probs, (3, 1)), 8)
    assert share == 1
    assert np.all(large.count[:LARGEST] == 1)
    assert len(large.count) < LARGEST + 60
    assert math.isclose(large.count.sum(), 20_000, rel_tol=1e-9)
    assert math.isclose(np.sum(large.count * large.prob), 1, rel_tol=1e-12)
    # Gauss's quadrature of two nodes in bins of w = .5 nats: w^4/4320 of a fourth derivative, about p log p.
    assert abs(large.entropy - float(zipf(20_000).entropy)) < 0.5**4 / 4320 * large.entropy


@pytest.mark.parametrize(("paths", "entries", "block"), [(4096, 64, 256), (4096, 200, 64), (32, 64, 32), (4096, 5000, 32)])
def test_blocks_divide_the_paths(paths: int, entries: int, block: int) -> None:
    assert block_size(paths, entries) == block
