"""The public function expected_entropy_drift against every outcome, and its arguments at their ends.

Rows of a batch are separate contexts, dtype and array library are kept, limits are allowed or refused exactly where the messages
put them, and arithmetic that must survive an underflow survives it. Expected values come from the definitions.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from entclip.drift.cumulants import (
    remainder_bounds,
)
from entclip.drift.expected import expected_entropy_drift
from entclip.objectives.aer import Aer
from entclip.objectives.bapo import Bapo
from entclip.objectives.base import CAUSES, Objective, View, split_by_cause, weight
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.entropy_bonus import EntropyBonus
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from entclip.policies.softmax import SoftmaxPolicy, entropy, log_softmax
from entclip.rewards.advantage import GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Rademacher, RewardLaw, TableReward
from tests.contexts import contexts, geometries
from tests.seen import changed, seen, sets
from tests.tolerances import assert_identity

INF = math.inf

OLD = SoftmaxPolicy([0.3, -0.6, 0.1])
NEW = SoftmaxPolicy([0.9, -1.1, 0.2])  # ratios about 1.32, .44, .80
TABLE = TableReward((1.0, 0.0, 0.4))  # A > 0 beyond the high bound, A < 0 below the low one: both sides act


def mean_change(
    objective: Objective, advantage: Independent | GroupRelative, reward: RewardLaw, eta: float, geometry: str, batch: int
) -> tuple[float, float]:
    """E[dH] over every outcome of a minibatch of the old policy, from H = -sum p log p, and T3's bound on the third order."""
    log_p, log_old = NEW.log_probs, OLD.log_probs
    p, old, ratio = np.exp(log_p), np.exp(log_old), np.exp(log_p - log_old)
    chances, levels = np.broadcast_to(reward.level_probs, (3, len(reward.levels))), reward.levels  # type: ignore[union-attr, arg-type]
    one = [(old[a] * chances[a, k], a, levels[k]) for a in range(3) for k in range(len(levels)) if chances[a, k]]
    mean, bound = [], []
    for samples in itertools.product(one, repeat=batch):
        chance, rewards = math.prod(s[0] for s in samples), np.array([s[2] for s in samples])
        if isinstance(advantage, GroupRelative):
            values = rewards - rewards.mean()  # one group
            if advantage.scale == "std":
                std = rewards.std(ddof=advantage.ddof)
                values = values / (std + advantage.eps) if std > 0 else 0 * values
        else:
            values = rewards - old @ chances @ levels
        step = np.zeros(3)
        for (_, a, _), value in zip(samples, values, strict=True):
            c = float(weight(objective, seen(ratio, old), np.full(3, value))[a])
            step += eta / batch * c * (np.eye(3)[a] / p[a] if geometry == "natural" else np.eye(3)[a] - p)
        mean.append(chance * float(entropy(log_softmax(log_p + step)) - NEW.entropy))
        bound.append(chance * float(remainder_bounds(step)[1]))
    return math.fsum(mean), math.fsum(bound)


@geometries
@pytest.mark.parametrize(
    ("advantage", "reward", "batch"),
    [
        (Independent(), Bernoulli(0.2), 1),
        (Independent(), TABLE, 2),
        (GroupRelative(2), TABLE, 2),
        (GroupRelative(2, "std", 0, eps=0.1), Bernoulli(0.2), 2),
        (GroupRelative(3), Rademacher(), 3),
    ],
    ids=str,
)
def test_drift_of_a_minibatch_against_every_outcome(
    advantage: Independent | GroupRelative, reward: RewardLaw, batch: int, geometry: str
) -> None:
    """All terms together are E[dH] up to the third order, which T3 bounds; without curvature they are not."""
    clip, eta = Clip(0.2, 0.2), 1e-3
    arguments: dict[str, Any] = dict(old_policy=OLD, learning_rate=eta, geometry=geometry, advantage=advantage)
    got = expected_entropy_drift(NEW, clip, reward, **arguments, order=2, batch=batch)
    want, third = mean_change(clip, advantage, reward, eta, geometry, batch)
    # Rounding of the enumerated entropies: 64 ulps of 1 each, weights adding up to 1.
    assert abs(float(got.total) - want) <= third + 64 * 2.0**-52
    first = expected_entropy_drift(NEW, clip, reward, **arguments)
    assert first.curvature is None
    assert abs(float(first.total) - want) > 3 * third, "the case must be able to see the curvature"
    for name in (*CAUSES, "gap_low", "gap_high"):
        assert float(getattr(first, name)) == float(getattr(got, name))
    assert_identity(first.total, first.unclipped + first.clip_low + first.clip_high + first.other, 1e-3)
    assert_identity(got.total, first.total + got.curvature, 1e-3)


@geometries
@pytest.mark.parametrize(
    "objective", [NoClip(), DualClip(0.6, 0.2, 1.25), Cispo(0.3, 0.1), Sapo(1.0, 2.5), CeGppo(), DppoTv(0.05)], ids=str
)
def test_drift_of_every_objective_against_every_outcome(objective: Objective, geometry: str) -> None:
    """As above; the clip that comes with another objective is not applied."""
    eta = 1e-3
    got = expected_entropy_drift(
        NEW,
        Clip(0.9, 0.01),
        Bernoulli(0.2),
        old_policy=OLD,
        learning_rate=eta,
        geometry=geometry,
        objective=objective,
        order=2,
        batch=1,
    )
    want, third = mean_change(objective, Independent(), Bernoulli(0.2), eta, geometry, 1)
    assert abs(float(got.total) - want) <= third + 64 * 2.0**-52
    inside = [s.any() for s in sets(objective, np.exp(NEW.log_probs - OLD.log_probs), OLD.probs)]
    assert [not math.isnan(gap) for gap in (got.gap_low, got.gap_high)] == inside


def test_who_cannot_serve_an_objective_is_named() -> None:
    with pytest.raises(ValueError, match="which expected_entropy_drift does not"):
        expected_entropy_drift(NEW, Clip(), TABLE, old_policy=OLD, learning_rate=1.0, objective="gspo")


def test_a_named_objective_takes_the_widths_of_the_clip() -> None:
    arguments: dict[str, Any] = dict(old_policy=OLD, learning_rate=1.0)
    clip, reward = Clip(0.1, 0.3), Bernoulli(0.2)
    for name, same in (("cispo", Cispo(0.1, 0.3)), ("clip", clip), ("none", NoClip()), ("sapo", Sapo())):
        named, made = (expected_entropy_drift(NEW, clip, reward, objective=x, **arguments) for x in (name, same))
        assert [float(getattr(named, c)) for c in CAUSES] == [float(getattr(made, c)) for c in CAUSES]


def test_statistics_are_made_of_all_contexts_each_with_the_same_share() -> None:
    """2 x 3 contexts of four actions: BAPO is the clip at the widths that it finds, and AER knows the mean entropy."""
    rng = np.random.default_rng(9)
    log_old = log_softmax(rng.normal(size=(2, 3, 4)))
    log_p = log_softmax(log_old + rng.normal(0, 0.6, log_old.shape))
    policy, table = SoftmaxPolicy(log_p), TableReward((1.0, 0.0, 0.4, 0.7))
    arguments: dict[str, Any] = dict(old_policy=SoftmaxPolicy(log_old), learning_rate=0.1)
    bapo = Bapo(target=0.45, low=0.6, low_end=0.1, low_step=0.1, high=0.1, high_end=0.7, high_step=0.1)
    old = np.exp(log_old).reshape(1, 6, 4)
    advantage = np.array(table.values) - old @ np.array(table.values)[:, None]
    view = View(np.exp(log_p).reshape(1, 6, 4) / old, old, log_p.reshape(1, 6, 4), advantage=advantage[None])
    widths = bapo.statistics(view, (old / 6)[None])
    found = expected_entropy_drift(policy, Clip(), table, objective=bapo, **arguments)
    want = expected_entropy_drift(policy, Clip(float(widths["low"][0]), float(widths["high"][0])), table, **arguments)
    assert widths["high"][0] > 0.1
    for name in ("unclipped", "clip_low", "clip_high"):
        assert_identity(getattr(found, name), getattr(want, name), np.full((2, 3), 1.0))
    mean = float(np.mean(policy.entropy))
    for target, coefficient in ((mean - 1e-9, 0.0), (mean + 1e-9, 0.3)):
        aer = expected_entropy_drift(policy, Clip(), table, objective=Aer(coefficient=0.3, target=target), **arguments)
        bonus = expected_entropy_drift(policy, Clip(), table, objective=EntropyBonus(coefficient), **arguments)
        assert_identity(aer.total, bonus.total, np.full((2, 3), 1.0))


def test_reference_c_through_the_public_function() -> None:
    """Reference C of theory.md (eta = 1, random +/-1 reward, clip .2/.2), as printed; natural steps and order 1 by default."""
    a = np.arange(1, 65)
    old, policy = SoftmaxPolicy(-np.log(a)), SoftmaxPolicy(-np.log(a) + 0.3 * np.sin(a))
    got = expected_entropy_drift(policy, Clip(), Rademacher(), old_policy=old, learning_rate=1.0)
    for name, printed, digits in (
        ("clip_low", 0.105267, 6),
        ("clip_high", 0.022933, 6),
        ("gap_low", 1.137818, 6),
        ("gap_high", -0.201486, 6),
    ):
        assert abs(float(getattr(got, name)) - printed) <= 0.5000001 * 10**-digits
    assert got.curvature is None
    got = expected_entropy_drift(
        policy, Clip(), Rademacher(), old_policy=old, learning_rate=4.0, geometry="euclidean", order=2, batch=1024
    )
    assert got.curvature is not None
    assert abs(float(got.curvature) + 0.008531) <= 0.5000001e-6
    assert abs(float(got.clip_low) - 4 * 0.0127347) <= 4 * 0.5000001e-7


def test_gaps_are_conditional_means_and_nan_where_a_set_is_empty() -> None:
    log_p, log_old = contexts()
    log_p = np.concatenate([log_p, log_old[:1]])  # the last context is on-policy: nothing there is beyond a bound
    log_old = np.concatenate([log_old, log_old[:1]])
    got = expected_entropy_drift(
        SoftmaxPolicy(log_p), Clip(0.1, 0.1), Rademacher(), old_policy=SoftmaxPolicy(log_old), learning_rate=0.1
    )
    p, s, ratio = np.exp(log_p), -log_p, np.exp(log_p - log_old)
    for gap, inside in ((got.gap_low, ratio < 0.9), (got.gap_high, ratio > 1.1)):
        assert gap.shape == (5,)
        for k in range(5):
            if not inside[k].any():
                assert math.isnan(gap[k])
                continue
            conditional = math.fsum((p[k] * s[k])[inside[k]]) / math.fsum(p[k][inside[k]])
            assert_identity(gap[k], conditional - math.fsum(p[k] * s[k]), 20.0 / float(p[k][inside[k]].sum()))
    assert math.isnan(got.gap_low[4])
    assert math.isnan(got.gap_high[4])
    assert np.isfinite(got.gap_low[:4]).any()


def test_objectives_by_name_take_the_widths_of_the_clip() -> None:
    clip = Clip(0.1, 0.3)

    def drift(objective: Objective | str | None) -> list[float]:
        got = expected_entropy_drift(NEW, clip, TABLE, old_policy=OLD, learning_rate=0.1, objective=objective)
        return [float(getattr(got, name)) for name in (*CAUSES, "gap_low", "gap_high")]

    np.testing.assert_array_equal(drift(None), drift(clip))
    named = {"clip": clip, "cispo": Cispo(0.1, 0.3), "dual_clip": DualClip(0.1, 0.3), "ce_gppo": CeGppo(0.1, 0.3)}
    for name, same in named.items():
        np.testing.assert_array_equal(drift(name), drift(same), err_msg=name)
    assert drift("cispo") != drift(Cispo())
    assert drift(Clip(0.1, 0.4)) != drift(None), "an objective given as such keeps its own widths"
    with pytest.raises(ValueError, match="unknown objective 'ppo'"):
        drift("ppo")


@pytest.mark.parametrize(("name", "same"), [("none", NoClip()), ("sapo", Sapo()), ("dppo_tv", DppoTv())])
def test_objectives_without_widths_by_name(name: str, same: Objective) -> None:
    drifts = [
        expected_entropy_drift(NEW, Clip(0.1, 0.3), TABLE, old_policy=OLD, learning_rate=0.1, objective=o) for o in (name, same)
    ]
    for cause in CAUSES:
        np.testing.assert_array_equal(getattr(drifts[0], cause), getattr(drifts[1], cause))


def test_torch_policies_give_torch_terms() -> None:
    torch = pytest.importorskip("torch")
    log_p, log_old = contexts()
    arguments: dict[str, Any] = dict(learning_rate=0.1, advantage=GroupRelative(2), order=2, batch=4)
    want = expected_entropy_drift(SoftmaxPolicy(log_p), Clip(), TABLE, old_policy=SoftmaxPolicy(log_old), **arguments)
    policies = [SoftmaxPolicy(torch.from_numpy(x)) for x in (log_p, log_old)]
    got = expected_entropy_drift(policies[0], Clip(), TABLE, old_policy=policies[1], **arguments)
    for name in (*CAUSES, "curvature", "gap_low", "gap_high", "total"):
        value, reference = getattr(got, name), getattr(want, name)
        assert value.dtype == torch.float64
        empty = np.isnan(reference)
        np.testing.assert_array_equal(np.isnan(value.numpy()), empty)
        assert_identity(value.numpy()[~empty], reference[~empty], np.full(int((~empty).sum()), 20.0))


def test_drift_can_be_differentiated_in_the_logits() -> None:
    """Torch policies that require a gradient are taken as they are; the moments of the reward are constants."""
    torch = pytest.importorskip("torch")
    old = SoftmaxPolicy(torch.tensor([0.3, -0.6, 0.1], dtype=torch.float64, requires_grad=True))
    logits = torch.tensor([0.9, -1.1, 0.2], dtype=torch.float64, requires_grad=True)

    def total(values: Any) -> Any:
        return expected_entropy_drift(SoftmaxPolicy(values), Clip(), TABLE, old_policy=old, learning_rate=0.1).total

    total(logits).backward()
    h = 1e-5  # central differences: truncation h^2/6 times a third derivative of order eta, rounding / h
    for a in range(3):
        shift = h * torch.eye(3, dtype=torch.float64)[a]
        numeric = float(total((logits + shift).detach()) - total((logits - shift).detach())) / (2 * h)
        assert abs(float(logits.grad[a]) - numeric) <= h**2 + 64 * 2.0**-52 / h


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"old_policy": SoftmaxPolicy([0.0, 0.0])}, r"policy has shape \(3,\) and old_policy \(2,\)"),
        ({"learning_rate": 0.0}, "learning_rate must be positive and finite, got 0.0"),
        ({"learning_rate": -0.1}, "learning_rate must be positive and finite, got -0.1"),
        ({"learning_rate": INF}, "learning_rate must be positive and finite, got inf"),
        ({"learning_rate": math.nan}, "learning_rate must be positive and finite, got nan"),
        ({"geometry": "hyperbolic"}, "geometry must be .* got 'hyperbolic'"),
        ({"order": 0}, "order must be 1 .* or 2 .* got 0"),
        ({"order": 3, "batch": 2}, "order must be 1 .* or 2 .* got 3"),
        ({"order": 2}, "order = 2 needs batch >= 1, .* got None"),
        ({"order": 2, "batch": 0}, "order = 2 needs batch >= 1, .* got 0"),
        ({"order": 2, "batch": -4}, "order = 2 needs batch >= 1, .* got -4"),
        ({"order": 2, "batch": 6, "advantage": GroupRelative(4)}, "batch = 6 is not divisible by advantage.size = 4"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(wrong: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = dict(old_policy=OLD, learning_rate=0.1)
    with pytest.raises(ValueError, match=message):
        expected_entropy_drift(NEW, Clip(), Bernoulli(0.2), **{**arguments, **wrong})


@pytest.mark.parametrize(
    "right",
    [
        {"geometry": "natural"},
        {"geometry": "euclidean"},
        {"order": 1, "batch": 6, "advantage": GroupRelative(4)},  # first order has no minibatch to cut into groups
        {"order": 2, "batch": 1},
        {"order": 2, "batch": 8, "advantage": GroupRelative(4)},
        {"learning_rate": 1e-300},
        {"learning_rate": 2.0},
    ],
    ids=str,
)
def test_arguments_at_the_ends_of_what_makes_sense(right: dict[str, Any]) -> None:
    got = expected_entropy_drift(NEW, Clip(), Bernoulli(0.2), **{"old_policy": OLD, "learning_rate": 0.1, **right})
    assert np.isfinite(got.total)
    assert (got.curvature is not None) == (right.get("order") == 2)


def test_causes_of_an_ungated_objective_act_on_both_signs() -> None:
    """CISPO below the low bound: the weight is 0.8 A for either sign, a change of (0.8 - r) A booked on the low side."""
    ratio = np.array([0.5, 2.0])
    old, plus, minus = np.full(2, 0.1), np.array([0.3, 0.3]), np.array([0.1, 0.1])
    causes = split_by_cause(changed(Cispo(0.2, 0.2), ratio, old), plus, minus)
    assert_identity(causes["unclipped"], np.array([0.2, 0.2]), np.ones(2))
    assert_identity(causes["clip_low"], np.array([(0.8 / 0.5 - 1) * 0.2, 0.0]), np.ones(2))
    assert_identity(causes["clip_high"], np.array([0.0, (1.2 / 2.0 - 1) * 0.2]), np.ones(2))
    assert_identity(causes["other"], np.zeros(2), np.ones(2))


def test_causes_of_dual_clip_book_the_cap_as_other() -> None:
    """A < 0 and r beyond the cap: neither of PPO's sides, so the whole A- is lost under `other`."""
    ratio, old = np.array([4.0]), np.array([0.1])
    causes = split_by_cause(changed(DualClip(), ratio, old), np.array([0.0]), np.array([0.7]))
    assert [float(causes[name][0]) for name in CAUSES] == [-0.7, 0.0, 0.0, 0.7]


def test_the_gradient_through_an_infinite_width_is_finite() -> None:
    """torch.where passes 0 times the gradient of the branch not taken: it must not be infinite."""
    torch = pytest.importorskip("torch")
    ratio = torch.tensor([0.5, 1.0, 3.0], dtype=torch.float64, requires_grad=True)
    (changed(CeGppo(0.2, INF), ratio, ratio.detach()).gains.plus * ratio).sum().backward()
    assert_identity(ratio.grad.numpy(), np.ones(3), np.ones(3))
