"""Expectations of the head engine: T8 through hidden states against every outcome, and where samples scatter."""

import dataclasses

import numpy as np
import pytest
import torch

from entclip import run
from entclip.drift.cumulants import directional_derivatives
from entclip.engines.base import Directive
from entclip.engines.head.engine import HeadEngine
from entclip.engines.head.state import normalised
from tests.engines.head.runs import dense, spec_of
from tests.tolerances import IDENTITY, assert_within_se, within_se


@pytest.mark.parametrize("scale", ["none", "std"])
def test_expected_curvature_is_that_of_every_outcome(scale):
    """T8 where contexts move each other: half the mean of d' Hess d over all 36^3 minibatches of three contexts."""
    spec = spec_of(
        {"batch": 2, "minibatches": 1, "rollouts": 1},
        policy={"kind": "hidden", "vocab": 3, "contexts": 3, "dim": 2, "sd": 1.0},
        advantage={"kind": "group", "size": 2, "scale": scale},
        reward={"kind": "bernoulli", "p": 0.3},
        weights=[0.5, 1.0, 1.5],
        replicas=2,
    )
    engine = HeadEngine(block=8)
    state, _ = engine.roll_out(engine.start(spec, spec.arm[0].build()))
    moved = torch.as_tensor(np.random.default_rng(1).normal(size=state.moved.shape))
    log_z, entropy = normalised(dataclasses.replace(state, moved=moved))
    state = dataclasses.replace(state, moved=moved, log_z=log_z, entropy=entropy)
    # Samples of the step do not matter to the expectation; those of the rollout are of pi_old, as it assumes.
    state, rollout = dataclasses.replace(state), engine.roll_out(dataclasses.replace(state, moved=torch.zeros_like(moved)))[1]
    _, entry = engine.step(state, rollout, rollout.minibatches[0], Directive())
    log_probs, old = (x.numpy() for x in dense(state))
    ratio, probs = np.exp(log_probs - old), np.exp(log_probs)
    assert np.any(ratio < 0.8)
    assert np.any(ratio > 1.2)
    pair = np.stack(np.meshgrid(*[range(3)] * 2, *[range(2)] * 2, indexing="ij"), -1).reshape(-1, 4)
    actions, rewards = pair[:, :2], pair[:, 2:]
    centred = rewards - rewards.mean(1, keepdims=True)
    sd = np.std(rewards, axis=1, ddof=1, keepdims=True)
    advantages = centred if scale == "none" else np.divide(centred, sd, out=np.zeros(centred.shape), where=sd > 0)
    chance = np.prod(np.where(rewards, 0.3, 0.7), axis=1)
    got = entry.columns["expected_curvature"].reshape(2, 3)
    for replica in range(2):
        means, weight = [], []
        for s in range(3):
            r = ratio[replica, s][actions]
            clipped = ((advantages > 0) & (r > 1.2)) | ((advantages < 0) & (r < 0.8))
            u = np.where(clipped, 0.0, r * advantages)
            means.append(np.mean(u[..., None] * (np.eye(3)[actions] - probs[replica, s]), axis=1))  # (36, V)
            weight.append(chance * np.prod(np.exp(old[replica, s])[actions], axis=1))
        hidden = state.hidden.numpy()
        kernel = hidden @ hidden.T * np.array([0.5, 1.0, 1.5])
        joint = np.einsum("i,j,k->ijk", *weight)
        for t in range(3):
            a, b, c = (kernel[t, s] * means[s] for s in range(3))
            step = 4.0 * (a[:, None, None] + b[:, None] + c)
            second = directional_derivatives(log_probs[replica, t], step).second
            want, size = np.sum(joint * second) / 2, np.sum(joint * np.abs(second)) / 2
            assert abs(got[replica, t] - want) <= 64 * IDENTITY["float64"] * size


@pytest.mark.statistical
def test_causes_scatter_around_their_expectation():
    """T5 through shared parameters, over replicas; the same residuals with the two clips swapped are rejected."""
    spec = spec_of({"rollouts": 1, "learning_rate": 6.0}, replicas=2000)
    arm = run(spec, "head").arms["both"]
    summary, totals = arm.summary(), arm.totals
    for cause, other in (
        ("clip_low", "clip_high"),
        ("clip_high", "clip_low"),
        ("unclipped", "clip_high"),
        ("curvature", "unclipped"),
    ):
        se = summary[f"residual_{cause}_se"]
        assert_within_se(summary[cause], summary[f"expected_{cause}"], se)
        swapped = totals[cause] - totals[f"expected_{other}"]
        assert not within_se(swapped.mean(), 0.0, np.std(swapped, ddof=1) / np.sqrt(len(swapped)))
