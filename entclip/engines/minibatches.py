"""What every engine does with a minibatch: its ledger entry, its rows of moments, its scheme of drawing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import numpy as np

from entclip.engines.accounting import Scheme
from entclip.engines.base import Minibatch, State
from entclip.experiments.experiment import Experiment
from entclip.ledger.entry import Entry
from entclip.rewards.advantage import AdvantageMoments, Moment

__all__ = ["entry_of", "fresh_minibatches", "scheme_of", "step_weight", "take_moments"]


def entry_of(state: State, minibatch: Minibatch, columns: dict[str, np.ndarray], *, drawn: bool) -> Entry:
    """Return the entry of one update of all units of a state."""
    return Entry(
        inner_step=minibatch.inner_step,
        rollout=state.rollout,
        columns=columns,
        weight=state.weight,
        context=state.context,
        replica=state.replica,
        samples=state.experiment.update.batch * state.length,
        fresh=minibatch.fresh,
        drawn=drawn,
    )


def take_moments(moments: AdvantageMoments, rows: slice | np.ndarray) -> AdvantageMoments:
    """Return the moments of some units; those that are the same for every unit are left alone."""

    def cut(x: np.ndarray, own: int) -> np.ndarray:
        return x[rows] if x.ndim > own else x

    return _map_moments(moments, cut)


def _map_moments(moments: AdvantageMoments, change: Callable[[np.ndarray, int], np.ndarray]) -> AdvantageMoments:
    """Apply change(array, number of axes of one unit) to every moment."""
    pair = None if moments.pair is None else moments.pair.map(lambda x: change(x, 2))
    single: dict[str, Any] = {name: change(getattr(moments, name), 1) for name in get_args(Moment)}
    return AdvantageMoments(level_probs=moments.level_probs, **single, pair=pair)


def fresh_minibatches(experiment: Experiment, *, defined: bool = True) -> tuple[Minibatch, ...]:
    """Return the minibatches of a rollout, epoch by epoch.

    defined: whether the engine knows the moments of the advantages. Reused samples, and groups that shuffling cut apart,
    depend on the path so far: their minibatches are not fresh.
    """
    spec = experiment.update
    shared = spec.minibatch == "shuffled" and experiment.advantage.size > 1
    return tuple(
        Minibatch(inner_step=e * spec.minibatches + k, epoch=e, index=k, fresh=e == 0 and not (shared and k > 0) and defined)
        for e in range(spec.epochs)
        for k in range(spec.minibatches)
    )


def step_weight(state: State) -> np.ndarray | float:
    """Return what the learning rate of each unit is multiplied by: d(s), (U,), for euclidean steps; 1 where it cancels."""
    return state.context_weight if state.experiment.update.geometry == "euclidean" else 1.0


def scheme_of(state: State) -> Scheme:
    """Return the part of the update that does not change within a run."""
    spec, size = state.experiment.update, state.experiment.advantage.size
    pool = spec.batch if spec.minibatch == "groups" else spec.batch * spec.minibatches
    shared = (size - 1) / (pool - 1) if size > 1 else 0.0
    return Scheme(state.objective, spec.geometry, spec.batch, shared)
