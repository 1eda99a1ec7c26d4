"""The reduced engine: exact simulation of tabular policies whose cost does not grow with the vocabulary.

Sampled actions are tracked one by one; all others follow one smooth flow of their initial log-probability, which a few nodes
carry exactly to rounding (entclip/reduced/). Units are replica x context, in chunks of a fixed number of units: a chunk bounds
memory and is the unit of the random streams. Antithetic replicas are the second half of the units.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from threading import Lock

import numpy as np

from entclip.engines.base import Directive, Minibatch
from entclip.engines.minibatches import entry_of, fresh_minibatches, scheme_of, take_moments
from entclip.engines.reduced.basis import basis_of
from entclip.engines.reduced.chunk import Chunk, Population, begin_chunk, track
from entclip.engines.reduced.facts import REDUCED, TRACKED, WHOLE
from entclip.engines.reduced.initial_laws import Buckets, Laws, laws_of
from entclip.engines.reduced.kernels import KernelName, kernels_named
from entclip.engines.reduced.minibatch import samples_of, shuffled, survivors
from entclip.engines.reduced.overall import matched_rate, rare_variances, statistics
from entclip.engines.reduced.refine import finer, refined, unresolved
from entclip.engines.reduced.sampling import sampler_of
from entclip.engines.reduced.searches import IdTable
from entclip.engines.reduced.sight import entropies
from entclip.engines.reduced.state import ReducedRollout, ReducedState, places, sight_of
from entclip.engines.reduced.steps import Optimizer
from entclip.engines.reduced.update import Draw, update_chunk
from entclip.engines.rules import ruled
from entclip.engines.serving import refuse_unfit
from entclip.engines.statistics import after_update, before_update, pack_statistics, unpack_statistics
from entclip.experiments.experiment import Experiment
from entclip.experiments.start import start_of
from entclip.ledger.entry import Entry
from entclip.objectives.base import Objective
from entclip.rewards.reward import Gaussian, TableReward
from entclip.support.errors import SpecError
from entclip.support.progress import followed

__all__ = ["ReducedEngine", "ReducedRollout", "ReducedState"]

NODES = 20  # per panel of 2 nats
NATURAL_NODES = 8  # unsampled logits do not move: every sum is that of a cubic in u
MAX_WHOLE = 65_536  # where the reward or a perturbation names each action
MAX_NODES = 80  # a panel: more are no better than rounding
_REFINE, _WARN, _FAIL = 1e-13, 1e-10, 1e-6  # nats of entropy


class ReducedEngine:
    """Monte Carlo with standard errors over units; cost per update: units x (nodes + tracked actions), whatever V.

    Args:
        nodes: of the flow of unsampled actions, for each panel of 2 nats of log-probability.
        tracked: how many of the most probable actions are tracked from the start.
        whole: vocabularies up to this size are tracked entirely.
        kernels: "numpy", or "numba" (compiled, several times as fast); None takes numba's where it is installed.
    Raises: SpecError if the kernels cannot be had.
    """

    facts = REDUCED

    def __init__(self, nodes: int = NODES, tracked: int = TRACKED, whole: int = WHOLE, kernels: KernelName | None = None) -> None:
        if nodes < 8:
            raise SpecError(f"nodes = {nodes}: at least 8 are needed on a panel, 20 are the default.")
        self._nodes, self._tracked, self._whole, self._kernels = nodes, tracked, whole, kernels_named(kernels)
        self.kernels = self._kernels.name
        self._lock = Lock()
        self._last: tuple[str, tuple[Population, np.ndarray, Buckets] | None] = ("", None)

    def start(self, experiment: Experiment, objective: Objective) -> ReducedState:
        if experiment.policy.kind == "autoregressive":
            raise SpecError("the reduced engine has single tokens only: use the sampled engine for autoregressive policies.")
        refuse_unfit(self.facts, experiment, objective)
        self.facts.refuse_oversize(experiment)
        population, context_law, buckets = self._prepared(experiment, smooth=_smooth(experiment, objective))
        contexts, replicas = len(context_law), experiment.replicas
        given = np.ones(contexts) if experiment.weights is None else np.asarray(experiment.weights, dtype=np.float64)
        if len(given) != contexts:
            raise SpecError(f"weights has {len(given)} entries for {contexts} contexts: give one positive weight per context.")
        d, law = np.tile(given / given.mean(), replicas), np.tile(context_law, replicas)
        adam = experiment.update.optimizer != "sgd"
        state = ReducedState(
            experiment=ruled(experiment, objective),
            objective=objective,
            context=np.tile(np.arange(contexts), replicas),
            replica=np.repeat(np.arange(replicas), contexts),
            weight=d / replicas,
            context_weight=d,
            population=population,
            buckets=buckets,
            chunks=(),
            shared="statistics" in objective.needs,
        )
        state.chunks = tuple(begin_chunk(population, law[rows], adam=adam) for rows, _, _ in places(state))
        return _perturbed(state) if experiment.perturbation is not None else state

    def _prepared(self, experiment: Experiment, *, smooth: bool) -> tuple[Population, np.ndarray, Buckets]:
        """Laws and nodes, the law of each context and the sampler's buckets: the arms of a case share them."""
        case = (experiment.policy, experiment.seed, experiment.update.geometry, experiment.reward, experiment.perturbation)
        key = repr((*case, smooth))
        with self._lock:
            if self._last[1] is None or self._last[0] != key:
                laws, context_law = laws_of(experiment)
                population = self._population(experiment, laws, smooth)
                buckets = laws.buckets(population.first) if population.nodes else Buckets(*np.zeros((3, 1, 1)))
                self._last = (key, (population, context_law, buckets))
            assert self._last[1] is not None
            return self._last[1]

    def _population(self, experiment: Experiment, laws: Laws, smooth: bool) -> Population:
        named = isinstance(experiment.reward, TableReward) or experiment.perturbation is not None
        if named and laws.vocab > MAX_WHOLE:
            raise SpecError(
                f"a table of rewards or a perturbation tells every action apart: all {laws.vocab:,} would be tracked, over the "
                f"limit of {MAX_WHOLE:,}: use fewer actions, or the engine tokens."
            )
        if isinstance(experiment.reward, TableReward) and len(experiment.reward.values) != laws.vocab:
            raise SpecError(
                f"reward.values has {len(experiment.reward.values)} entries for {laws.vocab} actions: give one reward per action."
            )
        first = laws.vocab if named or laws.vocab <= self._whole else min(self._tracked, laws.vocab)
        per_panel = self._nodes if smooth else NATURAL_NODES
        return Population(laws, basis_of(laws, first, per_panel, moving=smooth), first, self._kernels)

    def roll_out(self, state: ReducedState) -> tuple[ReducedState, ReducedRollout]:
        experiment = state.experiment
        if experiment.perturbation is None:
            # Probabilities anew from log pi: a resumed run has nothing else.
            state = dataclasses.replace(state, chunks=tuple(c.at(c.log_probs, c.log_probs) for c in state.chunks))
        samplers = tuple(sampler_of(chunk, state.population, state.buckets) for chunk in state.chunks)
        old = np.full((1, 2), 0.5)  # a reward that ignores the action does not look at it
        mean: np.ndarray | float
        if isinstance(experiment.reward, TableReward):
            old = np.concatenate([np.exp(c.old_log_probs) for c in state.chunks])
            mean = (old @ np.asarray(experiment.reward.values))[:, None]
        elif isinstance(experiment.reward, Gaussian):
            mean = experiment.reward.mean
        else:
            mean = float(experiment.reward.level_probs[0] @ experiment.reward.levels)
        moments = experiment.advantage.moments(experiment.reward, old)
        looks = "entropy" in state.objective.needs
        rollout = ReducedRollout(
            minibatches=fresh_minibatches(experiment),
            samplers=samplers,
            moments=moments,
            mean=mean,
            old_entropy=np.concatenate([entropies(chunk, old=True) for chunk in state.chunks]) if looks else None,
        )
        if experiment.update.minibatch == "shuffled":
            rollout = dataclasses.replace(rollout, slots=shuffled(state, rollout))
        if experiment.update.geometry == "natural" and state.objective.source != "batch":
            started = before_update(state, lambda _: statistics(state, state.chunks))
            rollout = dataclasses.replace(rollout, rare_variance=rare_variances(started, rollout))
        return state, rollout

    def step(
        self, state: ReducedState, rollout: ReducedRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[ReducedState, Entry]:
        new, entry = self._step(state, rollout, minibatch, directive)
        while (worst := _unresolved(new)) > _REFINE and 2 * state.population.basis.per_panel <= MAX_NODES:
            # What a step has lost between the nodes is lost: the same step again, from more of them.
            state = _with_population(state, finer(state.population))
            new, entry = self._step(state, rollout, minibatch, directive)
        if worst > _WARN:
            _report(new, worst)
        return new, entry

    def _step(
        self, state: ReducedState, rollout: ReducedRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[ReducedState, Entry]:
        experiment, scheme = state.experiment, scheme_of(state)
        spec = experiment.update
        optimizer = Optimizer(spec, spec.geometry, state.taken)
        chunks_at = places(state)
        grown_chunks: list[Chunk] = []
        draws: list[Draw] = []
        drawn: list[tuple[np.ndarray, np.ndarray]] = []  # points and advantages of the samples of each chunk
        places_of = zip(chunks_at, state.chunks, rollout.samplers, strict=True)
        for (rows, key, mirror), chunk, sampler in followed(places_of, "drawing samples"):
            samples = samples_of(state, rollout, minibatch, sampler, rows, key, mirror, directive.keep)
            grown, at = track(chunk, state.population, samples.actions, scaled=_scaled(experiment))
            grown_chunks.append(grown)
            drawn.append((at, samples.advantages))
            draws.append(Draw.of(at, samples.advantages, state.population.kernels))

        def made(samples: bool) -> dict[str, np.ndarray]:
            return statistics(state, grown_chunks, draws if samples else None)

        state = before_update(state, made)
        rate = np.full(len(state.weight), spec.learning_rate if directive.learning_rate is None else directive.learning_rate)
        if directive.step_variance is not None:
            rate *= matched_rate(state, rollout, scheme, directive.step_variance) / spec.learning_rate
        if spec.geometry == "euclidean":
            rate *= state.context_weight
        sight = sight_of(state, rollout)
        expected = minibatch.fresh and spec.optimizer == "sgd" and state.objective.source != "batch"
        chunks: list[Chunk] = []
        columns: dict[str, np.ndarray] = {}
        parts = enumerate(zip(chunks_at, grown_chunks, draws, strict=True))
        for index, ((rows, key, _), grown, draw) in followed(parts, "an update", part=True):
            seen = sight.of(rows).beside(state.objective, grown, state.population)
            if "survival" in state.objective.needs:
                left = survivors(state, minibatch, grown, seen, key, *drawn[index])
                draw = Draw.of(drawn[index][0], left, state.population.kernels)
            moments = take_moments(rollout.moments, rows) if expected else None
            new, part = update_chunk(
                grown, state.population, scheme, optimizer, draw, moments, rate=rate[rows], keep=directive.keep, sight=seen
            )
            chunks.append(new)
            for name, value in part.items():
                columns.setdefault(name, np.empty(len(rate)))[rows] = value
        if rollout.rare_variance is not None and minibatch.fresh:
            columns["_rare_variance"] = rollout.rare_variance * (rate / spec.learning_rate) ** 4
        entry = entry_of(state, minibatch, columns, drawn=self.facts.drawn)
        return dataclasses.replace(after_update(state, made), chunks=tuple(chunks), taken=state.taken + 1), entry

    def observe(self, state: ReducedState) -> dict[str, np.ndarray]:
        value = np.concatenate([entropies(chunk) for chunk in state.chunks])
        return {"entropy": value, "sequence_entropy": value}

    def pack(self, state: ReducedState) -> dict[str, np.ndarray]:
        out = {"taken": np.array(state.taken), "per_panel": np.array(state.population.basis.per_panel)} | pack_statistics(state)
        for k, chunk in enumerate(state.chunks):
            out |= {f"{name}_{k}": getattr(chunk, name) for name in _STORED}
            if chunk.averages is not None:
                out |= {f"m_{k}": chunk.averages[0], f"v_{k}": chunk.averages[1]}
        return out

    def unpack(self, state: ReducedState, arrays: Mapping[str, np.ndarray]) -> ReducedState:
        while state.population.basis.per_panel < int(arrays["per_panel"]):  # doublings
            state = _with_population(state, finer(state.population))
        chunks = []
        for k, chunk in enumerate(state.chunks):
            stored = {name: arrays[f"{name}_{k}"] for name in _STORED}
            averages = None if chunk.averages is None else (arrays[f"m_{k}"], arrays[f"v_{k}"])
            table = IdTable.of(stored["ids"], stored["count"])
            restored = dataclasses.replace(chunk, **stored, averages=averages, table=table)
            chunks.append(restored.at(restored.log_probs, restored.log_probs))
        kept = unpack_statistics(arrays)
        return dataclasses.replace(state, chunks=tuple(chunks), taken=int(arrays["taken"]), statistics=kept)


_STORED = ("ids", "count", "log_probs", "weight", "number", "shift")


def _smooth(experiment: Experiment, objective: Objective) -> bool:
    """Whether sums over unsampled actions are of other functions of log pi than a cubic on each piece of the objective.

    They are where unsampled logits move, and where a gain varies with the action's own probability.
    """
    moving = experiment.update.geometry == "euclidean" or "bonus" in objective.needs
    return moving or not (objective.by_ratio or objective.hard)


def _perturbed(state: ReducedState) -> ReducedState:
    """pi apart from pi_old, as the experiment says; all actions are tracked, in the order of their ids."""
    start = start_of(state.experiment)
    chunks = []
    for (rows, _, _), chunk in zip(places(state), state.chunks, strict=True):
        context = state.context[rows]
        chunks.append(chunk.at(start.log_probs[context, 0], start.old_log_probs[context, 0]))
    return dataclasses.replace(state, chunks=tuple(chunks))


def _unresolved(state: ReducedState) -> float:
    return max(unresolved(chunk, state.population.basis) for chunk in state.chunks)


def _report(state: ReducedState, worst: float) -> None:
    """A warning, or an error where there is no result left, when there are no more nodes to give."""
    nodes = state.population.basis.per_panel
    advice = (
        f"the flow of unsampled actions needs more than {nodes} nodes a panel: entropies may be off by {worst:.2g} nats in "
        f"rollout {state.rollout}. Use a smaller learning rate, or from Python ReducedEngine(tracked=...) with more actions."
    )
    if not worst <= _FAIL:
        raise SpecError(advice)
    warnings.warn(advice, stacklevel=3)


def _with_population(state: ReducedState, population: Population) -> ReducedState:
    chunks = tuple(refined(chunk, state.population, population, scaled=_scaled(state.experiment)) for chunk in state.chunks)
    return dataclasses.replace(state, population=population, chunks=chunks)


def _scaled(experiment: Experiment) -> bool:
    """Whether Adam's averages are proportional to pi along the flow: not where decay is part of the gradient."""
    return not (experiment.update.optimizer == "adam" and experiment.update.weight_decay > 0)
