"""What the reduced engine asks of all its chunks at once: statistics of an objective, and theory that sets rates and limits."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from entclip.engines.accounting import Scheme
from entclip.engines.minibatches import step_weight, take_moments
from entclip.engines.reduced.chunk import Chunk
from entclip.engines.reduced.expected import rare_variance, step_variance
from entclip.engines.reduced.sight import statistics_of
from entclip.engines.reduced.state import ReducedRollout, ReducedState, places, sight_of
from entclip.engines.reduced.update import Draw, policies_of
from entclip.support.errors import SpecError
from entclip.support.progress import followed

__all__ = ["matched_rate", "rare_variances", "statistics"]


def statistics(state: ReducedState, chunks: Sequence[Chunk], draws: Sequence[Draw] | None = None) -> dict[str, np.ndarray]:
    """Return the objective's statistics of an update, from the policies or from its samples."""
    counted = None if draws is None else [(draw.at, draw.n_plus + draw.n_minus) for draw in draws]
    return statistics_of(state.objective, chunks, state.context_weight, int(state.replica.max()) + 1, counted)


def rare_variances(state: ReducedState, rollout: ReducedRollout) -> np.ndarray:
    """Return the variance that rare samples give the curvature of a natural step from the start of a rollout, (U,)."""
    spec, parts, sight = state.experiment.update, [], sight_of(state, rollout)
    for (rows, _, _), chunk in followed(zip(places(state), state.chunks, strict=True), "how rare samples scatter"):
        moments = take_moments(rollout.moments, rows)
        seen = sight.of(rows).beside(state.objective, chunk, state.population)
        value = rare_variance(
            policies_of(chunk), state.objective, moments, seen, learning_rate=spec.learning_rate, batch=spec.batch
        )
        parts.append(value)
    return np.concatenate(parts)


def matched_rate(state: ReducedState, rollout: ReducedRollout, scheme: Scheme, target: float) -> float:
    """Return the learning rate whose expected Var_pi(step), averaged over units, is `target`: it depends on the state alone."""
    spec, total = state.experiment.update, 0.0
    squares = state.weight * step_weight(state) ** 2
    if spec.optimizer != "sgd":
        raise SpecError(f"match_kl sets a learning rate from plain steps, but update.optimizer = {spec.optimizer!r}: use sgd.")
    sight = sight_of(state, rollout)
    for (rows, _, _), chunk in zip(places(state), state.chunks, strict=True):
        moments = take_moments(rollout.moments, rows)
        seen = sight.of(rows).beside(state.objective, chunk, state.population)
        variance = step_variance(policies_of(chunk), moments, scheme, seen)
        total += float(np.sum(squares[rows] * variance))
    return math.sqrt(target * float(state.weight.sum()) / total)
