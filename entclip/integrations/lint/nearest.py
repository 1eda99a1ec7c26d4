"""The name in a list that is most like a given one: difflib's answer, without a comparison of what cannot be near."""

from __future__ import annotations

import difflib
from functools import lru_cache

import numpy as np

__all__ = ["closest"]


def closest(word: str, names: frozenset[str], cutoff: float) -> str | None:
    """Return what `difflib.get_close_matches` finds first, None where no name reaches the cutoff.

    A resolved configuration has hundreds of keys, and each is compared with the hundreds of every library. The letters that two
    words share, in whatever order, bound their ratio from above: counted for all names at once, few are left to compare.
    """
    listed, letters, counts, lengths = _counted(names)
    own = np.array([word.count(letter) for letter in letters], dtype=np.int64)
    bound = np.ones(len(listed)) if not word else 2 * np.minimum(counts, own).sum(axis=1) / (lengths + len(word))
    matcher, best = difflib.SequenceMatcher(b=word), (-1.0, "")
    for k in np.argsort(-bound, kind="stable"):
        if bound[k] < max(cutoff, best[0]):
            break
        matcher.set_seq1(listed[k])
        best = max(best, (matcher.ratio(), listed[k]))
    return best[1] if best[0] >= cutoff else None


@lru_cache(maxsize=256)
def _counted(names: frozenset[str]) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Names in order, the letters in them, how often each name has each letter (N, letters), and how long each is (N,)."""
    listed = sorted(names)
    letters = sorted(set().union(*listed))
    counts = np.array([[name.count(letter) for letter in letters] for name in listed], dtype=np.int64)
    return listed, letters, counts.reshape(len(listed), len(letters)), np.array([len(name) for name in listed])
