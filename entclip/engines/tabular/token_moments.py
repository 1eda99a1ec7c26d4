"""Moments of a sequence's advantage given one of its prefixes and the token after it."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import numpy as np

from entclip.engines.minibatches import _map_moments
from entclip.policies.sequences import PrefixTree
from entclip.rewards.advantage import AdvantageMoments, Moment

__all__ = ["token_moments", "with_prefix_axis"]


def with_prefix_axis(moments: AdvantageMoments) -> AdvantageMoments:
    """Return the moments of units (u, ...) as (u, 1, ...): all prefixes of a unit share its advantages."""
    return _map_moments(moments, lambda x, own: x[:, None] if x.ndim > own else x)


def token_moments(moments: AdvantageMoments, tree: PrefixTree, probs: np.ndarray) -> AdvantageMoments:
    """Return the moments given a prefix and the next token, by action (u, N, V), from those of whole sequences (u, A).

    E[f(A) | s, a] is the mean of E[f(A) | sequence] over the sequences that go through s and a, with weights pi_old; so is the
    chance of a reward level, by which two samples of one group depend on each other.

    Args:
        probs: pi_old of whole sequences, (u, A).
    """
    if tree.length == 1 or not moments.action_dependent:
        return with_prefix_axis(moments)
    whole = np.maximum(tree.per_token(probs), np.finfo(np.float64).tiny)

    def given(value: np.ndarray) -> np.ndarray:
        out: np.ndarray = tree.per_token(probs * value) / whole
        return out

    if moments.pair is None:
        by_token: dict[str, Any] = {name: given(moments.by_action(name)) for name in get_args(Moment)}
        return dataclasses.replace(moments, level_probs=np.eye(tree.vocab), **by_token)
    chance = np.stack([given(level) for level in moments.level_probs.T], axis=-1)
    return dataclasses.replace(with_prefix_axis(moments), level_probs=chance)
