"""T8, T9: expected curvature against enumeration of every outcome of a minibatch; noise-driven drift in closed form."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import pytest

from entclip.drift.noise import noise_drift
from entclip.drift.second_order import expected_curvature, expected_step_variance
from entclip.drift.steps import logit_step
from entclip.objectives.base import Objective, weight
from entclip.objectives.cispo import Cispo
from entclip.objectives.clip import Clip
from entclip.objectives.dual_clip import DualClip
from entclip.objectives.none import NoClip
from entclip.policies.laws import dirichlet, peaked, uniform, zipf
from entclip.policies.softmax import Geometry, SoftmaxPolicy, log_softmax
from entclip.rewards.advantage import Advantage, GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Rademacher, RewardLaw, TableReward
from tests.family import members
from tests.seen import changed, seen
from tests.tolerances import assert_identity

INF = math.inf
OLD = log_softmax(np.array([0.3, -0.6, 0.1]))
NEW = log_softmax(np.array([0.9, -1.1, 0.2]))  # ratios about 1.32, .44, .80: both clip sets and the band are occupied
OBJECTIVES: dict[str, Objective] = members(0.2)
TABLE = TableReward((0.0, 1.0, 0.4))
geometries = pytest.mark.parametrize("geometry", ["natural", "euclidean"])
objectives = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def dense_hessian(log_probs: np.ndarray) -> np.ndarray:
    """T1's matrix, as theory.md prints it."""
    p = np.exp(log_probs)
    x = log_probs - p @ log_probs
    return -np.diag(p * (x + 1)) + np.outer(p, p) * (x[:, None] + x[None, :] + 1)


def outcomes(old: np.ndarray, reward: RewardLaw, batch: int) -> Iterator[tuple[float, list[int], list[float]]]:
    """Every (chance, actions, rewards) of `batch` samples of the old policy."""
    chances = np.broadcast_to(reward.level_probs, (len(old), len(reward.levels)))
    one = [
        (old[a] * chances[a, k], a, reward.levels[k]) for a in range(len(old)) for k in range(len(reward.levels)) if chances[a, k]
    ]
    for samples in itertools.product(one, repeat=batch):
        yield math.prod(s[0] for s in samples), [s[1] for s in samples], [s[2] for s in samples]


def advantages(advantage: Advantage, reward: RewardLaw, rewards: list[float], old: np.ndarray) -> np.ndarray:
    """Independent: reward minus its exact mean. Groups: consecutive samples."""
    if isinstance(advantage, Independent):
        chances = np.broadcast_to(reward.level_probs, (len(old), len(reward.levels)))
        return np.asarray(rewards) - old @ chances @ reward.levels
    groups = np.asarray(rewards).reshape(-1, advantage.size)
    centred = groups - groups.mean(-1, keepdims=True)
    if advantage.scale == "std":
        std = groups.std(-1, ddof=advantage.ddof, keepdims=True)
        centred = np.where(np.ptp(groups, axis=-1, keepdims=True) > 0, centred / np.where(std > 0, std + advantage.eps, 1), 0)
    return centred.reshape(-1)


class Enumeration:
    """Mean of half d'Hess d over weighted outcomes of the step, and the mean of its absolute terms."""

    def __init__(self, objective: Objective, geometry: Geometry, eta: float, log_p: np.ndarray, log_old: np.ndarray) -> None:
        self.objective, self.geometry, self.eta, self.log_p, self.log_old = objective, geometry, eta, log_p, log_old
        self.ratio, self.old = np.exp(log_p - log_old), np.exp(log_old)
        self.hessian = dense_hessian(log_p)
        self.values: list[float] = []
        self.terms: list[float] = []

    def add(self, chance: float, actions: list[int], advantage: np.ndarray, batch: int, scale: float = 1.0) -> None:
        """One minibatch: `batch` divides, `scale` multiplies every sample's step."""
        index = np.asarray(actions, dtype=int)
        c = weight(self.objective, seen(self.ratio[index], self.old[index]), np.asarray(advantage))
        summed = np.bincount(index, weights=c / self.ratio[index], minlength=len(self.old)) * scale / batch
        step = logit_step(summed, self.log_p, self.log_old, learning_rate=self.eta, geometry=self.geometry)
        self.values.append(chance * float(step @ self.hessian @ step) / 2)
        self.terms.append(chance * float(np.abs(step) @ np.abs(self.hessian) @ np.abs(step)) / 2)

    def check(self, got: np.ndarray) -> None:
        # The formula adds trace, mean and pair terms that may each exceed the result: 4 times the terms covers them.
        assert_identity(got, math.fsum(self.values), 4 * math.fsum(self.terms))


def predicted(
    e: Enumeration, advantage: Advantage, reward: RewardLaw, batch: int, shared: float, visits: float = 1.0
) -> np.ndarray:
    gains = changed(e.objective, e.ratio, e.old)
    return expected_curvature(
        e.log_p,
        e.ratio,
        gains,
        advantage.moments(reward, e.old),
        learning_rate=e.eta,
        geometry=e.geometry,
        batch=batch,
        shared_group=shared,
        visits=visits,
    )


def test_one_step_is_what_theory_says() -> None:
    """logit_step of one sample: c e_a/pi(a) and c (e_a - pi): the enumeration below rests on it."""
    ratio, p = np.exp(NEW - OLD), np.exp(NEW)
    for a in range(3):
        c = 0.7
        w = np.zeros(3)
        w[a] = c / ratio[a]
        unit = np.eye(3)[a]
        assert_identity(
            logit_step(w, NEW, OLD, learning_rate=2.0, geometry="natural"), 2 * c * unit / p[a], np.full(3, 2 * c / p[a])
        )
        assert_identity(logit_step(w, NEW, OLD, learning_rate=2.0, geometry="euclidean"), 2 * c * (unit - p), np.full(3, 4 * c))


@geometries
@objectives
@pytest.mark.parametrize("reward", [Rademacher(), Bernoulli(0.2), TABLE], ids=["rademacher", "bernoulli", "table"])
def test_t8_independent_samples(objective: Objective, geometry: Geometry, reward: RewardLaw) -> None:
    for batch in (1, 2, 4) if isinstance(reward, TableReward) else (1, 2, 3):
        e = Enumeration(objective, geometry, 0.7, NEW, OLD)
        for chance, actions, rewards in outcomes(e.old, reward, batch):
            e.add(chance, actions, advantages(Independent(), reward, rewards, e.old), batch)
        e.check(predicted(e, Independent(), reward, batch, 0.0))


@geometries
@objectives
@pytest.mark.parametrize("reward", [Bernoulli(0.2), TABLE], ids=["bernoulli", "table"])
def test_step_variance_of_independent_samples(objective: Objective, geometry: Geometry, reward: RewardLaw) -> None:
    """E Var_pi(d) is a mean of squares of the same step: Var_pi's matrix diag(pi) - pi pi' takes the Hessian's place."""
    p = np.exp(NEW)
    e = Enumeration(objective, geometry, 1.0, NEW, OLD)
    e.hessian = 2 * (np.diag(p) - np.outer(p, p))  # 2: the enumeration takes half
    for chance, actions, rewards in outcomes(e.old, reward, 2):
        e.add(chance, actions, advantages(Independent(), reward, rewards, e.old), 2)
    gains, moments = changed(objective, e.ratio, e.old), Independent().moments(reward, e.old)
    e.check(expected_step_variance(NEW, e.ratio, gains, moments, geometry=geometry, batch=2))


GROUP_CASES = {
    "none": GroupRelative(2),
    "std0": GroupRelative(2, "std", 0),
    "std1_eps": GroupRelative(2, "std", 1, eps=0.1),
}


@geometries
@objectives
@pytest.mark.parametrize("reward", [Bernoulli(0.2), TABLE], ids=["bernoulli", "table"])
@pytest.mark.parametrize("batch", [2, 4])
def test_t8_whole_groups(objective: Objective, geometry: Geometry, reward: RewardLaw, batch: int) -> None:
    for group in GROUP_CASES.values() if batch == 2 else [GROUP_CASES["std1_eps"]]:
        e = Enumeration(objective, geometry, 0.7, NEW, OLD)
        for chance, actions, rewards in outcomes(e.old, reward, batch):
            e.add(chance, actions, advantages(group, reward, rewards, e.old), batch)
        e.check(predicted(e, group, reward, batch, (group.size - 1) / (batch - 1)))


@geometries
@pytest.mark.parametrize("reward", [Bernoulli(0.3), TABLE], ids=["bernoulli", "table"])
@pytest.mark.parametrize("objective", [Clip(0.2, 0.2), Cispo(0.3, 0.1)], ids=str)
def test_t8_a_group_of_three(objective: Objective, geometry: Geometry, reward: RewardLaw) -> None:
    """The pair moments sum out a third sample."""
    group = GroupRelative(3, "std", 1)
    e = Enumeration(objective, geometry, 0.7, NEW, OLD)
    for chance, actions, rewards in outcomes(e.old, reward, 3):
        e.add(chance, actions, advantages(group, reward, rewards, e.old), 3)
    e.check(predicted(e, group, reward, 3, 1.0))


@geometries
@objectives
def test_t8_minibatch_drawn_from_the_rollout(objective: Objective, geometry: Geometry) -> None:
    """Two of the four samples (two groups of two), every subset equally likely: c = (G-1)/(N-1)."""
    group = GroupRelative(2, "std", 0)
    e = Enumeration(objective, geometry, 0.7, NEW, OLD)
    for chance, actions, rewards in outcomes(e.old, TABLE, 4):
        a = advantages(group, TABLE, rewards, e.old)
        for i, j in itertools.combinations(range(4), 2):
            e.add(chance / 6, [actions[i], actions[j]], a[[i, j]], 2)
    e.check(predicted(e, group, TABLE, 2, 1 / 3))


@geometries
@objectives
@pytest.mark.parametrize("grouped", [False, True], ids=["independent", "groups"])
def test_t8_contexts_visited_at_random(objective: Objective, geometry: Geometry, grouped: bool) -> None:
    """Each sample visits the context with probability d. The state-weighted Fisher matrix divides natural steps by d."""
    d, batch, reward = 0.3, 2, Bernoulli(0.2)
    advantage: Advantage = GroupRelative(2, "std", 1, eps=0.1) if grouped else Independent()
    e = Enumeration(objective, geometry, 0.7, NEW, OLD)
    for chance, actions, rewards in outcomes(e.old, reward, batch):
        a = advantages(advantage, reward, rewards, e.old)  # the whole group has rewards, whoever passes through this context
        for visited in itertools.product([False, True], repeat=batch):
            mask = np.array(visited)
            visit = math.prod(d if s else 1 - d for s in visited)
            e.add(chance * visit, np.asarray(actions)[mask].tolist(), a[mask], batch, 1 / d if geometry == "natural" else 1.0)
    e.check(predicted(e, advantage, reward, batch, 1.0 if grouped else 0.0, visits=d))


@geometries
def test_t8_falsifiers(geometry: Geometry) -> None:
    """The enumeration rejects: groups forgotten, visits forgotten, the pair term dropped, low and high swapped."""
    group, reward, clip = GroupRelative(2, "std", 0), Bernoulli(0.2), Clip(0.2, 0.3)
    e = Enumeration(clip, geometry, 0.7, NEW, OLD)
    for chance, actions, rewards in outcomes(e.old, reward, 2):
        e.add(chance, actions, advantages(group, reward, rewards, e.old), 2)
    e.check(predicted(e, group, reward, 2, 1.0))
    swapped = Enumeration(Clip(0.6, 0.1), geometry, 0.7, NEW, OLD)
    for wrong in (
        predicted(e, group, reward, 2, 0.0),
        predicted(e, group, reward, 2, 1.0, visits=0.5),
        predicted(e, group, reward, 1, 1.0),
        predicted(swapped, group, reward, 2, 1.0),
    ):
        with pytest.raises(AssertionError, match="worst error"):
            e.check(wrong)


def test_t8_batches_over_contexts() -> None:
    """Rows of (contexts, V), table rewards in groups included, are the single contexts; visits may differ by context."""
    old = dirichlet(5, 1.0, seed=1, contexts=3, floor=0.1).log_probs
    new = log_softmax(old + np.random.default_rng(0).normal(0, 0.4, old.shape))
    table, group, clip = TableReward((0.0, 1.0, 0.5, 0.5, 2.0)), GroupRelative(4, "std"), Clip(0.1, 0.1)
    visits = np.array([1.0, 0.4, 0.01])

    def curvature(rows: slice | int) -> np.ndarray:
        r = np.exp(new[rows] - old[rows])
        return expected_curvature(
            new[rows],
            r,
            changed(clip, r, np.exp(old[rows])),
            group.moments(table, np.exp(old[rows])),
            learning_rate=0.3,
            geometry="natural",
            batch=8,
            shared_group=3 / 7,
            visits=visits[rows],
        )

    whole = curvature(slice(None))
    for k in range(3):
        assert_identity(whole[k], curvature(k), 100 / visits[k])


# ---- T9 ---------------------------------------------------------------------------------------------------------------------


POLICIES: dict[str, SoftmaxPolicy] = {
    "uniform": uniform(16),
    "zipf": zipf(512),
    "peaked": peaked(64, 8.0),
    "dirichlet": dirichlet(32, 0.5, seed=0, contexts=3, floor=0.01),
    "two": uniform(2),
}
ADVANTAGES = {
    "independent": (Independent(), 0.0),
    "groups": (GroupRelative(4), 3 / 15),
    "std": (GroupRelative(4, "std", 0, 0.1), 1.0),
}


def absolute_terms(policy: SoftmaxPolicy, geometry: Geometry) -> np.ndarray:
    """Sum of the absolute terms of T9's bracket and of the trace that it closes."""
    p, x = policy.probs, np.abs(policy.log_probs) + policy.entropy[..., None]
    if geometry == "natural":
        return 4 * np.sum(x + 1, axis=-1)
    return 8 * np.sum(p**2 * (x + 1), axis=-1) * (1 + np.sum(p**2, axis=-1))


@geometries
@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("kind", ADVANTAGES)
def test_t9_is_t8_on_policy(name: str, kind: str, geometry: Geometry) -> None:
    policy, (advantage, shared), reward = POLICIES[name], ADVANTAGES[kind], Bernoulli(0.3)
    moments = advantage.moments(reward, policy.probs)
    m2 = float((moments.plus_sq + moments.minus_sq).item())
    eta, batch, one = 0.5, 16, np.ones_like(policy.log_probs)
    general = expected_curvature(
        policy.log_probs,
        one,
        changed(NoClip(), one, policy.probs),
        moments,
        learning_rate=eta,
        geometry=geometry,
        batch=batch,
        shared_group=shared,
    )
    closed = noise_drift(policy.log_probs, learning_rate=eta, second_moment=m2, batch=batch, geometry=geometry)
    # Without clipping the pair term is <g_i g_j'> with g = 0 in the mean: its terms are those of the trace once more.
    assert_identity(general, closed, eta**2 * (m2 + 1) / batch * absolute_terms(policy, geometry) * batch)
    # A clip that is off, or one that cannot act at ratio 1, changes nothing.
    for objective in (Clip(1, INF), Clip(0.2, 0.2), DualClip()):
        same = expected_curvature(
            policy.log_probs,
            one,
            changed(objective, one, policy.probs),
            moments,
            learning_rate=eta,
            geometry=geometry,
            batch=batch,
            shared_group=shared,
        )
        np.testing.assert_array_equal(same, general)


@geometries
@pytest.mark.parametrize("name", ["uniform3", "zipf3", "peaked3"])
def test_t9_against_enumeration(name: str, geometry: Geometry) -> None:
    policy = {"uniform3": uniform(3), "zipf3": zipf(3), "peaked3": peaked(3, 3.0)}[name]
    e = Enumeration(NoClip(), geometry, 0.7, policy.log_probs, policy.log_probs)
    for chance, actions, rewards in outcomes(policy.probs, Rademacher(), 2):
        e.add(chance, actions, np.asarray(rewards), 2)
    e.check(noise_drift(policy.log_probs, learning_rate=0.7, second_moment=1.0, batch=2, geometry=geometry))


def test_t9_reference() -> None:
    """theory.md, Reference C: bracket/2 at Zipf(1), V = 64, times eta^2 m2/B."""
    for geometry, printed, digits in (("natural", 13.020266, 6), ("euclidean", -0.05309052, 8)):
        got = float(noise_drift(zipf(64).log_probs, learning_rate=1.0, second_moment=1.0, batch=1, geometry=geometry))
        assert abs(got - printed) <= 0.5000001 * 10**-digits


def test_t8_reference_c() -> None:
    """Euclidean, B = 1024, independent +/-1: second order -.000533 at eta 1 and -.008531 at eta 4 (six decimals)."""
    a = np.arange(1, 65)
    old, new = log_softmax(-np.log(a)), log_softmax(-np.log(a) + 0.3 * np.sin(a))
    r = np.exp(new - old)
    for eta, printed in ((1.0, -0.000533), (4.0, -0.008531)):
        got = expected_curvature(
            new,
            r,
            changed(Clip(0.2, 0.2), r, np.exp(old)),
            Independent().moments(Rademacher(), np.exp(old)),
            learning_rate=eta,
            geometry="euclidean",
            batch=1024,
        )
        assert abs(float(got) - printed) <= 0.5000001e-6


def test_t9_signs_of_the_natural_step() -> None:
    """Negative near uniform, positive for peaked policies (theory.md): with the values, from s - H = 0 at uniform."""
    v = 16
    flat = float(noise_drift(uniform(v).log_probs, learning_rate=1.0, second_moment=1.0, batch=1, geometry="natural"))
    assert_identity(flat, -(v - 1) / 2, v * math.log(v) * 2)
    assert float(noise_drift(peaked(v, 8.0).log_probs, learning_rate=1.0, second_moment=1.0, batch=1, geometry="natural")) > 0


@geometries
@pytest.mark.parametrize("grouped", [False, True], ids=["independent", "groups"])
def test_torch_and_numpy_agree(geometry: Geometry, grouped: bool) -> None:
    torch = pytest.importorskip("torch")
    advantage: Advantage = GroupRelative(2, "std") if grouped else Independent()
    moments, shared = advantage.moments(TABLE, np.exp(OLD)), 1.0 if grouped else 0.0

    def curvature(new: object, r: object, old_probs: object) -> object:
        return expected_curvature(
            new,
            r,
            changed(Clip(), r, old_probs),
            moments,
            learning_rate=0.7,
            geometry=geometry,
            batch=2,
            shared_group=shared,
        )

    r, old = np.exp(NEW - OLD), np.exp(OLD)
    got = curvature(*(torch.as_tensor(x) for x in (NEW, r, old)))
    assert_identity(got.numpy(), curvature(NEW, r, old), 10.0)  # type: ignore[attr-defined]
    same = noise_drift(torch.as_tensor(NEW), learning_rate=1.0, second_moment=1.0, batch=1, geometry=geometry)
    assert_identity(same.numpy(), noise_drift(NEW, learning_rate=1.0, second_moment=1.0, batch=1, geometry=geometry), 20.0)
