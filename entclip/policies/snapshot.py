"""Snapshots: next-token distributions of a real language model, small enough to ship.

A context is stored as its K most probable tokens exactly (float32 log-probabilities with their ids) and the
other V - K tokens as bins, each a count n_j and the log l_j of the mean probability. The law that a snapshot
stands for gives every token of bin j the probability exp(l_j), and is renormalised in float64 (top tokens
have n_j = 1):

    Z = sum_j n_j exp(l_j),    H = log Z - sum_j n_j exp(l_j) l_j / Z    (nats)

A bin keeps its mass, so the only loss is the spread inside it: the entropy grows by sum_j m_j KL(bin j ||
uniform), about sum_j m_j w_j^2 / 24 for bins of mass m_j and width w_j in log-probability. The model's own
entropy is stored beside it, and both `compress` and `read` refuse a snapshot that is more than 1e-3 nats away
from it.

`entclip.policies.from_model` makes snapshots from a model, `entclip.policies.snapshot_file` is the file; both this module
and the file need numpy only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.resources
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from entclip.policies import snapshot_file
from entclip.policies.softmax import log_softmax
from entclip.support.bounded import exists
from entclip.support.errors import DamagedFileError, SpecError

__all__ = ["BUNDLED", "ENTROPY_TOLERANCE", "Snapshot", "compress", "read", "sizes"]

BUNDLED = ("smollm2-135m",)  # these `read` finds inside the package
ENTROPY_TOLERANCE = 1e-3  # nats, the largest loss that a snapshot may have

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """C next-token distributions over V tokens, compressed: made by `compress` or `read`, stated above.

    Attributes:
        vocab: V, the size of the model's vocabulary; every expanded row has V entries.
        top_ids, top_log_probs: (C, K) token ids and log-probabilities (nats), most probable first.
        tail_counts, tail_log_probs: (C, B) tokens in each bin and the log of their mean probability,
            descending; a row that needs fewer bins ends with counts of 0.
        dense_entropy: (C,) nats, of the model's full distribution, measured before compression.
        prompt: (C,) index of the prompt, -1 where unknown.
        position: (C,) tokens of context before the predicted token, -1 where unknown.
        response_index: (C,) place of the predicted token in the model's own sampled response, -1 inside the
            prompt or where unknown.
        about: model, licence, tool and whatever else the maker noted, all text.
    """

    vocab: int
    top_ids: Array
    top_log_probs: Array
    tail_counts: Array
    tail_log_probs: Array
    dense_entropy: Array
    prompt: Array
    position: Array
    response_index: Array
    about: Mapping[str, str]

    @property
    def contexts(self) -> int:
        """Return C, the number of contexts."""
        return int(self.top_ids.shape[0])

    @property
    def keep(self) -> int:
        """Return K, the number of tokens of each context that are stored exactly."""
        return int(self.top_ids.shape[1])

    def levels(self) -> tuple[Array, Array]:
        """Return the number of tokens at each level, int64 (C, K + B), and their normalised log-probabilities, float64 (C, K +
        B).

        Enough for any sum over the vocabulary, sum_a f(log pi_a) = sum_j n_j f(l_j), without its V terms.
        """
        ones = np.ones(self.top_ids.shape, np.int64)
        counts = np.concatenate([ones, self.tail_counts.astype(np.int64)], axis=-1)
        log_probs = np.concatenate([self.top_log_probs.astype(np.float64), self.tail_log_probs], axis=-1)
        # Rounding to float32 leaves the sum about 1e-7 away from 1.
        log_z = np.log(np.sum(counts * np.exp(log_probs), axis=-1, keepdims=True))
        return counts, log_probs - log_z

    def entropy(self) -> Array:
        """Return the entropy of the compressed distributions, (C,), nats, within `ENTROPY_TOLERANCE` of `dense_entropy`."""
        counts, log_probs = self.levels()
        h: Array = -np.sum(counts * np.exp(log_probs) * log_probs, axis=-1)
        return h

    def log_probs(self, contexts: int | None = None) -> Array:
        """Return the first `contexts` distributions (default: all) as log-probabilities over all V tokens, in nats.

        Args:
            contexts: 1 to C. The maker shuffles contexts, so the first few are a fair sample of all.
        Returns: float64 (contexts, V), each row descending and summing to 1; the first K entries are the
            tokens `top_ids`. Takes 8 V bytes a context (0.4 MB at V = 49,152).
        Raises: ValueError if contexts is out of range.
        """
        n = self.contexts if contexts is None else contexts
        if not 1 <= n <= self.contexts:
            raise ValueError(
                f"contexts must be from 1 to {self.contexts}, got {n}: this snapshot holds {self.contexts}. "
                "Ask for fewer, or make a larger snapshot with `entclip snapshot --contexts`."
            )
        counts, log_probs = self.levels()
        dense: Array = np.repeat(log_probs[:n].ravel(), counts[:n].ravel()).reshape(n, self.vocab)
        return dense

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write to `path` whole or not at all, and return the path. The same snapshot gives the same bytes.

        Raises: ValueError if its folder does not exist or it is a folder itself.
        """
        arrays = {name: getattr(self, name) for name in snapshot_file.DTYPES}
        return snapshot_file.write(Path(path), self.vocab, arrays, self.about)


def compress(
    log_probs: npt.ArrayLike,
    *,
    keep: int = 1024,
    bins: int = 128,
    prompt: npt.ArrayLike | None = None,
    position: npt.ArrayLike | None = None,
    response_index: npt.ArrayLike | None = None,
    about: Mapping[str, str] | None = None,
) -> Snapshot:
    """Compress dense distributions: the `keep` largest probabilities exactly, the others in `bins` bins.

    Args:
        log_probs: (C, V), natural logs; each row sums to 1 within 1e-4 and is renormalised in float64.
        keep: K, 1 to V.
        bins: B >= 1 for each context.
        prompt, position, response_index: (C,) integers, where each context comes from; -1 where not given.
        about: text about the source, for example {"model": ..., "licence": ...}.
    Returns: Snapshot.
    Raises: ValueError if the input is not (C, V) log-probabilities, or if the bins lose over 1e-3 nats.
    Example:
        >>> s = compress(np.log([[0.5, 0.2, 0.2, 0.1]]), keep=2, bins=8)
        >>> np.exp(s.log_probs()).round(6)  # float32 in, so about 7 digits
        array([[0.5, 0.2, 0.2, 0.1]])
    """
    values = np.asarray(log_probs)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"log_probs must have the shape (contexts, V), got {values.shape}: one row for each context.")
    contexts, vocab = values.shape
    if not 1 <= keep <= vocab or bins < 1:
        raise ValueError(
            f"keep must be from 1 to V = {vocab} and bins at least 1, got keep={keep}, bins={bins}: keep is "
            "the number of tokens stored exactly, bins the number of levels for the rest."
        )
    ids = np.empty((contexts, keep), np.int32)
    tops = np.empty((contexts, keep), np.float32)
    counts = np.empty((contexts, bins), np.int32)
    tails = np.empty((contexts, bins), np.float64)
    entropies = np.empty(contexts, np.float64)
    for c, row in enumerate(values):  # row by row: never a second (C, V) array
        x = _normalised(row, c)
        order = np.argsort(-x, kind="stable")
        entropies[c] = -np.sum(np.exp(x) * x)
        # The bins are made from the rounded values too, so that the top stays above the tail where they tie.
        y = x[order].astype(np.float32).astype(np.float64)
        ids[c], tops[c] = order[:keep], y[:keep]
        counts[c], tails[c] = _bin_tail(y[keep:], bins, float(y[keep - 1]))
    snapshot = Snapshot(
        vocab=vocab,
        top_ids=ids,
        top_log_probs=tops,
        tail_counts=counts,
        tail_log_probs=tails,
        dense_entropy=entropies,
        prompt=_places(prompt, contexts),
        position=_places(position, contexts),
        response_index=_places(response_index, contexts),
        about=MappingProxyType({"tool": f"entclip {_version()}", **(about or {})}),
    )
    _check(snapshot, "cannot compress these log_probs", "Keep more tokens or use more bins.")
    return snapshot


def read(path_or_name: str | os.PathLike[str]) -> Snapshot:
    """Read a snapshot: a shipped name ("smollm2-135m") or a file written by `Snapshot.save`.

    Everything is checked: V, K, counts, order, finite values, a sum of 1, and the entropy against the
    measured one.

    Raises: SpecError if there is no such file or name; DamagedFileError if it is truncated, damaged or not a snapshot.
    Example:
        >>> read("smollm2-135m").vocab
        49152
    """
    source, where = _source(path_or_name)
    vocab, arrays, about = snapshot_file.decode(source, where)
    snapshot = Snapshot(vocab=vocab, about=MappingProxyType(about), **arrays)
    _check(snapshot, where, snapshot_file.FIX, DamagedFileError)
    return snapshot


def sizes(path_or_name: str | os.PathLike[str]) -> tuple[int, int]:
    """Read contexts C and actions V of a snapshot, not its distributions.

    Raises: ValueError as `read`, for what is looked at.
    """
    return snapshot_file.sizes(*_source(path_or_name))


def _source(path_or_name: str | os.PathLike[str]) -> tuple[str | bytes, str]:
    """Return where the bytes are, and how messages begin."""
    name = os.fspath(path_or_name)
    where = f"cannot read the snapshot {name!r}"
    if name in BUNDLED:
        return importlib.resources.files("entclip").joinpath("data", f"{name}.npz").read_bytes(), where
    if not exists(Path(name)) or Path(name).is_dir():
        raise SpecError(
            f"{where}: there is no such file. Give a shipped name ({', '.join(BUNDLED)}) or the path of a file made by "
            "`entclip snapshot`."
        )
    return name, where


def _normalised(row: Array, c: int) -> npt.NDArray[np.float64]:
    x = row.astype(np.float64)
    # Not isfinite: a value beyond the range of float32, the stored type, would be infinite in the file.
    bad = ~(np.abs(x) < np.finfo(np.float32).max)
    if np.any(bad):
        raise ValueError(
            f"log_probs of context {c} hold {int(np.sum(bad))} NaN or infinite values: every token of a "
            "softmax has a finite log-probability. Drop tokens that the model masks out."
        )
    total = float(np.sum(np.exp(np.minimum(x, 1.0))))
    if abs(total - 1) > 1e-4:
        raise ValueError(
            f"probabilities of context {c} sum to {total:.6g}, not 1: pass log-probabilities, not logits, "
            "computed in float32 or better (log_softmax)."
        )
    normalised: npt.NDArray[np.float64] = log_softmax(x)
    return normalised


def _bin_tail(x: Array, bins: int, ceiling: float) -> tuple[Array, Array]:
    """Return counts and logs of mean probabilities, (bins,) each, of a descending tail with x <= ceiling."""
    counts, levels = np.zeros(bins, np.int32), np.full(bins, ceiling)
    if x.size == 0:
        return counts, levels
    # Bins are equal steps of a coordinate u in [0, 1]. Half of it grows as the cube root of the density of
    # mass, the rule of Panter and Dite (1951) for the least squared error, where one masked token at -1e30
    # weighs nothing; half grows with log-probability, so that improbable tokens keep their surprisal to 2 /
    # bins of its range.
    gap = -np.diff(x, prepend=x[0])
    density = np.cumsum(np.cbrt(np.exp(x - x[0]) * gap**2))
    span = x[0] - x[-1]
    u = (density / density[-1] + (x[0] - x) / span) / 2 if span > 0 and density[-1] > 0 else np.zeros_like(x)
    starts = np.flatnonzero(np.diff(np.minimum(u * bins, bins - 1).astype(np.int64), prepend=-1))
    n = np.diff(starts, append=x.size)
    first = x[starts]
    mean = np.log(np.add.reduceat(np.exp(x - np.repeat(first, n)), starts) / n) + first
    j = len(starts)
    # The minimum undoes the last bit of rounding in a mean of equal numbers: levels must descend.
    counts[:j], levels[:j] = n, np.minimum(mean, first)
    levels[j:] = levels[j - 1]
    return counts, levels


def _places(values: npt.ArrayLike | None, contexts: int) -> Array:
    return np.full(contexts, -1, np.int32) if values is None else np.asarray(values, np.int32)


def _check(s: Snapshot, where: str, fix: str, error: type[ValueError] = SpecError) -> None:
    """Raise `error` at the first broken promise; the entropy comes last, on arrays known to be sound."""

    def require(good: bool | np.bool_, cause: str) -> None:
        if not good:
            raise error(f"{where}: {cause}. {fix}")

    shape, bins, v = s.top_ids.shape, s.tail_counts.shape, s.vocab
    require(s.contexts >= 1 and 1 <= s.keep <= v, f"{s.contexts} contexts, K = {s.keep}, V = {v}")
    good = s.top_log_probs.shape == shape and s.tail_log_probs.shape == bins
    require(good and bins[0] == shape[0] and bins[1] >= 1, f"top tokens have the shape {shape}, bins {bins}")
    for name in ("dense_entropy", "prompt", "position", "response_index"):
        length = getattr(s, name).shape
        require(length == shape[:1], f"{name} has the shape {length}, not ({s.contexts},)")
    for name in ("top_log_probs", "tail_log_probs", "dense_entropy"):
        require(np.all(np.isfinite(getattr(s, name))), f"{name} holds NaN or infinite values")
    ids = np.sort(s.top_ids, axis=-1)
    distinct = np.all(np.diff(ids, axis=-1) > 0) and ids.min() >= 0 and ids.max() < v
    require(distinct, f"top_ids are not distinct ids from 0 to V - 1 = {v - 1}")
    require(np.all(s.tail_counts >= 0), f"tail_counts go down to {s.tail_counts.min()}")
    tokens = np.sum(s.tail_counts, axis=-1, dtype=np.int64) + s.keep
    require(np.all(tokens == v), f"contexts have {tokens.min()} to {tokens.max()} tokens, V = {v}")
    levels = np.concatenate([s.top_log_probs.astype(np.float64), s.tail_log_probs], axis=-1)
    require(np.all(np.diff(levels, axis=-1) <= 0), "log-probabilities do not descend")
    require(np.all(levels <= 1e-6), f"a log-probability is {levels.max():.3g}, above 0")
    mass = np.sum(np.exp(s.top_log_probs.astype(np.float64)), axis=-1)
    mass += np.sum(s.tail_counts * np.exp(s.tail_log_probs), axis=-1)
    # float32 rounds a log-probability of up to 16 nats by at most 5e-7: the sum's relative error.
    worst = mass[np.argmax(np.abs(mass - 1))]
    require(np.abs(worst - 1) < 1e-5, f"probabilities sum to {worst:.8g}, not 1")
    loss = np.max(np.abs(s.entropy() - s.dense_entropy))
    limit = f"over {ENTROPY_TOLERANCE:g} (K = {s.keep}, {bins[1]} bins)"
    require(loss <= ENTROPY_TOLERANCE, f"the entropy is {loss:.3g} nats away from the model's, {limit}")


def _version() -> str:
    try:
        return importlib.metadata.version("entclip")
    except importlib.metadata.PackageNotFoundError:  # run from a source tree
        return "(not installed)"
