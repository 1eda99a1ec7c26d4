"""Actions of like probability pooled on nodes of log pi: the cost of a prediction is that of the nodes, not of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Nodes", "pool", "populations"]


@dataclass(frozen=True)
class Nodes:
    """Actions of one context: `count` (K,) of them have log-probability `log_prob` (K,); sum count e^log_prob = 1."""

    log_prob: np.ndarray
    count: np.ndarray

    @property
    def prob(self) -> np.ndarray:
        out: np.ndarray = np.exp(self.log_prob)
        return out

    @property
    def entropy(self) -> float:
        return float(-np.sum(self.count * self.prob * self.log_prob))


def pool(log_prob: np.ndarray, count: np.ndarray, width: float, rare: float = 1e-3) -> Nodes:
    """Nodes of bins of `width` nats; each bin keeps its count and its probability, so entropy loses about width^2/24.

    Below log pi = -8 bins widen as the square root of the distance: what they lose is weighted by their probability.

    The rarest actions, `rare` of them per context all told, are put into one bin: they hold next to no probability, and a node
    each would cost as much as the rest. Probabilities are then normalised.
    """
    order = np.argsort(log_prob, kind="stable")
    floor = log_prob[order][np.searchsorted(np.cumsum(count[order]), rare)]
    place = _coordinate(np.maximum(log_prob, floor)) - _coordinate(floor)
    index = np.floor(place / width).astype(np.int64)
    held, total = np.bincount(index, count), np.bincount(index, count * np.exp(log_prob))
    used = held > 1e-9
    mean = total[used] / held[used]
    return Nodes(np.log(mean / np.sum(held[used] * mean)), held[used])


def _coordinate(log_prob: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.where(log_prob > -8, log_prob, -6 - 2 * np.sqrt(np.maximum(-7 - log_prob, 1.0)))
    return out


def populations(log_probs: np.ndarray, width: float, kinds: int = 12) -> list[tuple[float, Nodes]]:
    """Contexts (C, V) in groups of like entropy, as (share of contexts, nodes): sums over actions stand for one context.

    Contexts whose entropies lie within .3 nats (draws of one Dirichlet law) are one population; a language model's are not, and
    make up to `kinds` of them.
    """
    entropy = -np.sum(np.exp(log_probs) * log_probs, axis=-1)
    if np.ptp(log_probs, axis=0).max() == 0:
        groups = [np.arange(1)]
    elif np.ptp(entropy) < 0.3:
        groups = [np.arange(len(log_probs))]
    else:
        groups = np.array_split(np.argsort(entropy), min(kinds, len(log_probs)))
    total = sum(len(g) for g in groups)
    out = []
    for group in groups:
        flat = log_probs[group].ravel()
        out.append((len(group) / total, pool(flat, np.full(flat.size, 1 / len(group)), width)))
    return out
