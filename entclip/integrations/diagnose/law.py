"""How much entropy change clip shares can stand for: T6 on a stated policy law, with noise of the size that the shares show.

Policy law: SmolLM2-135M's next-token distributions in 96 places of its responses, sharpened or flattened to the entropy that
the log has. Noise law: log-ratios normal, variance proportional to pi^(2 p) and damped by normalisation as in `predict --noise`;
p = 0 is what language models show (docs/llm.md), p = -1/4 lets rare tokens move more, which makes the gaps larger. The size is
set so that the shares of the two sides add up to the logged ones.

T6 for one update: dH_side = push * pi(side) * gap(side); push = eta M is what one update takes from a clipped token's log pi. A
log does not have it. The bound taken here: a token that left the band in k updates moved |log r| / sqrt(k) per update (root mean
square, as in a random walk, which random rewards make it), and what clipping keeps from it is no more. This holds while a
minibatch has fewer than about 4 samples of a token in one state, as with long responses, not on tables with many per state.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from entclip.integrations.diagnose.noise import update_points
from entclip.policies.snapshot import read

__all__ = ["MOST_ENTROPY", "POWERS", "ClipEffect", "at_other_high", "clip_effect", "neutral_lows"]

POWERS = (0.0, -0.25)
MOST_ENTROPY = 8.0  # nats a token: SmolLM2's contexts flattened further are no longer a language model's
_BIN, _BINS = 0.5, 50  # nats of log pi, and how many: tokens rarer than e^-25 go into the last
_WIDTHS = np.geomspace(0.01, 0.99, 13)  # among which a neutral eps_low is looked for
_HALVINGS = 13  # of a step of them, two fifths: to 1e-4


@dataclass(frozen=True)
class ClipEffect:
    """Largest entropy change per rollout of each side, in nats, both positive; gaps as E[s | side] - H within contexts, with the
    surprisal s of the update at the low bound and of the rollout's start at the high one, where it is the larger of the two.

    share_low, share_high: what the law itself has on each side; sigma: rms of the log-ratio at the end of a rollout; spread: the
    same before normalisation damps it, as `predict --noise` takes it; scale: the variance's size under the law.
    """

    low: float
    high: float
    gap_low: float
    gap_high: float
    share_low: float
    share_high: float
    sigma: float
    spread: float
    scale: float


@cache
def _contexts() -> tuple[np.ndarray, np.ndarray]:
    """log pi and counts of pooled tokens, (C, N) each; count 0 where a context has fewer bins."""
    snapshot = read("smollm2-135m")
    used = np.flatnonzero(snapshot.response_index >= 0)[::2]
    logs = np.concatenate([snapshot.top_log_probs[used], snapshot.tail_log_probs[used]], axis=1).astype(np.float64)
    counts = np.concatenate([np.ones_like(snapshot.top_log_probs[used]), snapshot.tail_counts[used]], axis=1).astype(np.float64)
    place = np.minimum(np.floor(-logs / _BIN), _BINS - 1).astype(np.int64)
    place[counts == 0] = _BINS - 1
    index = (np.arange(len(logs))[:, None] * _BINS + place).ravel()
    held = np.bincount(index, counts.ravel(), len(logs) * _BINS).reshape(-1, _BINS)
    mass = np.bincount(index, (counts * np.exp(logs)).ravel(), len(logs) * _BINS).reshape(-1, _BINS)
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.where(held > 0, np.log(mass / held), 0.0)
    return pooled, held


def _at_entropy(entropy: float) -> tuple[np.ndarray, np.ndarray]:
    """The contexts at the temperature that gives them this mean entropy."""
    logs, counts = _contexts()

    def heated(beta: float) -> np.ndarray:
        raised = beta * logs
        top = np.max(np.where(counts > 0, raised, -np.inf), axis=1, keepdims=True)
        out: np.ndarray = raised - top - np.log(np.sum(counts * np.exp(raised - top), axis=1, keepdims=True))
        return out

    left, right = math.log(0.2), math.log(200.0)
    for _ in range(36):
        middle = (left + right) / 2
        x = heated(math.exp(middle))
        if float(-np.mean(np.sum(counts * np.exp(x) * x, axis=1))) > entropy:
            left = middle
        else:
            right = middle
    return heated(math.exp((left + right) / 2)), counts


def clip_effect(
    entropy: float, share_low: float, share_high: float, low: float, high: float, updates: int, power: float = 0.0
) -> ClipEffect | None:
    """Bound what each side of the clip does to entropy in one rollout; None where no noise gives such shares.

    Args:
        entropy: mean per token, nats, in (0, MOST_ENTROPY].
        share_low, share_high: sign-gated clip shares, means over the updates of a rollout.
        low, high: widths of the token ratio, [1 - low, 1 + high].
        updates: per rollout, at least 2.
        power: p of the noise law.
    """
    law = _Law.at(entropy, updates, power)
    sides = _sides(low, high)
    scale = _scale(lambda scale: float(np.sum(law.sampled(scale, sides))), share_low + share_high)
    if scale is None:
        return None
    own, found = law.sampled(scale, sides), law.clipped(scale, sides)
    # The law's own split of the shares is not the log's: each side goes with its share.
    most = [float(found[2, i] * share / own[i]) if own[i] > 0 else 0.0 for i, share in enumerate((share_low, share_high))]
    gaps = [float(found[1, i] / found[0, i]) if found[0, i] > 0 else math.nan for i in (0, 1)]
    sigma = math.sqrt(scale * float(np.mean(np.sum(law.mass * law.shape, axis=1))))
    spread = math.sqrt(scale * float(np.mean(np.sum(law.mass * law.probs ** (2 * power), axis=1))))
    return ClipEffect(most[0], most[1], gaps[0], gaps[1], float(own[0]), float(own[1]), sigma, spread, scale)


def at_other_high(effect: ClipEffect, entropy: float, high: float, other: float, updates: int, power: float = 0.0) -> float:
    """Return the largest entropy change per rollout of the high side at another width, under the noise of `effect`, in nats."""
    law = _Law.at(entropy, updates, power)
    own, new = (float(law.clipped(effect.scale, _sides(1.0, width))[2, 1]) for width in (high, other))
    return effect.high * new / own if own > 0 else 0.0


def neutral_lows(
    policy: float | np.ndarray | None, share: float, low: float, high: float, updates: int, power: float = 0.0
) -> tuple[float | None, float | None]:
    """Return the eps_low at which clipping at both sides cancels to first order, by entropy value: natural, euclidean.

    :Formula: T6: the sum over the updates of sum_side pi (kappa - E kappa) is the same for both sides, kappa = s or pi (s - H),
        where s = -log pi is that of the policy as it is in the update: log r less than before the rollout.

    Args:
        policy: entropy of SmolLM2's policy, None for it as it is; or log-probabilities (contexts, actions) of another.
        share: of all tokens, clipped on either side at the widths low and high: it sets the size of the noise.
        power: p of the noise law.

    Returns: None for a kind of value where no eps_low is neutral, or no noise has such a share.
    """
    law = _Law.of_policy(policy, updates, power)
    scale = _scale(lambda scale: float(np.sum(law.sampled(scale, _sides(low, high)))), share)
    if scale is None or not math.isfinite(high):
        return None, None
    return law.neutral(scale, high, euclidean=False), law.neutral(scale, high, euclidean=True)


_Side = tuple[int, float, float]  # 0 low or 1 high, log of the bound, sign


def _sides(low: float, high: float) -> list[_Side]:
    edges = ((0, math.log1p(-low) if low < 1 else -math.inf, -1.0), (1, math.log1p(high), 1.0))
    return [(i, edge, sign) for i, edge, sign in edges if math.isfinite(edge)]


@dataclass(frozen=True)
class _Law:
    """The policy law at an entropy with the shape of its noise: mass of tokens, s - H, variance over its size, (C, N) each."""

    mass: np.ndarray
    surplus: np.ndarray
    shape: np.ndarray
    probs: np.ndarray
    updates: int

    @classmethod
    def at(cls, entropy: float, updates: int, power: float) -> _Law:
        return cls.of(*_at_entropy(entropy), updates, power)

    @classmethod
    def of_policy(cls, policy: float | np.ndarray | None, updates: int, power: float) -> _Law:
        if isinstance(policy, np.ndarray):
            return cls.of(policy, np.ones_like(policy), updates, power)
        return cls.of(*(_contexts() if policy is None else _at_entropy(policy)), updates, power)

    @classmethod
    def of(cls, log_probs: np.ndarray, counts: np.ndarray, updates: int, power: float) -> _Law:
        probs = np.maximum(np.exp(log_probs), 1e-200)  # a power of 0 would be infinite
        mass = counts * probs
        surplus = -log_probs - np.sum(mass * -log_probs, axis=1, keepdims=True)
        shape = probs ** (2 * power)
        shape = np.maximum(shape * (1 - 2 * probs) + np.sum(mass * probs * shape, axis=1, keepdims=True), 0.0)
        return cls(mass, surplus, shape, probs, updates)

    def sampled(self, scale: float, sides: list[_Side]) -> np.ndarray:
        """Sign-gated shares of both sides among samples of pi_old, where the mean is -sd^2/2."""
        out = np.zeros(2)
        for stage, weight in update_points(self.updates):
            sd = np.sqrt(scale * self.shape * stage / self.updates) + 1e-12
            for i, edge, sign in sides:
                tail = _tail(sign * edge / sd + sign * sd / 2)
                out[i] += weight * float(np.mean(np.sum(self.mass * tail, axis=1))) / (2 * self.updates)
        return out

    def clipped(self, scale: float, sides: list[_Side]) -> np.ndarray:
        """Summed over the updates: pi(side), pi(side) gap, pi(side) gap |log r| / sqrt(k). Under pi log r has the mean +sd^2/2.

        The surprisal that T6 asks for is that of the update: log r less than before the rollout, against its mean. At the low
        bound tokens have become more surprising than they were, which is added here. At the high bound less so; leaving that out
        keeps the bound one from above, and rests on no tail of a noise that gives rare tokens jumps beyond probability 1.
        """
        out = np.zeros((3, 2))
        for stage, weight in update_points(self.updates):
            sd = np.sqrt(scale * self.shape * stage / self.updates) + 1e-12
            moved = np.sum(self.mass * sd**2 / 2, axis=1, keepdims=True)
            for i, edge, sign in sides:
                z = sign * edge / sd - sign * sd / 2
                tail = _tail(z)
                if i == 0:  # of y = -log r, whose mean is -sd^2/2, the part beyond the bound
                    density, mean, far = sd * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi), -(sd**2) / 2, -edge
                    first, second = mean * tail + density, (mean**2 + sd**2) * tail + (mean + far) * density
                    surplus = self.surplus + moved
                    gap, push = surplus * tail + first, surplus * first + second
                else:
                    distance = np.abs(edge) + sd / (np.maximum(z, 0) + 1)  # at least the mean distance of those beyond
                    gap = self.surplus * tail
                    push = gap * distance
                for row, each in enumerate((tail, gap, push / math.sqrt(stage))):
                    out[row, i] += weight * float(np.mean(np.sum(self.mass * each, axis=1)))
        return out

    def neutral(self, scale: float, high: float, *, euclidean: bool) -> float | None:
        """The eps_low whose side has as much entropy value as the high side has, against it."""

        def excess(low: float) -> float:
            return self._value(scale, math.log1p(-low), -1.0, euclidean) - wanted

        wanted = self._value(scale, math.log1p(high), 1.0, euclidean)
        at = [excess(float(x)) for x in _WIDTHS]
        turns = [i for i in range(len(at) - 1) if at[i] * at[i + 1] <= 0 and at[i] != at[i + 1]]
        if not turns:
            return None
        left, right = (float(_WIDTHS[turns[-1] + i]) for i in (0, 1))
        for _ in range(_HALVINGS):
            middle = math.sqrt(left * right)
            if excess(middle) * at[turns[-1]] > 0:
                left = middle
            else:
                right = middle
        return math.sqrt(left * right)

    def _value(self, scale: float, edge: float, sign: float, euclidean: bool) -> float:
        """Sum over the updates and mean over contexts of sum_side pi (kappa - E kappa).

        A weight of r^j under pi_old moves the normal mean of log r to (j - 1/2) sd^2, with a factor e^(sd^2) for j = 2: pi has
        j = 1, and pi kappa of the euclidean kappa j = 2. Of s - H the part log r - E_pi log r is the rollout's own. A token's
        log r ends where pi is 1: beyond it a wide normal law would have no second moment that is a number.
        """
        total = 0.0
        for stage, weight in update_points(self.updates):
            sd = np.sqrt(scale * self.shape * stage / self.updates) + 1e-12
            moved = np.sum(self.mass * sd**2 / 2, axis=1, keepdims=True)
            mean, factor, held = sd**2 / 2, np.zeros_like(sd), self.mass
            if euclidean:
                mean, factor, held = 1.5 * sd**2, sd**2, self.mass * self.probs
            surplus, certain = self.surplus + moved, -np.log(self.probs)
            below, above = (-math.inf, np.minimum(edge, certain)) if sign < 0 else (np.minimum(edge, certain), certain)
            amount, first = _moments(mean, sd, factor, below, above)
            value = np.sum(held * (surplus * amount - first), axis=1)
            if euclidean:
                amount, first = _moments(mean, sd, factor, -math.inf, certain)
                average = np.sum(held * (surplus * amount - first), axis=1)
                value -= average * np.sum(self.mass * _tail(sign * edge / sd - sign * sd / 2), axis=1)
            total += weight * float(np.mean(value))
        return total


def _moments(
    mean: np.ndarray, sd: np.ndarray, factor: np.ndarray, below: float | np.ndarray, above: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """e^factor times the probability that a normal x lies between two ends, and times the mean of x there.

    By logarithms: with log r at most -log pi_old both are at most 1/pi_old, and the factor alone is beyond any number.
    """
    from scipy.special import log_ndtr

    amount, first = np.zeros_like(sd), np.zeros_like(sd)
    for end, sign in ((above, 1.0), (below, -1.0)):
        z = (end - mean) / sd
        amount += sign * np.exp(factor + log_ndtr(z))
        first -= sign * sd * np.exp(factor - z**2 / 2) / math.sqrt(2 * math.pi)
    return amount, first + mean * amount


def _tail(z: np.ndarray) -> np.ndarray:
    """Probability of a standard normal beyond z."""
    from scipy.special import ndtr

    out: np.ndarray = ndtr(-z)
    return out


def _scale(share: Callable[[float], float], wanted: float) -> float | None:
    """The size of the variance at which the shares add up to `wanted`."""
    if not wanted > 0:
        return None
    left, right = math.log(1e-8), math.log(100.0)
    # The high side's share falls again where noise pulls every mean down: look only up to its largest value.
    while share(math.exp(right)) < wanted:
        right -= 0.5
        if right < left:
            return None
    # The Illinois method on the logarithms of both: a few evaluations where bisection takes dozens.
    left_value, right_value = (math.log(max(share(math.exp(x)), 1e-300) / wanted) for x in (left, right))
    if left_value > 0:
        return None
    for _ in range(100):
        middle = right - right_value * (right - left) / (right_value - left_value)
        value = math.log(max(share(math.exp(middle)), 1e-300) / wanted)
        if abs(value) < 1e-6:
            break
        if value * right_value < 0:
            left, left_value = right, right_value
        else:
            left_value /= 2
        right, right_value = middle, value
    return math.exp(middle)
