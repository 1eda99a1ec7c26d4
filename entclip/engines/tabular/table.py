"""What the sampled and the exact engine share: starting states, rollouts, and one update of a block of units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from entclip.drift.rare_samples import rare_sample_variance
from entclip.drift.second_order import step_variance_of
from entclip.drift.sequences import SeenSequences
from entclip.drift.weighing import SeenLevels, Weighing, weighing_of
from entclip.engines.accounting import account
from entclip.engines.base import Directive, Minibatch, Rollout, State, refuse_optimizer
from entclip.engines.facts import EngineFacts
from entclip.engines.minibatches import fresh_minibatches, scheme_of, step_weight, take_moments
from entclip.engines.rules import ruled
from entclip.engines.samples import Sums
from entclip.engines.serving import refuse_unfit
from entclip.engines.statistics import pack_statistics, unpack_statistics
from entclip.engines.tabular.token_moments import token_moments, with_prefix_axis
from entclip.experiments.experiment import Experiment
from entclip.experiments.start import start_of
from entclip.ledger.entry import pool_prefixes
from entclip.objectives.base import Keep, Objective, View
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import entropy
from entclip.rewards.advantage import AdvantageMoments
from entclip.rewards.levels import LevelLaw, level_law
from entclip.rewards.reward import expected_reward
from entclip.support.progress import followed

__all__ = [
    "TabularBooks",
    "TabularRollout",
    "TabularState",
    "begin",
    "begin_rollout",
    "matched_rate",
    "rare_variance",
    "statistics_of",
    "survival_of",
    "update_block",
]


@dataclass(kw_only=True)
class TabularState(State):
    """log pi and log pi_old of every unit, (U, N, V) over N prefixes."""

    tree: PrefixTree
    log_probs: np.ndarray
    old_log_probs: np.ndarray
    origin: np.ndarray  # row of each unit in the arrays of its rollout: branches share their parent's
    visits: np.ndarray | None = None  # d(s) of the prefixes under pi_old, (U, N); None for single tokens
    levels: LevelLaw | None = None  # of the rollout's advantages, by `origin`, if the objective goes by their values
    reference: np.ndarray | None = None  # log-probabilities of the start policy, (contexts, N, V), if the objective looks at it

    @property
    def length(self) -> int:
        """Return the number of tokens of a sequence."""
        return self.tree.length


@dataclass(frozen=True, kw_only=True)
class TabularRollout(Rollout):
    """pi_old of whole sequences (U, A), the advantages' moments per unit, and the samples if they are all drawn at once."""

    old_sequence_probs: np.ndarray
    moments: AdvantageMoments
    levels: LevelLaw | None = None
    slots: tuple[np.ndarray, np.ndarray] | None = None
    rare_variance: np.ndarray | None = None  # of the curvature of a natural step from rare samples, at its start, (U,)


def begin(facts: EngineFacts, experiment: Experiment, objective: Objective, replicas: int) -> TabularState:
    """Return the state before the first update: every replica of every context."""
    facts.refuse_oversize(experiment)
    refuse_optimizer(facts, experiment)
    refuse_unfit(facts, experiment, objective)
    start, experiment = start_of(experiment), ruled(experiment, objective)
    contexts = len(start.log_probs)

    def repeat(x: np.ndarray) -> np.ndarray:
        return np.tile(x, (replicas,) + (1,) * (x.ndim - 1))

    d = repeat(start.weights)
    return TabularState(
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
        shared="statistics" in objective.needs,
        reference=start.old_log_probs if "reference" in objective.needs else None,
    )


_TABLES = ("log_probs", "old_log_probs", "weight", "context", "replica", "context_weight")


class TabularBooks:
    """What engines whose state is a table observe and store."""

    def observe(self, state: TabularState) -> dict[str, np.ndarray]:
        """Return entropy per token and of whole sequences of each unit, (U,), nats; tokens over prefixes with weights
        d(s)/length. Also the expected reward where it depends on the action, and of sequences the entropy at each position."""
        value = entropy(state.log_probs)
        whole = state.tree.sequence_log_probs(state.log_probs)
        reward = expected_reward(state.experiment.reward, np.exp(whole))
        known = {} if reward is None else {"policy_reward": reward}
        if state.visits is None:
            return {"entropy": value[:, 0], "sequence_entropy": value[:, 0]} | known
        places = {f"entropy_at_{t + 1}": np.sum((state.visits * value)[:, rows], axis=-1) for t, rows in state.tree.levels()}
        return {
            "entropy": np.sum(state.visits * value, axis=-1) / state.tree.length,
            "sequence_entropy": entropy(whole),
            **places,
            **known,
        }

    def pack(self, state: TabularState) -> dict[str, np.ndarray]:
        """Return the arrays of a state between rollouts."""
        return {name: getattr(state, name) for name in _TABLES} | pack_statistics(state)

    def unpack(self, state: TabularState, arrays: Mapping[str, np.ndarray]) -> TabularState:
        """Restore a state from `pack`, for the arm of `state`."""
        tables: dict[str, Any] = {name: arrays[name] for name in _TABLES}
        new = dataclasses.replace(state, **tables)
        new.origin = np.arange(len(new.weight))
        new.statistics = unpack_statistics(arrays)
        return new


def begin_rollout(state: TabularState, *, keep_old: bool) -> tuple[TabularState, TabularRollout]:
    """Set pi_old := pi (unless a perturbation set it), and return the moments of the advantages under it, and the list of
    minibatches."""
    old = state.old_log_probs if keep_old else state.log_probs
    tree = state.tree
    probs = np.exp(tree.sequence_log_probs(old))
    moments = state.experiment.advantage.moments(state.experiment.reward, probs)
    minibatches = fresh_minibatches(state.experiment)
    visits = None if tree.length == 1 else tree.visits(old)
    levels = None
    if "levels" in state.objective.needs:
        levels = level_law(state.experiment.advantage, state.experiment.reward, probs)
    new = dataclasses.replace(state, old_log_probs=old, origin=np.arange(len(old)), visits=visits, levels=levels)
    return new, TabularRollout(old_sequence_probs=probs, moments=moments, minibatches=minibatches, levels=levels)


def update_block(
    state: TabularState, rollout: TabularRollout, minibatch: Minibatch, sums: Sums, rows: slice | np.ndarray, directive: Directive
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Make one update of some units from sums per sequence (u, A): new log pi (u, N, V) and columns (u,)."""
    scheme, tree = scheme_of(state), state.tree
    spec = state.experiment.update
    log_probs, old = state.log_probs[rows], state.old_log_probs[rows]
    visits = None if state.visits is None else state.visits[rows]
    rate: np.ndarray | float = spec.learning_rate
    if spec.geometry == "euclidean" and state.experiment.weights is not None:
        rate = spec.learning_rate * state.context_weight[rows][:, None, None]
    moments = None
    if minibatch.fresh and state.objective.source != "batch":
        moments = _moments_of(state, rollout, rows)
    if directive.learning_rate is not None:
        rate = rate * (directive.learning_rate / spec.learning_rate)
    new, columns = account(
        scheme,
        log_probs,
        old,
        _seen(state, sums),
        moments,
        learning_rate=rate,
        visits=visits,
        keep=directive.keep,
        statistics=_at(state, rows),
        reference=_reference(state, rows),
        levels=_levels(state, rows),
        sequences=_sequences(state, rows),
        by_sign=True,
    )
    pooled = _per_unit(columns, visits, tree.length)
    if rollout.rare_variance is not None and minibatch.fresh:
        scale = 1.0 if directive.learning_rate is None else directive.learning_rate / spec.learning_rate
        pooled["_rare_variance"] = rollout.rare_variance[rows] * scale**4
    return new, pooled


def _moments_of(state: TabularState, rollout: TabularRollout, rows: slice | np.ndarray) -> AdvantageMoments:
    """Moments of the advantage of some units, given what the objective weighs: a sequence, or a token after its prefix."""
    own = take_moments(rollout.moments, rows)
    if "sequence" in state.objective.needs:
        return with_prefix_axis(own)
    return token_moments(own, state.tree, rollout.old_sequence_probs[rows])


def rare_variance(state: TabularState, rollout: TabularRollout, chunks: Iterable[slice]) -> np.ndarray:
    """Return the variance that rare samples give the curvature of a natural step from the start of a rollout, (U,)."""
    spec, out = state.experiment.update, np.empty(len(state.log_probs))
    for rows in followed(chunks, "how rare samples scatter"):
        log_probs, old = state.log_probs[rows], state.old_log_probs[rows]
        weighing = _weighing(state, rows)
        fourth = weighing.fourth_moment(_moments_of(state, rollout, rows))
        visits = None if state.visits is None else state.visits[rows]
        value = rare_sample_variance(
            log_probs,
            old,
            entropy(log_probs),
            fourth,
            learning_rate=spec.learning_rate,
            batch=spec.batch,
            visits=visits,
        )
        out[rows] = _per_unit({"_rare_variance": value}, visits, state.tree.length)["_rare_variance"]
    return out


def _at(state: TabularState, rows: slice | np.ndarray) -> dict[str, np.ndarray]:
    """The statistics of this update for some units, (u, 1, 1) each."""
    return {name: value[rows, None, None] for name, value in state.statistics.items()}


def _reference(state: TabularState, rows: slice | np.ndarray) -> np.ndarray | None:
    """Log-probabilities of the reference policy for some units, (u, N, V)."""
    return None if state.reference is None else state.reference[state.context[rows]]


def _levels(state: TabularState, rows: slice | np.ndarray) -> SeenLevels | None:
    """The values of the advantage beside the policies (u, 1, V) of some units."""
    if state.levels is None:
        return None
    law = state.levels.take(state.origin[rows])
    return SeenLevels.of(law, (max(len(law.values), len(law.chances)), 1))


def _sequences(state: TabularState, rows: slice | np.ndarray) -> SeenSequences | None:
    """The sequences of some units, for an objective that goes by them."""
    if "sequence" not in state.objective.needs:
        return None
    return SeenSequences(state.tree, state.log_probs[rows], state.old_log_probs[rows])


def _seen(state: TabularState, sums: Sums) -> Sums:
    """Sums per sequence, for an objective that goes by sequences, or else as sums per prefix and token.

    Counts by the value of the advantage, (u, L, A), become (L, u, 1, A).
    """
    tree = state.tree
    if "sequence" in state.objective.needs:
        return sums
    if sums.levels is None:
        return sums.map(tree.per_token)
    return sums._replace(levels=None).map(tree.per_token)._replace(levels=np.moveaxis(sums.levels, 1, 0)[:, :, None])


def _weighing(state: TabularState, rows: slice | np.ndarray) -> Weighing:
    """What the objective makes of the samples of some units."""
    return weighing_of(state.objective, _view(state, rows), None, _levels(state, rows), _sequences(state, rows))


def _view(state: TabularState, rows: slice | np.ndarray) -> View:
    """What the objective sees of some units."""
    needs, numbers = state.objective.needs, _at(state, rows)
    return View.of(state.log_probs[rows], state.old_log_probs[rows], needs, numbers, _reference(state, rows))


def survival_of(state: TabularState, rows: slice | np.ndarray) -> Keep | None:
    """Return the chances that a sample of each action survives the objective's own drop, (u, V) each; None without one.

    They are (L, u, V) where the objective goes by the values of the advantage.
    """
    if "survival" not in state.objective.needs:
        return None
    keep = _weighing(state, rows).change.survival
    return None if keep is None else Keep(keep.plus[..., 0, :], keep.minus[..., 0, :])  # type: ignore[index]


def statistics_of(state: TabularState, sums: Sums | None) -> dict[str, np.ndarray]:
    """Return the objective's statistics of an update for each unit, (U,), made of the policies or of samples.

    sums: the samples of each sequence in each unit; a replica without any takes the policies' expectation of them.
    """
    objective, tree, old = state.objective, state.tree, np.exp(state.old_log_probs)
    replicas = int(state.replica.max()) + 1

    def by_replica(x: np.ndarray) -> np.ndarray:
        """(U, N, V) as (R, S, V), all contexts and prefixes of a replica side by side."""
        return x.reshape(replicas, -1, x.shape[-1])

    weight, levels = state.context_weight[:, None, None], _levels(state, slice(None))
    share = by_replica(old * weight * (1.0 if state.visits is None else state.visits[..., None]))
    view = View.of(by_replica(state.log_probs), by_replica(state.old_log_probs), objective.needs)
    seen = None if sums is None else by_replica(tree.per_token(sums.n_plus + sums.n_minus) * weight)
    if levels is not None:

        def by_level(x: np.ndarray) -> np.ndarray:
            """(L, U or 1, 1, V or 1) as (L, R, S, V or 1)."""
            return np.broadcast_to(x, (len(x), len(old), *x.shape[2:])).reshape(len(x), replicas, -1, x.shape[-1])

        view = dataclasses.replace(view, advantage=by_level(levels.values))
        share = share * by_level(levels.chances)
        if sums is not None and sums.levels is not None:
            seen = by_level(np.moveaxis(sums.levels, 1, 0)[:, :, None] * weight)
    within = tuple(axis for axis in range(share.ndim) if axis != share.ndim - 3)  # a replica's own
    if seen is not None:
        share = np.where(np.sum(seen, axis=within, keepdims=True) > 0, seen, share)
    share = share / np.sum(share, axis=within, keepdims=True)
    return {name: np.repeat(x, len(old) // replicas) for name, x in objective.statistics(view, share).items()}


def matched_rate(state: TabularState, rollout: TabularRollout, target: float, chunks: Iterable[slice]) -> float:
    """Return the learning rate whose expected Var_pi(step), averaged over units, is `target`: it depends on the state alone."""
    scheme, total = scheme_of(state), 0.0
    squares = state.weight * step_weight(state) ** 2
    for chunk in chunks:
        for rows in _single_units(chunk, rollout):
            view, weighing = _view(state, rows), _weighing(state, rows)
            moments = _moments_of(state, rollout, rows)
            visits = None if state.visits is None else state.visits[rows]
            variance = step_variance_of(
                view.log_probs,
                view.ratio,
                weighing.of_a_sample(moments),
                geometry=scheme.geometry,
                batch=scheme.batch,
                shared_group=scheme.shared_group,
                visits=1.0 if visits is None else visits,
            )
            pooled = _per_unit({"step_variance": variance}, visits, state.tree.length)["step_variance"]
            total += float(np.sum(squares[rows] * pooled))
    return math.sqrt(target * float(state.weight.sum()) / total)


def _single_units(chunk: slice, rollout: TabularRollout) -> Iterable[slice]:
    """The units of a chunk at once, or one by one: with groups a sequence's levels make a table for each prefix and token."""
    if rollout.moments.pair is None or not rollout.moments.action_dependent:
        return (chunk,)
    return (slice(u, u + 1) for u in range(chunk.start, chunk.stop))


def _per_unit(columns: dict[str, np.ndarray], visits: np.ndarray | None, length: int) -> dict[str, np.ndarray]:
    """Prefix columns (u, N) as unit columns (u,)."""
    if visits is None:
        return {name: value[:, 0] for name, value in columns.items()}
    return pool_prefixes(columns, visits / length)
