"""T5, T8 against simulation: replicas of one update, drawn sample by sample with multinomials.

Each example compares means over replicas with their predictions: every cause's <grad H, step>, half the second derivative along
the step, and the entropy change itself, whose remainder T3 bounds for every replica. A comparison fails only if two independent
simulations both miss by more than five standard errors. A normal mean does so by chance with probability (5.7e-7)^2 = 3e-13;
skewed ones (rare actions, hence the cap on 1/(B pi_old)) may do so some hundred times as often in each, still below 1e-8, so
six comparisons in each of 10^5 examples fail by chance with probability below 1 %, and the fixed examples of dev and ci, 100
at most, below 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from entclip.drift.cumulants import remainder_bounds
from entclip.drift.expected import expected_entropy_drift
from entclip.objectives.clip import Clip
from entclip.policies.softmax import entropy, log_softmax
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import Gaussian, RewardLaw, TableReward
from tests.properties.oracle import CAUSES, by_cause, complex_gradient, entropy_size, group_advantages, sample_steps
from tests.properties.strategies import (
    SEEDS,
    Pair,
    Update,
    action_free,
    gaussians,
    geometries,
    given_logits,
    groups,
    laws,
    mild_moves,
    objectives,
    tables,
)
from tests.tolerances import IDENTITY, SIGMAS

REPLICAS = 2000


@dataclass(frozen=True)
class Simulation(Update):
    seed: int = 0


@st.composite
def simulations(draw: st.DrawFn) -> Simulation:
    pair = draw(st.builds(Pair, st.one_of(laws(12, scale=0.05), given_logits(6, bound=2.0)), mild_moves))
    reward: Any = draw(st.one_of(action_free, gaussians, tables(pair.vocab)))
    advantage = draw(st.one_of(st.just(Independent()), groups(st.integers(2, 6))))
    batch = advantage.size * draw(st.integers(1, 24 // advantage.size))
    # The rarest action's number of samples is skewed like a Poisson number: some hundred hits make its mean nearly normal.
    assume(REPLICAS * batch * pair.old_probs.min() > 100)
    return Simulation(pair, reward, advantage, draw(objectives), draw(geometries), draw(st.floats(0.01, 0.3)), batch, draw(SEEDS))


def draw_rewards(reward: RewardLaw, actions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if isinstance(reward, Gaussian):
        return rng.normal(reward.mean, reward.std, actions.shape)
    if isinstance(reward, TableReward):
        return np.asarray(reward.values)[actions]
    return np.where(rng.random(actions.shape) < reward.level_probs[0, 1], reward.levels[1], reward.levels[0])


def mean_reward(reward: RewardLaw, old: np.ndarray) -> float:
    if isinstance(reward, Gaussian):
        return reward.mean
    return float(old @ np.broadcast_to(reward.level_probs @ reward.levels, old.shape))


def simulate(u: Simulation, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Columns (6, R): four causes, curvature and the entropy change; T3's bound on its remainder (R,); the rounding of a mean."""
    rng, pair, log_p = np.random.default_rng(seed), u.pair, u.pair.log_p
    old, p = pair.old_probs, pair.probs
    edges = np.cumsum(old)[:-1]
    actions = np.searchsorted(edges, rng.random((REPLICAS, u.batch)), side="right")
    rewards = draw_rewards(u.reward, actions, rng)
    advantages = group_advantages(u.advantage, rewards, mean_reward(u.reward, old))
    gradient, l = complex_gradient(log_p), log_p + entropy(log_p)
    parts = {
        cause: sample_steps(actions, c, log_p, u.geometry, u.learning_rate)[0]
        for cause, c in by_cause(u.objective, pair.ratio[actions], advantages, old[actions]).items()
    }
    step = sum(parts.values())
    centred = step - (step @ p)[:, None]
    curvature = -(p * centred**2) @ (l + 1) / 2  # half of -kappa_3(l, d, d) - Var d
    change = entropy(log_softmax(log_p + step)) - entropy(log_p)
    columns = np.array([*(parts[c] @ gradient for c in CAUSES), curvature, change])
    size = sum(np.abs(part).sum(axis=-1) for part in parts.values())  # every column is at most quadratic in the step's parts
    rounding = 4 * IDENTITY["float64"] * pair.conditioning * entropy_size(log_p) * float(np.mean((1 + size) ** 2))
    return columns, remainder_bounds(step)[1], rounding


def predictions(u: Simulation) -> np.ndarray:
    terms = expected_entropy_drift(
        u.pair.policy,
        Clip(),
        u.reward,
        old_policy=u.pair.old_policy,
        learning_rate=u.learning_rate,
        geometry=u.geometry,
        advantage=u.advantage,
        objective=u.objective,
        order=2,
        batch=u.batch,
    )
    return np.array([*(getattr(terms, c) for c in CAUSES), terms.curvature, terms.total])


def misses(u: Simulation, expected: np.ndarray, seed: int) -> np.ndarray:
    """Signs of deviations beyond five standard errors (plus, for the entropy change, the mean remainder bound); 0 within."""
    columns, bound, rounding = simulate(u, seed)
    # Rounding is all there is to a column without variance: nothing clipped, or everything.
    allowed = SIGMAS * columns.std(axis=-1, ddof=1) / np.sqrt(REPLICAS) + rounding
    allowed[5] += bound.mean()
    deviation = columns.mean(axis=-1) - expected
    return np.where(np.abs(deviation) > allowed, np.sign(deviation), 0)


@given(simulations())
def test_sampled_drift(u) -> None:
    expected = predictions(u)
    first = misses(u, expected, u.seed)
    if np.any(first):
        second = misses(u, expected, u.seed + 2**33)
        assert not np.any(first * second > 0), f"cause {[*CAUSES, 'curvature', 'total'][int(np.argmax(first * second > 0))]}"
