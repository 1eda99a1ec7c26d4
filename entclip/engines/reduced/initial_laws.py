"""Initial laws as functions of an action's rank, most probable first: no vocabulary is listed unless it was given as a list.

A law knows the log-probability of a rank, buckets of ranks whose probabilities differ by little (proposals of the sampler), and
atoms: a few log-probabilities with counts that stand for a range of ranks in any sum of a smooth function.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from entclip.engines.reduced.searches import last_at_most
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import NormalLogitsSpec, PeakedSpec, SnapshotSpec, UniformSpec, ZipfSpec
from entclip.experiments.start import MAX_LISTED, start_of
from entclip.policies.snapshot import read
from entclip.policies.softmax import log_softmax
from entclip.support.errors import SpecError

__all__ = ["Buckets", "Laws", "LevelLaws", "ListedLaws", "ZipfLaw", "laws_of"]

BUCKET = 0.1  # nats: a proposal from a bucket is accepted with probability e^-.1 at least
DIRECT = 2**15  # ranks summed one by one before the integral takes over


class Buckets:
    """Ranges of ranks [start, start + size) and their largest log-probability, each (R, N); padded with size 0."""

    def __init__(self, start: np.ndarray, size: np.ndarray, ceiling: np.ndarray) -> None:
        self.start, self.size, self.ceiling = start, size, ceiling
        mass = size * np.exp(ceiling)
        total = np.cumsum(mass, axis=1)
        self.before = np.concatenate([np.zeros((len(mass), 1)), total[:, :-1]], axis=1)
        self.total = total[:, -1]


class Laws(Protocol):
    """R laws over the same number of actions; ranks descend in probability."""

    vocab: int
    rows: int

    def log_prob(self, row: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """Return log pi of a rank of a law, same shape as rank."""
        ...

    def rank(self, row: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Return the rank of an action's id."""
        ...

    def action(self, row: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """Return the id of the action of a rank: its place in the list of logits, if there were one."""
        ...

    def buckets(self, first: int) -> Buckets:
        """Return buckets of the ranks from `first` on."""
        ...

    def atoms(self, row: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return u and counts (A,): sum over ranks first <= r < last of h(u_r) = sum of count h(u), for smooth h."""
        ...

    def distinct(self, first: int, limit: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Return the distinct log-probabilities from a rank on and their counts, (R, L), if there are at most `limit`."""
        ...


def _stack(starts: list[np.ndarray], ends: list[int], ceilings: list[np.ndarray]) -> Buckets:
    """Buckets of laws that have different numbers of them."""
    most = max(map(len, starts))
    start = np.stack([np.pad(s, (0, most - len(s)), constant_values=end) for s, end in zip(starts, ends, strict=True)])
    size = np.diff(start, axis=1, append=np.array(ends)[:, None])
    return Buckets(start, size, np.stack([np.pad(c, (0, most - len(c)), constant_values=-np.inf) for c in ceilings]))


class ZipfLaw:
    """pi_a proportional to a^-exponent, a = 1..V. Ranks beyond DIRECT are summed as an integral with its end corrections."""

    rows = 1

    def __init__(self, vocab: int, exponent: float) -> None:
        self.vocab, self._reverse, self._s = vocab, exponent < 0, abs(exponent)
        self._log_z = 0.0
        u, count = self.atoms(0, 0, vocab)
        self._log_z = math.log(float(np.sum(count * np.exp(u))))

    def _u(self, place: np.ndarray) -> np.ndarray:
        """log pi of a real place a >= 1."""
        # A negative exponent makes the last actions the most probable ones: a = V + 1 - place.
        x = self.vocab + 1 - place if self._reverse else place
        out: np.ndarray = (self._s if self._reverse else -self._s) * np.log(x) - self._log_z
        return out

    def log_prob(self, row: np.ndarray, rank: np.ndarray) -> np.ndarray:
        return self._u(rank + 1.0)

    def rank(self, row: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.vocab - 1 - action if self._reverse else action

    action = rank

    def buckets(self, first: int) -> Buckets:
        if self._reverse:  # log-probabilities from the top: s log(1 - r/V), steep at the last ranks
            drop = np.arange(0, -self._u(np.array([float(self.vocab)]))[0] + self._u(np.array([first + 1.0]))[0], BUCKET)
            top = self.vocab - first
            starts = first + np.floor(top * -np.expm1(-drop / max(self._s, 1e-300))).astype(np.int64)
        else:
            growth = math.expm1(min(BUCKET / max(self._s, 1e-300), 60.0))
            edges, place = [first], first
            while True:  # one pass per bucket: a few hundred
                place += max(1, int((place + 1) * growth))
                if place >= self.vocab:
                    break
                edges.append(place)
            starts = np.array(edges)
        starts = np.unique(starts[starts < self.vocab])
        return _stack([starts], [self.vocab], [self._u(starts + 1.0)])

    def atoms(self, row: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Count exactly the first DIRECT ranks. Beyond, sum_{a=A}^{B} h(a) is the integral of h from A - 1/2 to B + 1/2 less a
        24th of the change of h' between these ends (Euler-Maclaurin at midpoints). What is left out is 1.2e-3 of the change of
        the third derivative: for a polynomial of degree 20 on 2 nats of u below 1e-14 of the sum. The integral over log a is
        Gauss-Legendre's."""
        direct_last = last if last - max(first, DIRECT) <= 4 * DIRECT else max(first, DIRECT)
        if self._reverse and direct_last < last:
            raise SpecError(
                f"policy.exponent = {-self._s:g} makes the last of {self.vocab:,} actions the likeliest: use a positive exponent."
            )
        place = np.arange(first, direct_last) + 1.0
        if direct_last == last:
            return self._u(place), np.ones(len(place))
        a, b = direct_last + 0.5, last + 0.5
        x, w = np.polynomial.legendre.leggauss(256)
        t = (math.log(a) + math.log(b)) / 2 + (math.log(b) - math.log(a)) / 2 * x
        inner = np.exp(t)
        count = w * (math.log(b) - math.log(a)) / 2 * inner
        ends = np.array([b + 0.5, b - 0.5, a + 0.5, a - 0.5])
        places = np.concatenate([place, inner, ends])
        return self._u(places), np.concatenate([np.ones(len(place)), count, np.array([-1, 1, 1, -1]) / 24])

    def distinct(self, first: int, limit: int) -> tuple[np.ndarray, np.ndarray] | None:
        if self._s == 0:
            return self._u(np.array([[1.0]])), np.array([[float(self.vocab - first)]])
        return None


class LevelLaws:
    """Laws with few distinct probabilities: levels u (R, L), descending, each of so many actions, counts (R, L)."""

    def __init__(self, log_probs: np.ndarray, counts: np.ndarray, *, reverse: bool = False) -> None:
        self._counts, self._reverse = counts.astype(np.int64), reverse
        self.rows, self.vocab = len(counts), int(self._counts[0].sum())
        log_z = np.log(np.sum(counts * np.exp(log_probs), axis=1, keepdims=True))
        self._u = log_probs - log_z
        self._start = np.cumsum(self._counts, axis=1) - self._counts

    def log_prob(self, row: np.ndarray, rank: np.ndarray) -> np.ndarray:
        out: np.ndarray = self._u[row, last_at_most(self._start, row, rank)]
        return out

    def rank(self, row: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self.vocab - 1 - action if self._reverse else action

    action = rank

    def _from(self, rows: slice, first: int, last: int | None = None) -> np.ndarray:
        """Actions of each level with first <= rank < last, (rows, L)."""
        start, end = self._start[rows], self._start[rows] + self._counts[rows]
        out: np.ndarray = np.maximum(np.minimum(end, self.vocab if last is None else last) - np.maximum(start, first), 0)
        return out

    def buckets(self, first: int) -> Buckets:
        return Buckets(np.maximum(self._start, first), self._from(slice(None), first), self._u)

    def atoms(self, row: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        count = self._from(slice(row, row + 1), first, last)[0]
        return self._u[row][count > 0], count[count > 0].astype(float)

    def distinct(self, first: int, limit: int) -> tuple[np.ndarray, np.ndarray] | None:
        count = self._from(slice(None), first)
        used = int(np.max(np.sum(count > 0, axis=1)))
        if used > limit:
            return None
        # Levels that are empty here go last, at probabilities below all others, so that rows of equal length descend.
        order = np.argsort(count == 0, axis=1, kind="stable")[:, :used]
        u, number = np.take_along_axis(self._u, order, axis=1), np.take_along_axis(count, order, axis=1)
        below = self._u.min(axis=1, keepdims=True) - 1 - np.arange(used)
        return np.where(number > 0, u, below), number.astype(float)


class ListedLaws:
    """Laws given by all their log-probabilities (R, V), in any order."""

    def __init__(self, log_probs: np.ndarray) -> None:
        self.rows, self.vocab = log_probs.shape
        self._order = np.argsort(-log_probs, axis=1, kind="stable").astype(np.int32)
        self._rank = np.empty_like(self._order)
        np.put_along_axis(self._rank, self._order, np.arange(self.vocab, dtype=np.int32)[None], axis=1)
        self._u = np.take_along_axis(log_probs, self._order, axis=1)

    def log_prob(self, row: np.ndarray, rank: np.ndarray) -> np.ndarray:
        out: np.ndarray = self._u[row, rank]
        return out

    def rank(self, row: np.ndarray, action: np.ndarray) -> np.ndarray:
        return self._rank[row, action].astype(np.int64)

    def action(self, row: np.ndarray, rank: np.ndarray) -> np.ndarray:
        return self._order[row, rank].astype(np.int64)

    def buckets(self, first: int) -> Buckets:
        starts, ceilings = [], []
        for u in self._u[:, first:]:
            start = first + np.unique(np.floor((u[0] - u) / BUCKET), return_index=True)[1]
            starts.append(start)
            ceilings.append(u[start - first])
        return _stack(starts, [self.vocab] * self.rows, ceilings)

    def atoms(self, row: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        return self._u[row, first:last], np.ones(last - first)

    def distinct(self, first: int, limit: int) -> tuple[np.ndarray, np.ndarray] | None:
        return None


def _normal_levels(spec: NormalLogitsSpec) -> LevelLaws:
    """Expected numbers of normal logits in 2^16 bins, rounded so that all V actions are somewhere."""
    from scipy.special import ndtr

    edges = np.linspace(-8.0, 8.0, 2**16 + 1)
    below = np.rint(spec.vocab * ndtr(edges)).astype(np.int64)
    below[0], below[-1] = 0, spec.vocab
    counts = np.diff(below)[::-1]
    middle = ((edges[:-1] + edges[1:]) / 2)[::-1]
    used = counts > 0
    return LevelLaws(spec.sd * middle[None, used], counts[None, used])


def laws_of(experiment: Experiment) -> tuple[Laws, np.ndarray]:
    """Return the initial laws of an experiment, and which of them each context has, (C,).

    Contexts of one law share it. Normal logits of more than 10^7 actions are not drawn: each of 65,536 levels has its expected
    number of actions, which is the law that a draw differs from by 1/sqrt(V).
    Raises: SpecError for a list of over 10^7 actions, or one that does not fit in memory.
    """
    spec = experiment.policy
    if isinstance(spec, ZipfSpec):
        return ZipfLaw(spec.vocab, spec.exponent), np.zeros(spec.contexts, dtype=np.int64)
    if isinstance(spec, UniformSpec):
        return LevelLaws(np.zeros((1, 1)), np.array([[spec.vocab]])), np.zeros(spec.contexts, dtype=np.int64)
    if isinstance(spec, PeakedSpec):
        logits, counts = np.array([[spec.logit, 0.0]]), np.array([[1, spec.vocab - 1]])
        reverse = spec.logit < 0
        if reverse:
            logits, counts = logits[:, ::-1], counts[:, ::-1]
        return LevelLaws(logits, counts, reverse=reverse), np.zeros(spec.contexts, dtype=np.int64)
    if isinstance(spec, SnapshotSpec):
        counts, log_probs = read(spec.name).levels()
        n = len(counts) if spec.contexts is None else spec.contexts
        if n > len(counts):
            raise SpecError(f"policy.contexts = {n}, but the snapshot {spec.name!r} holds 1 to {len(counts)}: ask for fewer.")
        return LevelLaws(log_probs[:n], counts[:n]), np.arange(n)
    if isinstance(spec, NormalLogitsSpec) and spec.vocab > MAX_LISTED:
        return _normal_levels(spec), np.zeros(spec.contexts, dtype=np.int64)
    tables = start_of(experiment).old_log_probs[:, 0]
    if tables.shape[1] > MAX_LISTED:
        raise SpecError(f"the policy lists {tables.shape[1]:,} actions, over {MAX_LISTED:,}: use a law such as zipf.")
    distinct, which = np.unique(tables, axis=0, return_inverse=True) if len(tables) > 1 else (tables, np.zeros(1, dtype=np.int64))
    return ListedLaws(log_softmax(distinct)), which.reshape(-1)
