"""Autoregressive tabular policies: every prefix of a sequence is a state with its own softmax over the next token.

Arrays (..., N, V) hold one row per prefix, shortest first, and within a length in base-V order with the first token slowest.
A bandit or tabular policy is the case length = 1: one prefix, the empty one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["PrefixTree"]


@dataclass(frozen=True)
class PrefixTree:
    """All prefixes of sequences of `length` tokens over `vocab` tokens."""

    vocab: int
    length: int = 1

    @property
    def prefixes(self) -> int:
        """Return the number of prefixes, N = 1 + V + ... + V^(length - 1)."""
        return sum(self.vocab**t for t in range(self.length))

    @property
    def sequences(self) -> int:
        """Return the number of whole sequences, V^length."""
        return self.vocab**self.length

    def levels(self) -> list[tuple[int, slice]]:
        """Return how many tokens the prefixes have, and which rows they are, for each position of a sequence."""
        starts = np.cumsum([0, *(self.vocab**t for t in range(self.length))])
        return [(t, slice(int(starts[t]), int(starts[t + 1]))) for t in range(self.length)]

    def sequence_log_probs(self, log_probs: np.ndarray) -> np.ndarray:
        """Add log pi of the tokens of whole sequences, (..., N, V) -> (..., V^length)."""
        if self.length == 1:
            return log_probs[..., 0, :]
        total = np.zeros((*log_probs.shape[:-2], 1))
        for _, rows in self.levels():
            total = (total[..., None] + log_probs[..., rows, :]).reshape(*total.shape[:-1], -1)
        return total

    def visits(self, log_probs: np.ndarray) -> np.ndarray:
        """Return d(s), the probability that a sequence passes through each prefix, (..., N)."""
        total, out = np.zeros((*log_probs.shape[:-2], 1)), []
        for _, rows in self.levels():
            out.append(total)
            total = (total[..., None] + log_probs[..., rows, :]).reshape(*total.shape[:-1], -1)
        return np.exp(np.concatenate(out, axis=-1))

    def along(self, table: np.ndarray) -> np.ndarray:
        """Return the entries of a table (..., N, V) that each sequence passes, (..., V^length, length)."""
        lead = table.shape[:-2]
        steps = [
            np.repeat(table[..., rows, :].reshape(*lead, -1), self.vocab ** (self.length - t - 1), axis=-1)
            for t, rows in self.levels()
        ]
        return np.stack(steps, axis=-1)

    def added(self, per_token: np.ndarray) -> np.ndarray:
        """Add what sequences bring to their tokens, (..., V^length, length), up by prefix and next token, (..., N, V)."""
        lead = per_token.shape[:-2]
        return np.concatenate(
            [per_token[..., t].reshape(*lead, self.vocab**t, self.vocab, -1).sum(axis=-1) for t, _ in self.levels()], axis=-2
        )

    def per_token(self, per_sequence: np.ndarray) -> np.ndarray:
        """Turn sums over sequences, (..., V^length), into sums per prefix and next token, (..., N, V)."""
        if self.length == 1:
            return per_sequence[..., None, :]
        lead = per_sequence.shape[:-1]
        return np.concatenate(
            [per_sequence.reshape(*lead, self.vocab**t, self.vocab, -1).sum(axis=-1) for t, _ in self.levels()], axis=-2
        )
