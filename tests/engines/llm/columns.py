"""Ledger columns of a short run of the llm engine."""

import numpy as np

from entclip.engines.base import Directive
from entclip.engines.llm.engine import LlmEngine

__all__ = ["columns"]


def columns(spec, dtype="float64", updates=4):
    """Ledger columns (updates, replicas) of the first arm's first rollout."""
    engine = LlmEngine(dtype=dtype)
    state = engine.start(spec, spec.arm[0].build())
    state, rollout = engine.roll_out(state)
    entries = []
    for minibatch in rollout.minibatches[:updates]:
        state, entry = engine.step(state, rollout, minibatch, Directive())
        entries.append(entry.columns)
    return {name: np.array([e[name] for e in entries]) for name in entries[0]}
