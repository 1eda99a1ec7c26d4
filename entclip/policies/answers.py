"""What a change of policy does to the answers that can be found: support kept and lost, and the entropy of answers.

Several actions (or whole responses) may give one answer. An answer is in the empirical support of a policy where its probability
is at least that which some number of samples meets with some confidence.

References: Wu et al. 2025, arXiv:2507.14843 (The Invisible Leash), in a third party's reading.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from entclip.support.errors import SpecError

__all__ = ["Support", "answer_entropy", "answer_probs", "detectable", "support_kept"]


def detectable(samples: int = 8192, miss: float = 0.05) -> float:
    """Return the least probability of an answer that `samples` draws miss with chance at most `miss`: -log(miss)/samples.

    The chance is (1 - p)^samples <= exp(-p samples); 3.66e-4 at the paper's 8,192 samples and .05.
    """
    if samples < 1 or not 0 < miss < 1:
        raise SpecError(f"samples = {samples} must be at least 1 and miss = {miss} between 0 and 1, both ends excluded.")
    return -math.log(miss) / samples


@dataclass(frozen=True)
class Support:
    """How many right answers the two policies can find.

    Attributes:
        preserved: both policies.   expanded: the new one alone.   shrunk: the old one alone.   out: neither.
    """

    preserved: int
    expanded: int
    shrunk: int
    out: int

    @property
    def retention(self) -> float:
        """Return SRR = P/(P + S), the support retention rate; NaN where the old policy finds none."""
        return _share(self.preserved, self.preserved + self.shrunk)

    @property
    def discovery(self) -> float:
        """Return NDR = E/(P + E), the net discovery rate; NaN where the new policy finds none."""
        return _share(self.expanded, self.preserved + self.expanded)

    @property
    def dynamic_score(self) -> float:
        """Return SDS = 2 SRR NDR/(SRR + NDR), the harmonic mean; 0 where both are 0."""
        if self.retention + self.discovery == 0:
            return 0.0
        return 2 * self.retention * self.discovery / (self.retention + self.discovery)

    @property
    def net_change(self) -> float:
        """Return NSCR = (E - S)/(P + E + S), the net support change rate; NaN where neither finds any."""
        return _share(self.expanded - self.shrunk, self.preserved + self.expanded + self.shrunk)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def answer_probs(probs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the probability of every answer, (..., N), from that of actions (..., V) and the answer 0 .. N - 1 of each, (V,).

    Raises: SpecError if `answers` does not give every action a number of at least 0.
    """
    probs, answers = np.asarray(probs, dtype=float), np.asarray(answers)
    if answers.shape != probs.shape[-1:] or not np.issubdtype(answers.dtype, np.integer) or answers.min(initial=0) < 0:
        raise SpecError(
            f"answers has shape {answers.shape} and type {answers.dtype}: give one integer of at least 0 for each of the "
            f"{probs.shape[-1]} actions."
        )
    out = np.zeros((*probs.shape[:-1], int(answers.max()) + 1))
    np.add.at(np.moveaxis(out, -1, 0), answers, np.moveaxis(probs, -1, 0))
    return out


def answer_entropy(probs: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return the entropy of the answer, (...), nats: at most that of the action, by what one answer's actions differ in.

    Args:
        probs: of actions, (..., V).   answers: the answer of each action, (V,), integers from 0.
    """
    from scipy.special import entr

    value: np.ndarray = np.sum(entr(answer_probs(probs, answers)), axis=-1)
    return value


def support_kept(before: np.ndarray, after: np.ndarray, right: np.ndarray, *, least: float | None = None) -> Support:
    """Count the right answers that two policies can find.

    Args:
        before, after: probabilities of answers, (..., N).
        right: whether an answer is right, (..., N) or (N,).
        least: probability from which on an answer is found; None: `detectable()`, the paper's.
    Raises: SpecError if shapes differ or probabilities are not between 0 and 1.
    """
    before, after = np.asarray(before, dtype=float), np.asarray(after, dtype=float)
    if before.shape != after.shape or np.broadcast_shapes(before.shape, np.shape(right)) != before.shape:
        raise SpecError(f"before has shape {before.shape}, after {after.shape} and right {np.shape(right)}: they must fit.")
    if not all(np.all((x >= 0) & (x <= 1 + 1e-9)) for x in (before, after)):
        raise SpecError("before and after must be probabilities of answers, between 0 and 1: exp of log-probabilities.")
    edge = detectable() if least is None else least
    old, new, counted = before >= edge, after >= edge, np.broadcast_to(np.asarray(right, dtype=bool), before.shape)
    pairs = ((old & new), (~old & new), (old & ~new), (~old & ~new))
    return Support(*(int(np.sum(pair & counted)) for pair in pairs))
