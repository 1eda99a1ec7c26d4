"""T4, T5, T6, T10: weights against surrogates, and the first-order drift by cause against direct summation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.drift.cumulants import entropy_gradient
from entclip.drift.first_order import clip_set_stats, expected_first_order, expected_weights
from entclip.objectives.base import CAUSES, Objective, clip_events, split_by_cause, weight
from entclip.objectives.ce_gppo import CeGppo
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip, surrogate
from entclip.objectives.dppo_tv import DppoTv
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.objectives.sapo import Sapo
from entclip.policies.softmax import Geometry, SoftmaxPolicy, kappa, log_softmax
from entclip.rewards.advantage import AdvantageMoments, GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, TableReward
from tests.family import EDGES, members
from tests.properties.oracle import published_weight
from tests.seen import changed, seen, sets
from tests.tolerances import IDENTITY, assert_identity

INF = math.inf
OBJECTIVES: dict[str, Objective] = members(0.2) | EDGES
objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())
geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])


def clip_as_published(o: Clip | DualClip, r: np.ndarray, a: np.ndarray) -> np.ndarray:
    """min(r A, clip(r) A), and for dual clip max(., cap A) where A < 0."""
    value = np.minimum(r * a, np.clip(r, 1 - o.low, 1 + o.high) * a)
    return np.where(a < 0, np.maximum(value, o.cap * a), value) if isinstance(o, DualClip) else value


# ---- T4: the weight is the gradient of the surrogate ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "objective",
    [Clip(0.2, 0.28), Clip(1, INF), Clip(0, 0), Clip(1, 0.2), DualClip(0.2, 0.2, 3.0), DualClip(0.2, INF, 1.3)],
    ids=str,
)
def test_t4_weight_is_the_gradient_of_the_clipped_surrogate(objective: Clip | DualClip) -> None:
    rng = np.random.default_rng(0)
    r, a, h = np.exp(rng.normal(0, 0.8, 4000)), rng.normal(size=4000), 1e-5
    kinks = [1 - objective.low, 1 + objective.high, getattr(objective, "cap", INF)]
    near = np.any([np.abs(np.log(r) - np.log(k)) < 2 * h for k in kinks if 0 < k < INF], axis=0) | np.zeros(4000, bool)
    r, a = r[~near], a[~near]
    numeric = (clip_as_published(objective, r * np.exp(h), a) - clip_as_published(objective, r * np.exp(-h), a)) / (2 * h)
    # d^3/dx^3 of r e^x A is itself: truncation h^2/6 |rA| (2: e^h), rounding / h of values up to max(r, cap) |A|.
    scale = np.maximum(r, 3.0) * np.abs(a)
    tolerance = 2 * h**2 / 6 * scale + IDENTITY["float64"] * scale / h
    assert np.all(np.abs(weight(objective, seen(r, np.full_like(r, 0.1)), a) - numeric) <= tolerance)
    if isinstance(objective, Clip):
        np.testing.assert_array_equal(surrogate(objective, r, a), clip_as_published(objective, r, a))


def test_t4_weight_is_the_gradient_of_the_soft_gate() -> None:
    """SAPO: surrogate (4/tau) sigmoid(tau (r - 1)) A is analytic, so a complex step in log r differentiates it without error."""
    rng = np.random.default_rng(1)
    o, r, a = Sapo(1.0, 1.8), np.exp(rng.normal(0, 0.8, 2000)), rng.normal(size=2000)
    tau = np.where(a > 0, o.tau_pos, o.tau_neg)
    z = r * np.exp(1e-30j)
    exact = (4 / tau / (1 + np.exp(-tau * (z - 1))) * a).imag / 1e-30
    assert_identity(weight(o, seen(r, r), a), exact, r * np.abs(a) * (1 + tau * r))  # tau r: conditioning of the exponent


@objectives
def test_t10_weights_of_the_papers(objective: Objective) -> None:
    rng = np.random.default_rng(2)
    r, a, old = np.exp(rng.normal(0, 1, 3000)), rng.normal(size=3000), rng.uniform(1e-6, 0.02, 3000)
    a[:50] = 0
    terms = r * np.abs(a) + np.abs(a)
    assert_identity(weight(objective, seen(r, old), a), published_weight(objective, r, a, old), terms * (1 + r))


@objectives
def test_t4_causes_add_up_to_the_weight(objective: Objective) -> None:
    rng = np.random.default_rng(3)
    r, a, old = np.exp(rng.normal(0, 1, 3000)), rng.normal(size=3000), rng.uniform(1e-6, 0.02, 3000)
    a[:50] = 0
    causes = split_by_cause(changed(objective, r, old), np.maximum(a, 0), np.maximum(-a, 0))
    assert tuple(causes) == CAUSES
    np.testing.assert_array_equal(causes["unclipped"], a)
    gain = 1 + np.abs(weight(objective, seen(r, old), a) / r / np.where(a == 0, 1, a))
    assert_identity(sum(causes.values()), weight(objective, seen(r, old), a) / r, 4 * np.abs(a) * gain)
    low, high = sets(objective, r, old)
    assert not np.any(causes["clip_low"][~low])
    assert not np.any(causes["clip_high"][~high])
    if changed(objective, r, old).gated:
        assert not np.any(causes["clip_low"][a > 0])
        assert not np.any(causes["clip_high"][a < 0])
    if isinstance(objective, Clip):  # T5's own weights, and nothing else
        np.testing.assert_array_equal(causes["clip_low"], np.maximum(-a, 0) * low)
        np.testing.assert_array_equal(causes["clip_high"], -np.maximum(a, 0) * high)
        np.testing.assert_array_equal(causes["other"], np.zeros_like(a))
    events = clip_events(changed(objective, r, old), a)
    assert not np.any(events.low & ~low)
    assert not np.any(events.high & ~high)
    assert not np.any((events.low | events.high) & (a == 0))


@pytest.mark.parametrize("objective", [Clip(0.2, 0.28), DualClip(0.2, 0.28, 1.28), CeGppo(0.2, 0.28), Cispo(0.2, 0.28)], ids=str)
def test_t4_a_ratio_on_the_bound_is_not_clipped(objective: Clip) -> None:
    bounds = np.array([1 - 0.2, 1 + 0.28])
    old = np.full(2, 0.1)
    for a in (1.0, -1.0):
        assert_identity(weight(objective, seen(bounds, old), np.full(2, a)), bounds * a, bounds)
        assert not any(np.any(x) for x in clip_events(changed(objective, bounds, old), np.full(2, a)))
    beyond = np.nextafter(bounds, [0, 9])
    low, high = sets(objective, beyond, old)
    assert low.tolist() == [True, False]
    assert high.tolist() == [False, True]


def test_clip_off_never_clips() -> None:
    r = np.array([1e-300, 1e-9, 1.0, 1e9, 1e300])
    low, high = sets(Clip(1, INF), r, np.ones(5))
    assert not low.any()
    assert not high.any()


# ---- T5, T10: expected drift against direct summation over actions and reward levels ----------------------------------------


def wild_policies(vocab: int, seed: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Pairs (log pi, log pi_old), down to probabilities of 1e-300 and up to one-hot-like."""
    rng = np.random.default_rng(seed)
    zipf = -np.log(np.arange(1, vocab + 1))
    tiny = np.where(np.arange(vocab) % 2, -690.0, 0.0)
    tiny[0] = 0.0
    one_hot = np.full(vocab, -45.0)
    one_hot[0] = 0.0
    one_hot_far = np.full(vocab, -690.0)
    one_hot_far[0] = 0.0
    noise = rng.normal(0, 0.4, (5, vocab))
    return [
        ("zipf", log_softmax(zipf + noise[0]), log_softmax(zipf)),
        ("wide", log_softmax(40 * noise[1]), log_softmax(40 * noise[1] + noise[2])),
        ("tiny", log_softmax(tiny + noise[3]), log_softmax(tiny)),
        ("one_hot", log_softmax(one_hot + noise[4]), log_softmax(one_hot)),
        ("one_hot_far", log_softmax(one_hot_far + noise[4]), log_softmax(one_hot_far)),
        ("takeover", log_softmax(one_hot_far[::-1] / 2), log_softmax(one_hot_far / 2)),  # ratios of 1e150 and 1e-150
        ("takeover_far", log_softmax(one_hot_far[::-1]), log_softmax(one_hot_far)),  # ratios of 1e299 and 1e-299
    ]


def summed(
    o: Objective, log_p: np.ndarray, log_old: np.ndarray, advantages: np.ndarray, chances: np.ndarray, geometry: Geometry
) -> tuple[dict[str, float], float]:
    """<grad H, mean step> by cause, action by action and level by level, and the sum of absolute terms.

    advantages (L,), chances (V or 1, L). One sample's step: c e_a/pi(a) (natural) or c (e_a - pi) (euclidean).
    """
    p, old, r = np.exp(log_p), np.exp(log_old), np.exp(log_p - log_old)
    gradient = entropy_gradient(log_p)
    # <grad H, one unit step of action a>: for natural G_a/pi_a, and the step's inner product with the rest is 0.
    value = gradient / p if geometry == "natural" else gradient - p @ gradient
    low, high = sets(o, r, old)
    total = dict.fromkeys(("all", "unclipped", "clip_low", "clip_high"), 0.0)
    size = 0.0
    for k, a in enumerate(advantages):
        sampled = old * chances[:, k]
        c = published_weight(o, r, np.full_like(r, a), old)
        change = c - r * a
        at_low, at_high = (low & (a < 0), high & (a > 0)) if changed(o, r, old).gated else (low, high)
        total["all"] += math.fsum(sampled * c * value)
        total["unclipped"] += math.fsum(sampled * r * a * value)
        total["clip_low"] += math.fsum(sampled * change * at_low * value)
        total["clip_high"] += math.fsum(sampled * change * at_high * value)
        size += math.fsum(sampled * (np.abs(c) + np.abs(r * a)) * np.abs(value))
    return total, size


def random_objective(rng: np.random.Generator, k: int) -> Objective:
    low, high = rng.uniform(0, 1), rng.uniform(0, 1)
    clips = [Clip(low, high), Clip(1, high), Clip(low, INF), Clip(1, INF), DualClip(low, high, 1 + 2 * rng.uniform())]
    soft = [Cispo(low, high), Sapo(1.0, 1.5), CeGppo(low, high), CeGppo(low, INF, 0.5, 0.9), DppoTv(low * 0.1), NoClip()]
    return [*clips, *soft][k]


@geometries
@pytest.mark.parametrize("vocab", [2, 7, 256, 4096])
@pytest.mark.parametrize("kind", ["bernoulli", "rademacher", "table"])
def test_t5_expected_drift_against_direct_summation(vocab: int, geometry: Geometry, kind: str) -> None:
    rng = np.random.default_rng(vocab)
    for name, log_p, log_old in wild_policies(vocab, seed=vocab + 1):
        old, r = np.exp(log_old), np.exp(log_p - log_old)
        if kind == "table":
            table = rng.integers(0, 4, vocab).astype(float)
            table[0], table[1] = 0, 3
            reward = TableReward(tuple(table))
        else:
            reward = Bernoulli(0.3) if kind == "bernoulli" else Rademacher()
        chances = reward.level_probs
        law = old @ chances if kind == "table" else chances[0]
        advantages = reward.levels - law @ reward.levels
        moments = Independent().moments(reward, old)
        for k in range(11):
            objective = random_objective(rng, k)
            weights = expected_weights(changed(objective, r, old), moments)
            got = expected_first_order(weights, log_p, learning_rate=0.5, geometry=geometry)
            want, size = summed(objective, log_p, log_old, advantages, chances, geometry)
            want["other"] = want["all"] - want["unclipped"] - want["clip_low"] - want["clip_high"]
            # The bound that the project asks for; both sides start from the same log pi, so one-hot policies are no exception.
            for cause in CAUSES:
                assert np.isfinite(got[cause]), (name, objective, cause)
                # pi^2 of an action at 1e-299 is below the smallest float64; times a gain of 1e299 that is up to 1e-290 nats.
                assert abs(got[cause] - 0.5 * want[cause]) <= 1e-10 * size + 1e-290, (name, objective, cause)
            assert abs(sum(got.values()) - 0.5 * want["all"]) <= 1e-10 * size + 1e-290, (name, objective)


def shared_case(vocab: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    log_old = log_softmax(rng.normal(0, 1.5, (3, vocab)))
    log_p = log_softmax(log_old + rng.normal(0, 0.4, (3, vocab)))
    return log_p, log_old, np.exp(log_p - log_old), np.exp(log_old)


RANDOM_REWARDS = {
    "rademacher": (Independent(), Rademacher()),
    "skewed": (Independent(), Bernoulli(0.1)),  # symmetry is not needed
    "gaussian": (Independent(), Gaussian(1.0, 2.0)),
    "grpo": (GroupRelative(8, "std"), Bernoulli(0.3)),
    "dr_grpo": (GroupRelative(4), Bernoulli(0.7)),
}


@geometries
@pytest.mark.parametrize("law", RANDOM_REWARDS)
def test_t6_random_reward_leaves_only_the_clip_terms(law: str, geometry: Geometry) -> None:
    advantage, reward = RANDOM_REWARDS[law]
    log_p, _, r, old = shared_case()
    moments: AdvantageMoments = advantage.moments(reward, old)
    m = moments.by_action("plus")
    assert_identity(moments.by_action("minus"), m, 2 * m)
    clip = Clip(0.2, 0.28)
    drift = expected_first_order(expected_weights(changed(clip, r, old), moments), log_p, learning_rate=0.7, geometry=geometry)
    stats = clip_set_stats(changed(clip, r, old), log_p, geometry)
    p, value = np.exp(log_p), kappa(log_p, geometry)
    size = 2 * float(m[0]) * np.sum(p * np.abs(value), axis=-1)
    assert_identity(drift["unclipped"], np.zeros(3), size)
    assert_identity(drift["other"], np.zeros(3), size)
    assert_identity(drift["clip_low"], 0.7 * m[0] * stats.mass_low, size)
    assert_identity(drift["clip_high"], -0.7 * m[0] * stats.mass_high, size)
    # The masses are pi(X) (E[kappa|X] - E[kappa]), from their definition.
    for mask, chance, mass in ((r < 0.8, stats.pi_low, stats.mass_low), (r > 1.28, stats.pi_high, stats.mass_high)):
        inside = np.sum(p * mask, axis=-1)
        conditional = np.sum(p * value * mask, axis=-1) / inside
        assert_identity(chance, inside, np.ones(3))
        assert_identity(mass, inside * (conditional - np.sum(p * value, axis=-1)), 2 * np.sum(p * np.abs(value), axis=-1))


ON_POLICY = {"entropic", "repo_r", "calibrl"}  # T14: the gains of the two signs differ, and by action, already at r = 1


@geometries
def test_t6_nothing_clips_on_policy(geometry: Geometry) -> None:
    log_p, _, _, _ = shared_case()
    one, p = np.ones_like(log_p), np.exp(log_p)
    for objective in OBJECTIVES.values():
        assert not np.any(list(clip_set_stats(changed(objective, one, p), log_p, geometry)))
        weights = expected_weights(changed(objective, one, p), Independent().moments(Rademacher(), p))
        for cause, value in expected_first_order(weights, log_p, learning_rate=1.0, geometry=geometry).items():
            if cause == "other" and objective.kind in ON_POLICY:
                assert np.all(np.abs(value) > 1e-4), "falsifier: these drift with no move at all"
            else:
                assert_identity(value, np.zeros(3), np.full(3, 10.0))


@geometries
def test_t10_closed_forms_under_random_reward(geometry: Geometry) -> None:
    log_p, _, r, old = shared_case()
    p, value, m = np.exp(log_p), kappa(log_p, geometry), 0.5
    low, high = r < 0.8, r > 1.2

    def sech2(x: np.ndarray) -> np.ndarray:
        return 1 / np.cosh(x) ** 2

    forms: list[tuple[Objective, np.ndarray]] = [
        (Cispo(0.2, 0.2), 0 * r),
        (CeGppo(0.2, 0.2, 0.75, 0.5), m * (1 - 0.75 * 0.8 / r) * low - m * (1 - 0.5 * 1.2 / r) * high),
        (CeGppo(0.2, 0.2, 0, 0), m * low - m * high),
        (Sapo(1.0, 1.8), m * (sech2((r - 1) / 2) - sech2(1.8 * (r - 1) / 2))),
        (Sapo(1.3, 1.3), 0 * r),
        (DualClip(0.2, 0.2, 1.5), m * low - m * high + m * (r > 1.5)),
        (DppoTv(0.002), m * (old * (r - 1) < -0.002) - m * (old * (r - 1) > 0.002)),
        (NoClip(), 0 * r),
    ]
    for objective, w in forms:
        weights = expected_weights(changed(objective, r, old), Independent().moments(Rademacher(), old))
        drift = expected_first_order(weights, log_p, learning_rate=1.0, geometry=geometry)
        want = np.sum(p * value * w, axis=-1) - np.sum(p * value, axis=-1) * np.sum(p * w, axis=-1)
        assert_identity(sum(drift.values()), want, 4 * np.sum(p * np.abs(value), axis=-1) * (1 + np.max(np.abs(w), axis=-1)))
    weights = expected_weights(changed(Cispo(), r, old), Independent().moments(Rademacher(), old))
    for drift_value in expected_first_order(weights, log_p, learning_rate=1.0, geometry=geometry).values():
        np.testing.assert_array_equal(drift_value, np.zeros(3))  # no cause moves entropy, exactly
    gppo = expected_weights(changed(CeGppo(beta_low=1), r, old), Independent().moments(Rademacher(), old))
    assert np.all(gppo["clip_low"][low] < 0)  # GPPO: the factor on LOW is negative


def test_t5_real_reward_without_clipping_is_the_covariance_law() -> None:
    """Natural step, no clipping: dH = -eta Cov_pi(log pi, Abar), the law of Cui et al."""
    log_p, _, r, old = shared_case()
    table = np.random.default_rng(6).integers(0, 2, 200).astype(float)
    moments = Independent().moments(TableReward(tuple(table)), old)
    drift = expected_first_order(
        expected_weights(changed(NoClip(), r, old), moments), log_p, learning_rate=1.0, geometry="natural"
    )
    p, centred = np.exp(log_p), table - (old @ table)[:, None]
    cov = np.sum(p * log_p * centred, axis=-1) - np.sum(p * log_p, axis=-1) * np.sum(p * centred, axis=-1)
    assert_identity(drift["unclipped"], -cov, 4 * np.sum(p * np.abs(log_p), axis=-1))


# ---- Reference C --------------------------------------------------------------------------------------------------------------

# Printed digits of theory.md, Reference C: each is right to half a unit of its last digit.
REFERENCE_C = {
    "H0": (3.371352, 6),
    "H": (3.233632, 6),
    "pi_low": (0.185033, 6),
    "pi_high": (0.227642, 6),
    "natural_low": (0.105267, 6),
    "natural_high": (0.022933, 6),
    "natural_gap_low": (1.137818, 6),
    "natural_gap_high": (-0.201486, 6),
    "euclidean_low": (0.0127347, 7),
    "euclidean_high": (-0.0058286, 7),
    "euclidean_gap_low": (0.137648, 6),
    "euclidean_gap_high": (0.051209, 6),
}


def reference_c() -> tuple[SoftmaxPolicy, SoftmaxPolicy]:
    a = np.arange(1, 65)
    return SoftmaxPolicy(-np.log(a)), SoftmaxPolicy(-np.log(a) + 0.3 * np.sin(a))


def test_reference_c() -> None:
    old_policy, policy = reference_c()
    log_p, log_old, r, old = (
        policy.log_probs,
        old_policy.log_probs,
        np.exp(policy.log_probs - old_policy.log_probs),
        old_policy.probs,
    )
    clip = Clip(0.2, 0.2)
    got: dict[str, float] = {"H0": float(old_policy.entropy), "H": float(policy.entropy)}
    moments = Independent().moments(Rademacher(), old)
    for geometry in ("natural", "euclidean"):
        weights = expected_weights(changed(clip, r, old), moments)
        drift = expected_first_order(weights, log_p, learning_rate=1.0, geometry=geometry)
        stats = clip_set_stats(changed(clip, r, old), log_p, geometry)
        got |= {"pi_low": float(stats.pi_low), "pi_high": float(stats.pi_high)}
        for side in ("low", "high"):
            got[f"{geometry}_{side}"] = float(drift[f"clip_{side}"])
            got[f"{geometry}_gap_{side}"] = float(getattr(stats, f"mass_{side}") / getattr(stats, f"pi_{side}"))
        want, size = summed(clip, log_p, log_old, np.array([-1.0, 1.0]), np.array([[0.5, 0.5]]), geometry)
        for cause in ("unclipped", "clip_low", "clip_high"):
            assert_identity(drift[cause], want[cause], size)
    for name, (printed, digits) in REFERENCE_C.items():
        assert abs(got[name] - printed) <= 0.5000001 * 10**-digits, name


@geometries
@objectives
def test_torch_and_numpy_agree(objective: Objective, geometry: Geometry) -> None:
    torch = pytest.importorskip("torch")
    log_p, _, r, old = shared_case()
    tensors = [torch.as_tensor(x, dtype=torch.float64) for x in (log_p, r, old)]
    table = TableReward(tuple(np.random.default_rng(7).integers(0, 3, 200).astype(float)))
    for moments in (Independent().moments(table, old), GroupRelative(4, "std").moments(Bernoulli(0.3), old)):
        want = expected_first_order(
            expected_weights(changed(objective, r, old), moments),
            log_p,
            learning_rate=0.3,
            geometry=geometry,
        )
        t_p, t_r, t_old = tensors
        got = expected_first_order(
            expected_weights(changed(objective, t_r, t_old), moments),
            t_p,
            learning_rate=0.3,
            geometry=geometry,
        )
        for cause in CAUSES:
            assert got[cause].dtype == torch.float64
            assert_identity(got[cause].numpy(), want[cause], np.sum(np.exp(log_p) * np.abs(log_p), axis=-1) * 10)
    stats = clip_set_stats(changed(objective, *tensors[1:]), tensors[0], geometry)
    for a, b in zip(stats, clip_set_stats(changed(objective, r, old), log_p, geometry), strict=True):
        assert_identity(a.numpy(), b, np.sum(np.exp(log_p) * np.abs(log_p), axis=-1) * 4)
