"""Hypothesis strategies: policies of every shape, steps, pairs (pi_old, pi), objectives, rewards and advantages.

Large arrays are drawn as a law, a size and a seed, so that an example of 10^5 actions costs as little to draw as one of two and
prints as one line; small ones also element by element, so that failures shrink.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from hypothesis import strategies as st

from entclip.objectives.base import Objective
from entclip.objectives.catalogue import PUBLISHED, kinds, parameters
from entclip.objectives.clip import Clip
from entclip.objectives.flexible import Flexible
from entclip.policies.softmax import SoftmaxPolicy
from entclip.rewards.advantage import Advantage, GroupRelative, Independent
from entclip.rewards.reward import Bernoulli, Gaussian, Rademacher, RewardLaw, TableReward

INF = math.inf
SEEDS = st.integers(0, 2**32 - 1)
geometries = st.sampled_from(["natural", "euclidean"])
learning_rates = st.floats(1e-3, 10.0)


def vocabs(largest: int) -> st.SearchStrategy[int]:
    """V from 2 to `largest`: small ones often, a few decades beyond."""
    tens = [10**k for k in range(3, 6) if 10**k <= largest]
    choices = [st.integers(2, min(8, largest)), st.integers(2, min(300, largest))]
    return st.one_of(*choices, *([st.sampled_from(tens)] if tens else []))


# ---- Policies ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Logits:
    """Logits of a law: `scale` is the height, exponent, spread or concentration."""

    kind: str
    vocab: int
    scale: float
    seed: int

    @cached_property
    def array(self) -> np.ndarray:
        rng, v = np.random.default_rng(self.seed), self.vocab
        if self.kind == "uniform":
            return np.full(v, self.scale)
        if self.kind == "peaked":  # from two comparable actions to one-hot within e^-scale
            logits = np.zeros(v)
            logits[rng.integers(v)] = self.scale
            return logits
        if self.kind == "zipf":
            return -self.scale * np.log(rng.permutation(v) + 1.0)
        if self.kind == "lognormal":
            return self.scale * rng.standard_normal(v)
        # Dirichlet: small concentrations underflow, as they do in entclip.policies.laws.dirichlet.
        return np.log(np.maximum(rng.standard_gamma(self.scale, v), 1e-280))


@dataclass(frozen=True)
class Given:
    """Logits element by element."""

    values: tuple[float, ...]

    @property
    def vocab(self) -> int:
        return len(self.values)

    @cached_property
    def array(self) -> np.ndarray:
        return np.array(self.values)


SCALES = {"uniform": (-5.0, 5.0), "peaked": (0.0, 300.0), "zipf": (0.0, 4.0), "lognormal": (0.0, 12.0), "dirichlet": (0.02, 20.0)}


@st.composite
def laws(draw: st.DrawFn, largest: int, smallest: int = 2, scale: float = 1.0) -> Logits:
    """A law of logits; `scale` < 1 keeps it nearer to uniform, Dirichlet apart."""
    kind = draw(st.sampled_from(sorted(SCALES)))
    low, high = SCALES[kind]
    if kind != "dirichlet":
        high *= scale
    return Logits(kind, max(smallest, draw(vocabs(largest))), draw(st.floats(low, high)), draw(SEEDS))


def given_logits(largest: int = 6, smallest: int = 2, bound: float = 30.0) -> st.SearchStrategy[Given]:
    return st.lists(st.floats(-bound, bound), min_size=smallest, max_size=largest).map(lambda x: Given(tuple(x)))


def logits(largest: int = 100_000) -> st.SearchStrategy[Any]:
    return st.one_of(laws(largest), given_logits(min(6, largest)))


def small_logits(largest: int = 4) -> st.SearchStrategy[Any]:
    """For enumeration: few actions, none rarer than about e^-20."""
    return st.one_of(laws(largest, scale=0.05), given_logits(largest, bound=5.0))


# ---- Steps and pairs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """A logit step of a law, scaled to range max d - min d = `spread`."""

    kind: str
    spread: float
    seed: int

    def of(self, log_probs: np.ndarray) -> np.ndarray:
        rng, v = np.random.default_rng(self.seed), len(log_probs)
        if self.kind == "normal":
            d = rng.standard_normal(v)
        elif self.kind == "heavy":
            d = rng.standard_cauchy(v)
        elif self.kind == "sparse":
            d = np.zeros(v)
            d[rng.integers(v, size=1 + v // 50)] = rng.choice([-1.0, 1.0])
        elif self.kind == "surprisal":  # the steepest natural direction
            d = log_probs * rng.choice([-1.0, 1.0])
        else:  # "common": the most likely action alone, where a policy has its mass
            d = np.where(np.arange(v) == np.argmax(log_probs), rng.choice([-1.0, 1.0]), 0.0)
        if np.ptp(d) <= 1e-9 * np.max(np.abs(d)):  # no direction, such as the surprisal of a uniform policy
            d = np.arange(v, dtype=float)
        return d * (self.spread / np.ptp(d))


steps = st.builds(Step, st.sampled_from(["normal", "heavy", "sparse", "surprisal", "common"]), st.floats(1e-3, 20.0), SEEDS)


@dataclass(frozen=True)
class Move:
    """How pi differs from pi_old: log-ratios of a law in pi_old, of pi_old-weighted rms about `size`."""

    kind: str
    size: float
    seed: int

    def of(self, old: np.ndarray) -> np.ndarray:
        rng, v = np.random.default_rng(self.seed), len(old)
        noise = rng.standard_normal(v)
        if self.kind == "none":
            return old
        if self.kind == "sparse":
            noise = np.where(rng.random(v) < 2 / v, 10 * noise, 0.0)
        elif self.kind == "huge":
            noise = 100 * noise
        elif self.kind in ("sqrt", "inv_sqrt"):
            power = np.exp((0.5 if self.kind == "sqrt" else -0.5) * (old - old.max()))
            noise = noise * power
            noise = noise / max(np.sqrt(np.sum(np.exp(old - old.max()) * noise**2) / np.sum(np.exp(old - old.max()))), 1e-300)
        # Ratios beyond e^700 leave float64; +-300 leaves room for their squares and for both signs.
        return old + np.clip(self.size * noise, -150, 150)


@dataclass(frozen=True)
class Pair:
    """pi_old and pi as policies; log pi, log pi_old and the ratio are those the package computes (ties must agree)."""

    old: Any
    move: Move

    @cached_property
    def old_policy(self) -> SoftmaxPolicy:
        return SoftmaxPolicy(self.old.array)

    @cached_property
    def policy(self) -> SoftmaxPolicy:
        return SoftmaxPolicy(self.move.of(self.old.array))

    @property
    def log_old(self) -> np.ndarray:
        return self.old_policy.log_probs

    @property
    def log_p(self) -> np.ndarray:
        return self.policy.log_probs

    @property
    def ratio(self) -> np.ndarray:
        return np.exp(self.log_p - self.log_old)

    @property
    def old_probs(self) -> np.ndarray:
        return np.exp(self.log_old)

    @property
    def probs(self) -> np.ndarray:
        return np.exp(self.log_p)

    @property
    def vocab(self) -> int:
        return self.policy.vocab

    @property
    def conditioning(self) -> float:
        """exp(x) has relative error |x| ulps: what the largest exponent adds to the rounding of a probability or ratio."""
        return 1 + float(max(np.max(np.abs(self.log_p)), np.max(np.abs(self.log_old))))


moves = st.builds(Move, st.sampled_from(["none", "flat", "sqrt", "inv_sqrt", "sparse", "huge"]), st.floats(0.01, 2.0), SEEDS)
mild_moves = st.builds(Move, st.sampled_from(["none", "flat", "sqrt", "inv_sqrt", "sparse"]), st.floats(0.05, 0.8), SEEDS)


def pairs(largest: int = 100_000) -> st.SearchStrategy[Pair]:
    return st.builds(Pair, logits(largest), moves)


def small_pairs(largest: int = 4) -> st.SearchStrategy[Pair]:
    return st.builds(Pair, small_logits(largest), mild_moves)


# ---- Objectives, rewards, advantages ----------------------------------------------------------------------------------------

lows = st.one_of(st.sampled_from([0.0, 0.1, 0.2, 1.0]), st.floats(0, 1))
highs = st.one_of(st.sampled_from([0.0, 0.1, 0.28, INF]), st.floats(0, 4))
clips = st.builds(Clip, lows, highs)
# Of every parameter that an objective has, by its name.
PARAMETERS: dict[str, st.SearchStrategy[float]] = {
    "low": lows,
    "high": highs,
    "cap": st.one_of(st.floats(1.001, 4), st.just(INF)),
    "tau_pos": st.floats(0.05, 8),
    "tau_neg": st.floats(0.05, 8),
    "beta_low": st.floats(0, 2),
    "beta_high": st.floats(0, 2),
    "lambda_pos": st.floats(0, 2),
    "lambda_neg": st.floats(0, 2),
    "low_pos": lows,
    "high_pos": highs,
    "low_neg": lows,
    "high_neg": highs,
    "alpha": st.floats(-1, 1),
    "threshold": st.floats(0.01, 0.99),
    "zeta": st.floats(0, 0.5),
    "coefficient": st.floats(0, 1),
    "slope": st.floats(0, 1),
    "expert": st.floats(0.01, 0.99),
    "delta": st.one_of(st.sampled_from([0.0, 1e-3, 0.15, 1.0]), st.floats(0, 1)),
}
# Lines between widths that are multiples of 1/64: their differences and sums are exact, and stay within the limits.
_ends = st.integers(0, 64).map(lambda n: n / 64)
_lines = st.tuples(_ends, _ends, _ends, _ends).map(lambda w: Flexible(w[0], w[1], w[2] - w[0], w[3] - w[1]))
OBJECTIVES: dict[str, st.SearchStrategy[Objective]] = {
    kind: st.builds(kinds()[kind], **{name: PARAMETERS[name] for name in parameters(kind)})
    for kind in PUBLISHED
    if kind not in ("flexible", "cispo_trl") and not kinds()[kind]().needs  # the suites give ratios and probabilities
} | {"flexible": _lines, "cispo_trl": st.builds(kinds()["cispo_trl"], PARAMETERS["cap"])}
objectives = st.one_of(*OBJECTIVES.values())

bernoullis = st.builds(Bernoulli, st.one_of(st.just(0.5), st.floats(0.01, 0.99)))
action_free = st.one_of(bernoullis, st.just(Rademacher()))
gaussians = st.builds(Gaussian, st.floats(-3, 3), st.floats(0.01, 5))


def tables(vocab: int, levels: int = 4) -> st.SearchStrategy[TableReward]:
    """One of at most `levels` values, multiples of 1/8, per action: the package treats sums equal to 1e-10 as the same."""
    value = st.integers(0, levels - 1).map(lambda k: (k - 1) / 8 if k < 3 else 1.5)
    values = st.lists(value, min_size=vocab, max_size=vocab).filter(lambda x: min(x) < max(x))
    return values.map(lambda x: TableReward(tuple(x)))


def discrete_rewards(vocab: int) -> st.SearchStrategy[RewardLaw]:
    return st.one_of(action_free, tables(vocab))


def groups(sizes: st.SearchStrategy[int]) -> st.SearchStrategy[GroupRelative]:
    eps = st.one_of(st.just(0.0), st.sampled_from([1e-6, 1e-4, 0.1]))
    scaled = st.builds(GroupRelative, sizes, st.just("std"), st.sampled_from([0, 1]), eps)
    return st.one_of(st.builds(GroupRelative, sizes), scaled)


@dataclass(frozen=True)
class Update:
    """One update of a small policy whose every outcome can be listed."""

    pair: Pair
    reward: RewardLaw
    advantage: Advantage
    objective: Objective
    geometry: Any
    learning_rate: float
    batch: int

    @property
    def shared(self) -> float:
        """Probability that two samples of the minibatch share a group (whole groups)."""
        return (self.advantage.size - 1) / (self.batch - 1) if self.advantage.size > 1 else 0.0


@st.composite
def updates(draw: st.DrawFn, outcomes: int = 1500) -> Update:
    """An update with at most `outcomes` outcomes of (action, reward level) per sample to the power of the batch."""
    pair = draw(small_pairs())
    reward = draw(discrete_rewards(pair.vocab))
    atoms = pair.vocab * (2 if reward.level_probs.shape[0] == 1 else 1)
    most = int(math.log(outcomes) / math.log(atoms) + 1e-9)
    if most >= 2 and draw(st.booleans()):
        chosen: Advantage = draw(groups(st.integers(2, min(most, 5))))
        batch = chosen.size * draw(st.integers(1, most // chosen.size))
    else:
        chosen, batch = Independent(), draw(st.integers(1, most))
    return Update(pair, reward, chosen, draw(objectives), draw(geometries), draw(learning_rates), batch)
