"""GSPO and GMPO on sequences: slopes of their own surrogate, every outcome, samples, weights of a language model. T16."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from entclip import objective
from entclip.drift.first_order import expected_first_order
from entclip.drift.sequences import SeenSequences, gspo_drift
from entclip.drift.weighing import weighing_of
from entclip.experiments.experiment import Experiment, parse_experiment
from entclip.ledger.columns import PARTS
from entclip.objectives.base import Objective, View
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import log_softmax
from entclip.prediction.meanfield import predict
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Bernoulli
from entclip.runs.runner import run
from entclip.support.errors import SpecError
from tests.contexts import geometries
from tests.parts import assert_beside_theory
from tests.properties.oracle import complex_entropy

MEMBERS: dict[str, Objective] = {
    "gspo": objective("gspo", low=0.08, high=0.1),
    "gmpo": objective("gmpo", low=0.15, high=0.2),
}
every_member = pytest.mark.parametrize("name", MEMBERS)
TREE, STEP = PrefixTree(3, 2), 1e-20
RNG = np.random.default_rng(5)
OLD = log_softmax(RNG.normal(size=(TREE.prefixes, 3)))
LOGITS = OLD + 0.3 * RNG.normal(size=OLD.shape)
P = 0.3


def log_ratios(theta: np.ndarray) -> np.ndarray:
    """log r of both tokens of each sequence, (9, 2), of complex logits."""
    log_probs = theta - np.log(np.sum(np.exp(theta), axis=-1, keepdims=True)) - OLD
    return np.array([[log_probs[0, a], log_probs[1 + a, b]] for a in range(3) for b in range(3)])


def surrogate(member: Any, theta: np.ndarray) -> complex:
    """The published surrogate, averaged over sequences of pi_old and coins: A = .7 with chance .3, -.3 else."""
    chance = np.exp(np.array([OLD[0, a] + OLD[1 + a, b] for a in range(3) for b in range(3)]))
    x = log_ratios(theta)
    total = 0.0
    for advantage, probability in ((1 - P, P), (-P, 1 - P)):
        if member.kind == "gspo":
            s = np.exp(np.mean(x, axis=1))
            gone = s.real > 1 + member.high if advantage > 0 else s.real < 1 - member.low
            value = np.where(gone, 0, s * advantage)
        else:
            bounded = (
                np.where(x.real > member.high, member.high, x)
                if advantage > 0
                else np.where(x.real < -member.low, -member.low, x)
            )
            value = np.exp(np.mean(bounded, axis=1)) * advantage
        total = total + probability * np.sum(chance * value)
    return complex(total)


def slopes_of_the_surrogate(member: Objective, geometry: str) -> np.ndarray:
    """The slope of each prefix's entropy along the gradient of the surrogate: steps of one prefix, by complex steps."""
    gradient = np.zeros_like(LOGITS)
    for index in np.ndindex(LOGITS.shape):
        unit = np.zeros(LOGITS.shape)
        unit[index] = STEP
        gradient[index] = surrogate(member, LOGITS + 1j * unit).imag / STEP
    visits = TREE.visits(OLD)
    step = gradient
    if geometry == "natural":  # the inverse of the state-weighted Fisher matrix, up to shifts
        step = gradient / np.exp(log_softmax(LOGITS)) / visits[:, None]
    return np.array([complex_entropy(row + 1j * STEP * move).imag / STEP for row, move in zip(LOGITS, step, strict=True)])


def predicted(member: Objective, geometry: Any) -> np.ndarray:
    """T5 of each prefix from the weights of sequences."""

    log_probs = log_softmax(LOGITS)[None]
    seen = SeenSequences(TREE, log_probs, OLD[None])
    moments = Independent().moments(Bernoulli(P), np.exp(OLD))
    weights = weighing_of(member, View.of(log_probs, OLD[None]), None, sequences=seen).expected(moments)
    out = sum(expected_first_order(weights, log_probs, learning_rate=1.0, geometry=geometry).values())
    return np.asarray(out)[0] * (TREE.visits(OLD) if geometry == "euclidean" else 1.0)


@geometries
@every_member
def test_first_order_is_the_slope_of_the_members_own_update(name: str, geometry: str) -> None:
    found, measured = predicted(MEMBERS[name], geometry), slopes_of_the_surrogate(MEMBERS[name], geometry)
    assert np.max(np.abs(found - measured)) <= 1e-8
    other = slopes_of_the_surrogate(MEMBERS["gmpo" if name == "gspo" else "gspo"], geometry)
    assert np.max(np.abs(found - other)) > 1e-4, "falsifier: another's surrogate"


@geometries
def test_gspo_is_its_own_formula(geometry: Any) -> None:
    moments = Independent().moments(Bernoulli(P), np.exp(OLD))
    direct = gspo_drift(
        TREE,
        log_softmax(LOGITS),
        OLD,
        moments.plus[0],
        moments.minus[0],
        low=0.08,
        high=0.1,
        learning_rate=1.0,
        geometry=geometry,
    )
    assert predicted(MEMBERS["gspo"], geometry) == pytest.approx(direct, abs=1e-14)


def on_sequences(member: Objective, geometry: str, **changes: Any) -> Experiment:
    update = {"geometry": geometry, "learning_rate": 1.0, "batch": 2, "minibatches": 2, "rollouts": 1} | changes.pop("update", {})
    return parse_experiment(
        {
            "policy": {"kind": "autoregressive", "vocab": 2, "length": 2, "contexts": 2},
            "reward": {"kind": "bernoulli", "p": 0.3},
            "advantage": {"kind": "group", "size": 2},
            "update": update,
            "arm": [{"name": "a", "objective": member}],
        }
        | changes
    )


@geometries
@every_member
def test_every_outcome_of_two_updates(name: str, geometry: str) -> None:
    """Each cause is T5's and the curvature T8's to 1e-12 of all terms, groups coupled; another member's theory is seen."""
    found = run(on_sequences(MEMBERS[name], geometry), "exact").summary()["arms"]["a"]
    room = 1e-12 * (1 + sum(abs(found[part]) for part in PARTS))
    assert all(abs(found[part] - found[f"expected_{part}"]) <= room for part in PARTS)
    assert max(abs(found["clip_low"]), abs(found["clip_high"])) > 1e-4, "the test must have something to see"
    other = run(on_sequences(MEMBERS["gmpo" if name == "gspo" else "gspo"], geometry), "exact").summary()["arms"]["a"]
    assert any(abs(found[part] - other[f"expected_{part}"]) > 1e3 * room for part in PARTS), "falsifier"


@pytest.mark.statistical
@geometries
@every_member
def test_samples_of_longer_sequences(name: str, geometry: str) -> None:
    """Three tokens, 512 replicas of two contexts: every residual within five standard errors of theory along the path."""
    policy = {"kind": "autoregressive", "vocab": 3, "length": 3, "contexts": 2}
    rate = {"natural": 0.5, "euclidean": 6.0}[geometry]
    experiment = on_sequences(
        MEMBERS[name], geometry, policy=policy, replicas=512, update={"batch": 32, "minibatches": 4, "learning_rate": rate}
    )
    assert_beside_theory(run(experiment).summary()["arms"]["a"])


def test_on_single_tokens_gspo_is_the_clip() -> None:
    experiment = on_sequences(objective("gspo", low=0.1, high=0.15), "natural", policy={"kind": "zipf", "vocab": 3})
    clip = on_sequences(objective("clip", low=0.1, high=0.15), "natural", policy={"kind": "zipf", "vocab": 3})
    ours, theirs = (run(e, "exact").summary()["arms"]["a"] for e in (experiment, clip))
    assert all(ours[part] == pytest.approx(theirs[part], abs=1e-14) for part in (*PARTS, "measured", "kl", "pi_low"))


def test_gmpo_holds_tokens_one_by_one() -> None:
    """Of a sequence with one token beyond the bound the other keeps exp of the mean of the bounded ratios."""
    log_ratio = np.array([[0.6, 0.1]])
    view = View(np.exp(np.full((1, 2), 0.35)), np.ones((1, 2)), log_ratio, share=np.full((1, 2), 0.5))
    change = objective("gmpo", low=0.4, high=0.4).change(view)
    assert change.gains.plus[0] == pytest.approx([0, np.exp(0.5 * (0.4 + 0.1) - 0.35)])
    assert change.gains.minus[0] == pytest.approx([1, 1])
    assert change.high.tolist() == [[True, False]]


@pytest.mark.parametrize("engine", ["reduced", "tokens"])
def test_engines_without_sequences_say_so(engine: str) -> None:
    single = on_sequences(MEMBERS["gspo"], "natural", policy={"kind": "zipf", "vocab": 3})
    with pytest.raises(
        SpecError, match=r"'gspo' looks at the ratio of a whole sequence, which .* use the engine sampled or exact"
    ):
        run(single, engine)
    with pytest.raises(SpecError, match="which predict does not"):
        predict(single)


def test_what_its_limits_are() -> None:
    with pytest.raises(ValueError, match=r"gmpo\.low must be at least 0, got -1"):
        objective("gmpo", low=-1)
    with pytest.raises(ValueError, match=r"gspo\.low must be in \[0, 1\]"):
        objective("gspo", low=2)
    assert replace(MEMBERS["gmpo"], high=float("inf")).width == pytest.approx(1 - np.exp(-0.15))


@pytest.mark.parametrize("aggregation", ["token", "sequence"])
@every_member
def test_weights_of_a_language_models_tokens_are_the_gradient_of_the_surrogate(name: str, aggregation: str) -> None:
    """Ragged responses: autograd of each response's value, counted by its tokens' shares."""
    torch = pytest.importorskip("torch")
    from entclip.engines.llm.causes import token_share, token_weights
    from tests.engines.llm.test_causes import batch

    new, old, advantages, mask = batch(2)
    member: Any = MEMBERS[name]
    leaf = new.clone().requires_grad_()
    share, count = token_share(mask, aggregation), mask.sum(-1, keepdim=True)
    x = leaf - old
    if name == "gspo":
        s = torch.exp((x * mask).sum(-1, keepdim=True) / count)
        gone = ((advantages > 0) & (s > 1 + member.high)) | ((advantages < 0) & (s < 1 - member.low))
        value = torch.where(gone, 0.0, s * advantages)
    else:
        bounded = torch.where(advantages > 0, torch.clamp(x, max=member.high), torch.clamp(x, min=-member.low))
        value = torch.exp((bounded * mask).sum(-1, keepdim=True) / count) * advantages
    # A response's value counts once for its tokens: the shares of a mean over tokens, or over responses of their means.
    (gradient,) = torch.autograd.grad((value * share.sum(-1, keepdim=True)).sum(), leaf)
    found = token_weights(member, new, old, advantages, mask, share)
    torch.testing.assert_close(sum(found.by_cause.values()), gradient, rtol=1e-10, atol=1e-14)
    assert found.counts["clip_count_low"] + found.counts["clip_count_high"] > 0


def test_a_group_of_sequences_is_independent_of_the_order_of_its_members() -> None:
    """The moments of a group serve sequences as they serve actions: size 3, a batch of one group."""
    found = run(
        on_sequences(
            MEMBERS["gspo"],
            "natural",
            advantage={"kind": "group", "size": 3},
            update={"batch": 3, "minibatches": 1},
            perturbation={"law": "flat", "rms": 0.2},
        ),
        "exact",
    ).summary()["arms"]["a"]
    assert all(abs(found[part] - found[f"expected_{part}"]) <= 1e-12 for part in PARTS)
