"""Actions of like probability pooled on nodes of log pi: the cost of a prediction is that of the nodes, not of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Nodes", "gauss_pair", "pool", "populations"]


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
    """Make two nodes for each bin of `width` nats: Gauss's quadrature of the probabilities in it.

    A bin keeps its count and the first three moments of its probabilities, so a smooth function of log pi is summed to fourth
    order in the width, and a bin of one or two distinct probabilities is kept as it is. Below log pi = -8 bins widen as the
    square root of the distance: what they lose is weighted by their probability.

    The rarest actions, `rare` of them per context all told, are put into one node: they hold next to no probability, and nodes
    of their own would cost as much as the rest. Probabilities are then normalised.
    """
    order = np.argsort(log_prob, kind="stable")
    floor = log_prob[order][np.searchsorted(np.cumsum(count[order]), rare)]
    place = _coordinate(np.maximum(log_prob, floor)) - _coordinate(floor)
    index = np.where(log_prob < floor, 0, 1 + np.floor(place / width).astype(np.int64))
    prob = np.exp(log_prob)
    held, total = np.bincount(index, count), np.bincount(index, count * prob)
    mean = np.divide(total, held, out=np.ones_like(total), where=held > 0)
    d = prob / mean[index] - 1
    square, cube = (np.divide(np.bincount(index, count * d**k), held, out=np.zeros_like(held), where=held > 0) for k in (2, 3))
    square[0] = 0.0
    offsets, shares = gauss_pair(square, cube)
    nodes, number = (mean * (1 + offsets)).ravel(), (held * shares).ravel()
    used = number > 1e-9
    nodes, number = nodes[used], number[used]
    return Nodes(np.log(nodes / np.sum(number * nodes)), number)


def gauss_pair(square: np.ndarray, cube: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return offsets and shares (2, N) of the two points that have mean 0 and the second and third moment, each (N,).

    Where the second moment is rounding, one point: the other has share 0."""
    spread = np.sqrt(square)
    split = spread > 1e-9  # below it there is one value, and the skewness of rounding means nothing
    tilt = np.divide(cube, 2 * spread**3, out=np.zeros_like(cube), where=split)
    root = np.sqrt(1 + tilt**2)
    share = np.where(split, (1 + tilt / root) / 2, 1.0)
    return np.stack([spread * (tilt - root), spread * (tilt + root)]), np.stack([share, 1 - share])


def _coordinate(log_prob: np.ndarray) -> np.ndarray:
    out: np.ndarray = np.where(log_prob > -8, log_prob, -6 - 2 * np.sqrt(np.maximum(-7 - log_prob, 1.0)))
    return out


def populations(log_probs: np.ndarray, width: float, kinds: int = 12) -> list[tuple[float, Nodes]]:
    """Return contexts (C, V) in groups of like entropy, as (share of contexts, nodes): sums over actions stand for one context.

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
