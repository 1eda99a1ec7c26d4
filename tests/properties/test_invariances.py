"""What must not change, or change by a known law: shifts, permutations, splits of actions, mirror images, scales, libraries."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from entclip.drift.cumulants import directional_derivatives
from entclip.drift.expected import DriftTerms, expected_entropy_drift
from entclip.drift.first_order import clip_set_stats
from entclip.drift.noise import noise_drift
from entclip.objectives.base import weight
from entclip.objectives.catalogue import objective
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from entclip.policies.softmax import SoftmaxPolicy, centered_kappa, entropy, kappa, log_softmax
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Bernoulli, Rademacher, TableReward
from tests.properties.oracle import entropy_size, first_order
from tests.properties.strategies import (
    SEEDS,
    Logits,
    Move,
    Pair,
    action_free,
    clips,
    geometries,
    given_logits,
    groups,
    laws,
    logits,
    mild_moves,
    objectives,
    pairs,
    steps,
    tables,
)
from tests.seen import changed, seen
from tests.tolerances import assert_identity

FIRST = ("unclipped", "clip_low", "clip_high", "other")
gentle_pairs = st.builds(Pair, st.one_of(laws(300, scale=0.1), given_logits(6, bound=5.0)), mild_moves)


def drift(policy: SoftmaxPolicy, old: SoftmaxPolicy, reward, objective, geometry, rate=1.0, batch=None, advantage=Independent()):
    return expected_entropy_drift(
        policy,
        Clip(),
        reward,
        old_policy=old,
        learning_rate=rate,
        geometry=geometry,
        advantage=advantage,
        objective=objective,
        order=1 if batch is None else 2,
        batch=batch,
    )


def far_from_bounds(pair: Pair, objective) -> bool:
    """No ratio within rounding of a bound: a ratio on a bound may fall on either side once it is rounded otherwise."""
    pieces = [changed(objective, pair.ratio * (1 + d), pair.old_probs).piece for d in (-1e-9, 0, 1e-9)]
    return all(np.array_equal(piece, pieces[1]) for piece in pieces)


def sizes(pair: Pair, reward, objective, geometry, rate=1.0, batch=1, advantage=Independent()) -> tuple[float, float]:
    """Sums of absolute terms of the first and of the second order, with the rounding of exponents."""
    m = advantage.moments(reward, pair.old_probs)
    a = max(1.0, float(np.max(m.plus + m.minus)), float(np.max(m.plus_sq + m.minus_sq))) + float(np.max(np.abs(reward.levels)))
    p, r, one = pair.probs, pair.ratio, np.ones(pair.vocab)
    gains = [np.abs(weight(objective, seen(r, pair.old_probs), sign * one)) / r for sign in (1, -1)]
    gain = 1 + float(max(np.max(gains[0]), np.max(gains[1])))
    # log pi is rounded anew, to an ulp of 1 even where pi is nearly 1 and its logarithm nearly 0: hence 1 + |l| + H.
    size = 1 + np.abs(pair.log_p) + float(entropy(pair.log_p))
    value = p * size * (1 if geometry == "natural" else p)
    first = rate * a * float(np.sum((value + p * np.sum(value)) * (2 + gains[0] + gains[1]))) * pair.conditioning
    step = 1 / pair.old_probs if geometry == "natural" else r * (1 + np.sum(p))
    # tr(Hess S) <= sum_a pi0_a H_aa (gain A)^2 / pi0_a^2 (natural), bounded steps (euclidean); g'Hg <= V-free sums of pi.
    trace = np.sum(pair.old_probs * (a * gain * step) ** 2 * p * size) * (1 if geometry == "natural" else 8)
    mean = (a * gain) ** 2 * np.sum(p * size) * 8
    # A soft gate has slope tau: a ratio rounded otherwise, by an ulp, moves it by tau r ulps.
    slope = 1 + (max(objective.tau_pos, objective.tau_neg) * float(r.max()) if isinstance(objective, Sapo) else 0)
    return slope * first, slope * 4 * rate**2 * pair.conditioning * float(trace / batch + mean)


def assert_same(got: DriftTerms, expected: DriftTerms, size: tuple[float, float]) -> None:
    for cause in FIRST:
        assert_identity(getattr(got, cause), getattr(expected, cause), size[0])
    if expected.curvature is not None:
        assert_identity(got.curvature, expected.curvature, size[1])
    assert np.isnan(got.gap_low) == np.isnan(expected.gap_low)
    assert np.isnan(got.gap_high) == np.isnan(expected.gap_high)


@given(logits(), st.floats(-1e3, 1e3), geometries)
def test_shifting_all_logits_changes_no_function_of_the_policy(law, shift, geometry) -> None:
    a, b = SoftmaxPolicy(law.array), SoftmaxPolicy(law.array + shift)
    size = entropy_size(a.log_probs) * (1 + abs(shift))  # theta + shift is rounded to |shift| ulps
    scale = (1 + np.abs(a.log_probs)) * (1 + abs(shift))
    assert_identity(b.log_probs, a.log_probs, scale)
    assert_identity(b.entropy, a.entropy, size)
    for f in (kappa, centered_kappa):
        assert_identity(f(b.log_probs, geometry), f(a.log_probs, geometry), scale * (1 + np.abs(a.log_probs)) + size)


@given(gentle_pairs, st.floats(-100, 100), st.floats(-100, 100), action_free, objectives, geometries)
def test_shifting_all_logits_changes_no_drift(pair, shift, old_shift, reward, objective, geometry) -> None:
    assume(far_from_bounds(pair, objective))
    moved = SoftmaxPolicy(pair.policy.logits + shift), SoftmaxPolicy(pair.old_policy.logits + old_shift)
    size = np.array(sizes(pair, reward, objective, geometry, batch=3)) * (1 + abs(shift) + abs(old_shift))
    assert_same(
        drift(*moved, reward, objective, geometry, batch=3),
        drift(pair.policy, pair.old_policy, reward, objective, geometry, batch=3),
        size,
    )


@given(gentle_pairs, st.data(), SEEDS, objectives, geometries)
def test_permuting_actions_changes_nothing(pair, data, seed, objective, geometry) -> None:
    assume(far_from_bounds(pair, objective))
    order = np.random.default_rng(seed).permutation(pair.vocab)
    reward = data.draw(st.one_of(action_free, tables(pair.vocab)) if pair.vocab <= 6 else action_free)
    moved = replace(reward, values=tuple(np.array(reward.values)[order])) if isinstance(reward, TableReward) else reward
    advantage = data.draw(st.one_of(st.just(Independent()), groups(st.integers(2, 3))))
    batch = 2 * advantage.size
    # Summing in another order rounds Z differently: that is a shift of all logits by an ulp.
    a = drift(
        SoftmaxPolicy(pair.policy.logits[order]),
        SoftmaxPolicy(pair.old_policy.logits[order]),
        moved,
        objective,
        geometry,
        batch=batch,
        advantage=advantage,
    )
    b = drift(pair.policy, pair.old_policy, reward, objective, geometry, batch=batch, advantage=advantage)
    size = np.array(sizes(pair, reward, objective, geometry, batch=batch, advantage=advantage))
    assert_same(a, b, size)


@given(logits(largest=1000), steps, SEEDS)
def test_permuting_actions_changes_no_derivative(law, step, seed) -> None:
    log_p = log_softmax(law.array)
    d, order = step.of(log_p), np.random.default_rng(seed).permutation(len(log_p))
    size, spread = 8 * entropy_size(log_p), np.ptp(d)
    for n, (a, b) in enumerate(
        zip(directional_derivatives(log_p[order], d[order])[:3], directional_derivatives(log_p, d)[:3], strict=True), start=1
    ):
        assert_identity(a, b, size * spread**n)


@given(pairs(largest=1000), clips, action_free, geometries)
def test_a_side_switched_off_vanishes_exactly_and_leaves_the_other_alone(pair, clip, reward, geometry) -> None:
    both = drift(pair.policy, pair.old_policy, reward, clip, geometry)
    low = drift(pair.policy, pair.old_policy, reward, Clip(clip.low, math.inf), geometry)
    high = drift(pair.policy, pair.old_policy, reward, Clip(1.0, clip.high), geometry)
    off = drift(pair.policy, pair.old_policy, reward, Clip(1.0, math.inf), geometry)
    free = drift(pair.policy, pair.old_policy, reward, NoClip(), geometry)
    assert low.clip_high == high.clip_low == off.clip_low == off.clip_high == 0.0
    assert low.clip_low == both.clip_low
    assert high.clip_high == both.clip_high
    assert off.unclipped == free.unclipped == both.unclipped
    assert off.total == free.total
    dual = drift(pair.policy, pair.old_policy, reward, DualClip(clip.low, clip.high, math.inf), geometry)
    assert (dual.clip_low, dual.clip_high, dual.other) == (both.clip_low, both.clip_high, both.other)


@given(pairs(largest=1000), action_free, geometries, objectives)
def test_nothing_clips_on_the_policy_that_sampled(pair, reward, geometry, objective) -> None:
    """r = 1 exactly: both clip sets are empty, whatever the widths."""
    got = drift(pair.policy, pair.policy, reward, objective, geometry)
    assert got.clip_low == got.clip_high == 0.0
    assert math.isnan(got.gap_low)
    assert math.isnan(got.gap_high)


@given(gentle_pairs, objectives, groups(st.integers(2, 4)), geometries, st.floats(0.01, 2), st.integers(-3, 3))
def test_powers_of_the_learning_rate(pair, objective, advantage, geometry, rate, k) -> None:
    """First order is linear, curvature quadratic; a power of two multiplies without rounding, so equality is exact."""
    a = drift(pair.policy, pair.old_policy, Bernoulli(0.3), objective, geometry, rate, 2 * advantage.size, advantage)
    b = drift(pair.policy, pair.old_policy, Bernoulli(0.3), objective, geometry, rate * 2.0**k, 2 * advantage.size, advantage)
    for cause in FIRST:
        assert getattr(b, cause) == 2.0**k * getattr(a, cause)
    assert b.curvature == 4.0**k * a.curvature
    np.testing.assert_array_equal([b.gap_low, b.gap_high], [a.gap_low, a.gap_high])


@given(gentle_pairs, st.data(), geometries)
def test_mirrored_reward(pair, data, geometry) -> None:
    """A -> -A: the unclipped drift changes sign, noise stays, and each side acts with the other sign's moment."""
    assume(pair.vocab <= 6)
    reward = data.draw(tables(pair.vocab))
    mirrored = TableReward(tuple(-v for v in reward.values))
    advantage = data.draw(st.one_of(st.just(Independent()), groups(st.integers(2, 4))))
    args = dict(geometry=geometry, batch=2 * advantage.size, advantage=advantage)
    size = sizes(pair, reward, NoClip(), geometry, batch=args["batch"], advantage=advantage)
    a, b = (drift(pair.policy, pair.old_policy, x, NoClip(), **args) for x in (reward, mirrored))
    assert_identity(b.unclipped, -a.unclipped, size[0])
    assert_identity(b.curvature, a.curvature, size[1])
    clip = data.draw(clips)
    m = advantage.moments(reward, pair.old_probs)
    exchanged = first_order(clip, m.by_action("minus"), m.by_action("plus"), pair.log_p, pair.log_old, geometry, 1.0)
    c = drift(pair.policy, pair.old_policy, mirrored, clip, **args)
    for cause in FIRST:
        assert_identity(getattr(c, cause), exchanged.causes[cause], size[0])


# ---- Splitting an action into identical ones -------------------------------------------------------------------------------


def split_all(pair: Pair, k: int) -> tuple[SoftmaxPolicy, SoftmaxPolicy]:
    """Every action becomes k equal ones: probabilities divide by k, ratios stay."""
    return SoftmaxPolicy(np.repeat(pair.policy.logits, k)), SoftmaxPolicy(np.repeat(pair.old_policy.logits, k))


@given(gentle_pairs, st.sampled_from([2, 3, 4]), clips, action_free, geometries)
def test_splitting_every_action(pair, k, clip, reward, geometry) -> None:
    """H and the natural kappa rise by log k, so natural drift and gaps stay; the euclidean kappa and drift divide by k."""
    assume(far_from_bounds(pair, clip))
    new, old = split_all(pair, k)
    assert_identity(new.entropy, pair.policy.entropy + math.log(k), entropy_size(new.log_probs))
    a, b = (drift(*x, reward, clip, geometry) for x in ((pair.policy, pair.old_policy), (new, old)))
    size = sizes(pair, reward, clip, geometry)[0] * (1 + math.log(k))
    share = 1 if geometry == "natural" else k
    for cause in FIRST:
        assert_identity(getattr(b, cause) * share, getattr(a, cause), size)
    x = clip_set_stats(changed(clip, pair.ratio, pair.old_probs), pair.log_p, geometry)
    y = clip_set_stats(changed(clip, np.exp(new.log_probs - old.log_probs), np.exp(old.log_probs)), new.log_probs, geometry)
    assert_identity([y.pi_low, y.pi_high], np.array([x.pi_low, x.pi_high]), np.full(2, pair.conditioning))
    assert_identity(np.array([y.mass_low, y.mass_high]) * share, np.array([x.mass_low, x.mass_high]), np.full(2, size))
    assert_identity(
        kappa(new.log_probs, geometry) * share,
        np.repeat(kappa(pair.log_p, geometry), k) + (math.log(k) if geometry == "natural" else 0),
        np.repeat((1 + np.abs(pair.log_p)) * pair.conditioning, k),
    )


@given(gentle_pairs, objectives, st.integers(1, 5), action_free, geometries)
def test_curvature_of_split_actions(pair, objective, batch, reward, geometry) -> None:
    """natural: k times the single-sample trace plus what stays: affine in k. euclidean: a/k + b/k^2."""
    assume(far_from_bounds(pair, objective) and objective.by_ratio)  # a half of an action has its ratio, not its probability
    c = [float(drift(*split_all(pair, k), reward, objective, geometry, batch=batch).curvature) for k in (1, 2, 4)]
    size = 16 * sizes(pair, reward, objective, geometry, batch=batch)[1]
    assert_identity(c[2], 3 * c[1] - 2 * c[0] if geometry == "natural" else 0.75 * c[1] - c[0] / 8, size)


@given(laws(300, scale=0.1), st.integers(2, 5), st.floats(0.1, 2))
def test_natural_noise_drift_of_split_actions(law, k, m2) -> None:
    """T9's bracket sum_a (s_a - H) - (V - 1) becomes k (bracket) - (k - 1)."""
    one, many = (log_softmax(np.repeat(law.array, n)) for n in (1, k))
    a, b = (noise_drift(x, learning_rate=1.0, second_moment=m2, batch=1, geometry="natural") for x in (one, many))
    size = m2 * k * (np.sum(1 + np.abs(one)) + len(one) * entropy_size(many))
    assert_identity(b, k * a - (k - 1) * m2 / 2, size)


@given(gentle_pairs, st.integers(0, 5), st.floats(0.05, 0.95), clips, st.data())
def test_splitting_one_action_adds_its_own_entropy(pair, index, share, clip, data) -> None:
    """Action j into shares f, 1 - f: its mean kappa rises by h = -f log f - (1-f) log(1-f), so H by pi_j h and each natural
    term by eta h pi_j (w_j - E_pi w)."""
    assume(pair.vocab <= 6 and far_from_bounds(pair, clip))
    j = index % pair.vocab
    h = -share * math.log(share) - (1 - share) * math.log1p(-share)

    def split(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, [x[j] + math.log1p(-share)]]) + np.where(np.arange(len(x) + 1) == j, math.log(share), 0)

    reward = data.draw(st.one_of(action_free, tables(pair.vocab)))
    copied = replace(reward, values=(*reward.values, reward.values[j])) if isinstance(reward, TableReward) else reward
    new, old = SoftmaxPolicy(split(pair.policy.logits)), SoftmaxPolicy(split(pair.old_policy.logits))
    size = sizes(pair, reward, clip, "natural")[0] * (2 - math.log(min(share, 1 - share)))
    assert_identity(new.entropy, pair.policy.entropy + pair.probs[j] * h, size)
    a, b = drift(pair.policy, pair.old_policy, reward, clip, "natural"), drift(new, old, copied, clip, "natural")
    m = Independent().moments(reward, pair.old_probs)
    plus, minus = (np.broadcast_to(m.by_action(n), pair.probs.shape) for n in ("plus", "minus"))
    low, high = pair.ratio < 1 - clip.low, pair.ratio > 1 + clip.high
    for cause, w in (("unclipped", plus - minus), ("clip_low", minus * low), ("clip_high", -plus * high)):
        moved = h * pair.probs[j] * (w[j] - pair.probs @ w)
        assert_identity(getattr(b, cause), getattr(a, cause) + moved, size)


# ---- Contexts and libraries -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(SEEDS, SEEDS), min_size=2, max_size=4), st.integers(2, 40), objectives, geometries)
def test_contexts_do_not_mix(seeds, vocab, objective, geometry) -> None:
    """A stack of contexts gives what each gives alone."""
    alone = [Pair(Logits("lognormal", vocab, 1.0, a), Move("flat", 0.4, b)) for a, b in seeds]
    stacked = (SoftmaxPolicy(np.stack([getattr(x, name).logits for x in alone])) for name in ("policy", "old_policy"))
    together = drift(*stacked, Rademacher(), objective, geometry, batch=4)
    for k, pair in enumerate(alone):
        one = drift(pair.policy, pair.old_policy, Rademacher(), objective, geometry, batch=4)
        terms = (getattr(together, f.name) for f in fields(DriftTerms))
        row = DriftTerms(*(None if term is None else term[k] for term in terms))
        assert_same(row, one, sizes(pair, Rademacher(), objective, geometry, batch=4))


@given(gentle_pairs, objectives, geometries, st.data())
def test_torch_gives_what_numpy_gives(pair, objective, geometry, data) -> None:
    import torch

    assume(far_from_bounds(pair, objective))
    reward = data.draw(st.one_of(action_free, tables(pair.vocab)) if pair.vocab <= 6 else action_free)
    tensors = (SoftmaxPolicy(torch.tensor(x.logits, dtype=torch.float64)) for x in (pair.policy, pair.old_policy))
    a = drift(*tensors, reward, objective, geometry, batch=4)
    b = drift(pair.policy, pair.old_policy, reward, objective, geometry, batch=4)
    size = np.array(sizes(pair, reward, objective, geometry, batch=4))
    for cause in FIRST:
        value = getattr(a, cause)
        assert isinstance(value, torch.Tensor)
        assert_identity(value.item(), getattr(b, cause), size[0])
    assert_identity(a.curvature.item(), b.curvature, size[1])
    assert np.isnan(a.gap_low.item()) == np.isnan(b.gap_low)


@pytest.mark.parametrize("name", ["clip", "dual_clip", "cispo", "ce_gppo", "none", "sapo", "dppo_tv"])
def test_an_objective_by_name_takes_the_widths_it_has(name) -> None:
    pair, clip = Pair(Logits("zipf", 9, 1.0, 0), Move("flat", 0.4, 1)), Clip(0.1, 0.3)
    widths = {"low": clip.low, "high": clip.high} if name not in ("none", "sapo", "dppo_tv") else {}
    args = dict(old_policy=pair.old_policy, learning_rate=0.5)
    got = expected_entropy_drift(pair.policy, clip, Rademacher(), objective=name, **args)
    expected = expected_entropy_drift(pair.policy, clip, Rademacher(), objective=objective(name, **widths), **args)
    for cause in FIRST:
        assert getattr(got, cause) == getattr(expected, cause)
