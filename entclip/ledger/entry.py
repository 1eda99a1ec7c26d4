"""What an engine hands to the ledger: the columns of one update, pooled to units, and what those units are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from entclip.ledger.columns import column_named

__all__ = ["Entry", "Units", "pool_prefixes"]


class Units(Protocol):
    """What the ledger needs to know of a state: which units there are, what they weigh, which of them are independent."""

    @property
    def rollout(self) -> int:
        """Return the index of the rollout."""

    @property
    def replica(self) -> np.ndarray:
        """Return replica of each unit, (U,)."""

    @property
    def weight(self) -> np.ndarray:
        """Return d(s) x branch probability, mean over replicas, (U,); sums to the number of contexts."""

    @property
    def context_weight(self) -> np.ndarray:
        """Return d(s) of each unit, (U,)."""

    @property
    def shared(self) -> bool:
        """Tell whether contexts share parameters: only replicas are independent."""

    @property
    def length(self) -> int:
        """Return the number of tokens of a sequence."""


@dataclass(frozen=True)
class Entry:
    """Columns of one update, each (U,) float64, with the weights of the units and what identifies them."""

    inner_step: int
    rollout: int
    columns: dict[str, np.ndarray]
    weight: np.ndarray
    context: np.ndarray
    replica: np.ndarray
    samples: float  # mean number per unit; of sequences, their tokens
    fresh: bool
    drawn: bool  # True: units are independent draws with standard errors; False: weights are exact probabilities
    precision: float = float(np.finfo(np.float64).eps)  # rounding of the arithmetic behind the columns


def pool_prefixes(columns: Mapping[str, np.ndarray], share: np.ndarray) -> dict[str, np.ndarray]:
    """Return columns by prefix (u, N) as columns by unit (u,), each as the table says; share: weights d(s)/length of means, (u,
    N)."""
    pools: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "mean": lambda x: np.sum(share * x, axis=-1),
        "sum": lambda x: np.sum(x, axis=-1),
        "max": lambda x: np.max(x, axis=-1),
        "variance": lambda x: np.sum(share**2 * x, axis=-1),
    }
    return {name: pools[column_named(name).prefixes](value) for name, value in columns.items()}
