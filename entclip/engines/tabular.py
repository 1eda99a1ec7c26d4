"""What the sampled and the exact engine share: starting states, rollouts, and one update of a block of units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np

from entclip.accounting import Scheme, account
from entclip.advantage import AdvantageMoments, PairMoments
from entclip.drift.second_order import expected_step_variance
from entclip.engines.base import Directive, Entry, Minibatch, Rollout, State
from entclip.initial import start_of
from entclip.objective import Objective, signed_gains
from entclip.policy import entropy, importance_ratio
from entclip.rollout import Sums
from entclip.spec import Experiment

__all__ = [
    "begin",
    "begin_rollout",
    "entry_of",
    "matched_rate",
    "scheme_of",
    "sequence_entropy",
    "take_moments",
    "token_entropy",
    "update_block",
]


def begin(experiment: Experiment, objective: Objective, replicas: int) -> State:
    """The state before the first update: every replica of every context."""
    start = start_of(experiment)
    contexts = len(start.log_probs)

    def repeat(x: np.ndarray) -> np.ndarray:
        return np.tile(x, (replicas,) + (1,) * (x.ndim - 1))

    d = repeat(start.weights)
    return State(
        experiment=experiment,
        objective=objective,
        tree=start.tree,
        log_probs=repeat(start.log_probs),
        old_log_probs=repeat(start.old_log_probs),
        context=repeat(np.arange(contexts)),
        replica=np.repeat(np.arange(replicas), contexts),
        weight=d / replicas,
        context_weight=d,
        origin=np.arange(len(d)),
    )


def token_entropy(state: State, visits: np.ndarray | None) -> np.ndarray:
    """Entropy per token of each unit, (U,): over prefixes with weights d(s)/length, d frozen at pi_old."""
    value = entropy(state.log_probs)
    if visits is None:
        return value[:, 0]
    return np.sum(visits * value, axis=-1) / state.tree.length


def sequence_entropy(state: State) -> np.ndarray:
    """Entropy of whole sequences, (U,), nats: equal to the token entropy when sequences have one token."""
    return entropy(state.tree.sequence_log_probs(state.log_probs))


def entry_of(state: State, minibatch: Minibatch, columns: dict[str, np.ndarray], *, drawn: bool) -> Entry:
    """The entry of one update of all units of a state."""
    return Entry(
        inner_step=minibatch.inner_step,
        rollout=state.rollout,
        columns=columns,
        weight=state.weight,
        context=state.context,
        replica=state.replica,
        samples=state.experiment.update.batch,
        fresh=minibatch.fresh,
        drawn=drawn,
    )


def take_moments(moments: AdvantageMoments, rows: slice | np.ndarray) -> AdvantageMoments:
    """The moments of some units; those that are the same for every unit are left alone."""

    def cut(x: np.ndarray, own: int) -> np.ndarray:
        return x[rows] if x.ndim > own else x

    return _map_moments(moments, cut)


def _with_prefix_axis(moments: AdvantageMoments) -> AdvantageMoments:
    """The moments of units (u, ...) as (u, 1, ...): all prefixes of a unit share its advantages."""
    return _map_moments(moments, lambda x, own: x[:, None] if x.ndim > own else x)


def _map_moments(moments: AdvantageMoments, change: Callable[[np.ndarray, int], np.ndarray]) -> AdvantageMoments:
    """Apply change(array, number of axes of one unit) to every moment."""
    pair = moments.pair
    return AdvantageMoments(
        level_probs=moments.level_probs,
        plus=change(moments.plus, 1),
        minus=change(moments.minus, 1),
        plus_sq=change(moments.plus_sq, 1),
        minus_sq=change(moments.minus_sq, 1),
        pair=None
        if pair is None
        else PairMoments(change(pair.plus_plus, 2), change(pair.minus_minus, 2), change(pair.plus_minus, 2)),
    )


def begin_rollout(state: State, *, keep_old: bool) -> tuple[State, Rollout]:
    """pi_old := pi (unless a perturbation set it), the moments of the advantages under it, and the list of minibatches."""
    spec = state.experiment.update
    old = state.old_log_probs if keep_old else state.log_probs
    tree = state.tree
    visits = None if tree.length == 1 else tree.visits(old)
    probs = np.exp(tree.sequence_log_probs(old))
    moments = state.experiment.advantage.moments(state.experiment.reward, probs)
    shared = spec.minibatch == "shuffled" and state.experiment.advantage.size > 1
    # A sequence's reward depends on all its tokens: given one token, the moments of its advantage are not those of a table.
    undefined = tree.length > 1 and moments.action_dependent
    minibatches = tuple(
        Minibatch(
            inner_step=e * spec.minibatches + k, epoch=e, index=k, fresh=e == 0 and not (shared and k > 0) and not undefined
        )
        for e in range(spec.epochs)
        for k in range(spec.minibatches)
    )
    new = dataclasses.replace(state, old_log_probs=old, origin=np.arange(len(old)))
    new.entropy_at_rollout = token_entropy(new, visits)
    return new, Rollout(probs, visits, moments, None, minibatches)


def scheme_of(state: State) -> Scheme:
    """The part of the update that does not change within a run."""
    spec, size = state.experiment.update, state.experiment.advantage.size
    pool = spec.batch if spec.minibatch == "groups" else spec.batch * spec.minibatches
    shared = (size - 1) / (pool - 1) if size > 1 else 0.0
    return Scheme(state.objective, spec.geometry, spec.batch, shared)


def update_block(
    state: State, rollout: Rollout, minibatch: Minibatch, sums: Sums, rows: slice | np.ndarray, directive: Directive
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One update of some units from sums per sequence (u, A): new log pi (u, N, V) and columns (u,)."""
    scheme, tree = scheme_of(state), state.tree
    spec = state.experiment.update
    log_probs, old = state.log_probs[rows], state.old_log_probs[rows]
    visits = None if rollout.visits is None else rollout.visits[rows]
    rate: np.ndarray | float = spec.learning_rate
    if spec.geometry == "euclidean" and state.experiment.weights is not None:
        rate = spec.learning_rate * state.context_weight[rows][:, None, None]
    moments = None
    if minibatch.fresh:
        moments = _with_prefix_axis(take_moments(rollout.moments, rows))
    if directive.learning_rate is not None:
        rate = rate * (directive.learning_rate / spec.learning_rate)
    new, columns = account(
        scheme, log_probs, old, Sums(*map(tree.per_token, sums)), moments, learning_rate=rate, visits=visits, keep=directive.keep
    )
    return new, _per_unit(columns, visits, tree.length)


def matched_rate(state: State, rollout: Rollout, target: float, cells: Iterable[slice]) -> float:
    """The learning rate whose expected Var_pi(step), averaged over units, is `target`: it depends on the state alone."""
    spec, total = state.experiment.update, 0.0
    for rows in cells:
        log_probs, old = state.log_probs[rows], state.old_log_probs[rows]
        ratio, old_probs = importance_ratio(log_probs, old), np.exp(old)
        gains = signed_gains(state.objective, ratio, old_probs)
        moments = _with_prefix_axis(take_moments(rollout.moments, rows))
        variance = expected_step_variance(log_probs, ratio, gains, moments, geometry=spec.geometry, batch=spec.batch)
        total += float(np.sum(state.weight[rows] * variance[:, 0]))
    return math.sqrt(target * float(state.weight.sum()) / total)


_EXTREMA = {"ratio_max"}


def _per_unit(columns: dict[str, np.ndarray], visits: np.ndarray | None, length: int) -> dict[str, np.ndarray]:
    """Prefix columns (u, N) as unit columns (u,): means over prefixes with weights d(s)/length, or maxima."""
    if visits is None:
        return {name: value[:, 0] for name, value in columns.items()}
    share = visits / length
    return {
        name: value.max(axis=-1)
        if name in _EXTREMA
        else (value.sum(axis=-1) if name.startswith("clip_count") else np.sum(share * value, axis=-1))
        for name, value in columns.items()
    }
