"""From the [policy], [perturbation] and weights of an experiment to arrays: where a run starts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import (
    FileSpec,
    NormalLogitsSpec,
    PeakedSpec,
    PerturbationSpec,
    SnapshotSpec,
    UniformSpec,
    ZipfSpec,
)
from entclip.experiments.shape import shape_of
from entclip.policies import laws
from entclip.policies.logits_file import read_logits
from entclip.policies.sequences import PrefixTree
from entclip.policies.softmax import log_softmax
from entclip.rewards.reward import TableReward
from entclip.support.errors import SpecError
from entclip.support.memory import available_bytes, gib
from entclip.support.random import stream

__all__ = ["Start", "single_push", "start_of", "takeover_ratio"]

_COPIES = 4  # of the table of all policies while they are made


@dataclass(frozen=True)
class Start:
    """log pi_old and log pi at the start, (C, N, V); context weights d(s) of mean 1, (C,); the prefix tree."""

    old_log_probs: np.ndarray
    log_probs: np.ndarray
    weights: np.ndarray
    tree: PrefixTree


def _logits(experiment: Experiment) -> tuple[np.ndarray, PrefixTree]:
    spec, seed = experiment.policy, experiment.seed
    if isinstance(spec, SnapshotSpec):
        logits = laws.snapshot(spec.name, spec.contexts).logits
    elif isinstance(spec, FileSpec):
        logits = _from_file(spec)
    elif spec.kind == "dirichlet":
        key = int(stream(seed, "policy").integers(2**63))
        logits = laws.dirichlet(spec.vocab, spec.alpha, key, contexts=spec.contexts, floor=spec.floor).logits
    elif spec.kind == "normal_logits":
        logits = spec.sd * stream(seed, "policy").standard_normal((spec.contexts, spec.vocab))
    elif spec.kind == "autoregressive":
        tree = PrefixTree(spec.vocab, spec.length)
        key = int(stream(seed, "policy").integers(2**63))
        rows = laws.dirichlet(spec.vocab, spec.alpha, key, contexts=spec.contexts * tree.prefixes, floor=spec.floor).logits
        return rows.reshape(spec.contexts, tree.prefixes, spec.vocab), tree
    else:
        if isinstance(spec, ZipfSpec):
            one = laws.zipf(spec.vocab, spec.exponent)
        elif isinstance(spec, PeakedSpec):
            one = laws.peaked(spec.vocab, spec.logit)
        else:
            assert isinstance(spec, UniformSpec)
            one = laws.uniform(spec.vocab)
        logits = np.broadcast_to(one.logits, (spec.contexts, spec.vocab))
    return logits[:, None, :], PrefixTree(logits.shape[-1])


def _from_file(spec: FileSpec) -> np.ndarray:
    logits = read_logits(spec.path)
    if logits.ndim == 1:
        return np.broadcast_to(logits, (spec.contexts or 1, len(logits)))
    if spec.contexts is not None and spec.contexts > len(logits):
        raise SpecError(f"policy.contexts = {spec.contexts} but {spec.path!r} holds {len(logits)}: use at most that many.")
    return logits[: spec.contexts]


def _perturbed(old: np.ndarray, spec: PerturbationSpec, seed: int) -> np.ndarray:
    """log pi from log pi_old, both (C, N, V)."""
    probs = np.exp(old)
    if spec.law == "array":
        assert spec.values is not None
        shift = np.asarray(spec.values)
        if shift.shape != old.shape[-1:] or not np.all(np.isfinite(shift)):
            raise SpecError(
                f"perturbation.values has {shift.size} entries for {old.shape[-1]} actions: give one finite number per action."
            )
        return log_softmax(old + shift)
    power = {"flat": 0.0, "sqrt": 0.5, "inv_sqrt": -0.5}[spec.law]
    x = stream(seed, "perturbation").standard_normal(old.shape) * np.exp(power * old)
    rms = np.sqrt(np.sum(probs * x**2, axis=-1, keepdims=True))
    return log_softmax(old + spec.rms * x / rms)


def _check_size(experiment: Experiment) -> None:
    """Tables that this machine cannot hold are refused with their size, before they are made."""
    spec, shape = experiment.policy, shape_of(experiment)
    size, available = 8.0 * shape.contexts * shape.prefixes * shape.vocab, available_bytes()
    if _COPIES * size > available:
        # Laws that the reduced engine has to list as well are refused here for it, too.
        closed = spec.kind in ("zipf", "uniform", "peaked")
        unlisted = experiment.perturbation is None and (
            closed or (isinstance(spec, NormalLogitsSpec) and spec.vocab > MAX_LISTED)
        )
        instead = ', or the engine "reduced", which does not list them' if unlisted else ""
        rows = f"{shape.contexts:,} contexts" + (f" x {shape.prefixes:,} prefixes" if shape.prefixes > 1 else "")
        raise SpecError(
            f"the policies of {rows} x {shape.vocab:,} actions are a table of {gib(size)} in float64, of which making it takes "
            f"{_COPIES}, but {gib(available)} are free: use fewer contexts or actions{instead}."
        )


def start_of(experiment: Experiment) -> Start:
    """Return the contexts of an experiment, drawn once per seed and shared by its arms."""
    if experiment.policy.kind == "hidden":
        raise SpecError(
            'policy.kind = "hidden" has one head for all contexts, not a table per context: run it on the engine "head", with '
            'update.geometry = "euclidean".'
        )
    if experiment.policy.kind == "recorded":
        raise SpecError(
            'policy.kind = "recorded" is a run of somebody\'s own training loop: entclip ledger and entclip report read it, but '
            "entclip cannot run it."
        )
    if experiment.policy.kind == "language_model":
        raise SpecError('policy.kind = "language_model" is for the llm engine: run it with --engine llm, or use entclip llm.')
    _check_size(experiment)
    logits, tree = _logits(experiment)
    old = log_softmax(np.array(logits, dtype=np.float64))
    contexts = len(old)
    if experiment.weights is not None and len(experiment.weights) != contexts:
        raise SpecError(
            f"weights has {len(experiment.weights)} entries for {contexts} contexts: give one positive weight per context."
        )
    if isinstance(experiment.reward, TableReward) and len(experiment.reward.values) != tree.sequences:
        raise SpecError(
            f"reward.values has {len(experiment.reward.values)} entries for {tree.sequences} actions: give one reward per action."
        )
    d = np.ones(contexts) if experiment.weights is None else np.asarray(experiment.weights, dtype=np.float64)
    current = old if experiment.perturbation is None else _perturbed(old, experiment.perturbation, experiment.seed)
    return Start(old, current, d / d.mean(), tree)


def takeover_ratio(experiment: Experiment) -> float:
    """Return the largest eta/(B pi_a) / log(1/pi_a) over contexts and actions, for a natural step; 0 for a euclidean one.

    From about 1 on, one sample of a rare action can move its logit by as much as it is short of the whole policy: a few contexts
    then collapse and carry the mean (docs/theory.md, heavy tails).
    """
    push, rare = _pushes(experiment)
    return float(np.max(push / -rare))


def single_push(experiment: Experiment) -> float:
    """Return the largest eta/(B pi_a), how far one sample with |A| = 1 moves a logit by a natural step; 0 for a euclidean one.

    From about 1 on, expected curvature is carried by samples so rare that a run may hardly draw them (drift/rare_samples.py).
    """
    return float(np.max(_pushes(experiment)[0]))


def _pushes(experiment: Experiment) -> tuple[np.ndarray, np.ndarray]:
    """eta/(B d pi_a) of the rarest action of each context and prefix, and its log-probability; 0 and -1 for euclidean steps."""
    u = experiment.update
    if u.geometry != "natural":
        return np.zeros(1), -np.ones(1)
    start = start_of(experiment)
    rare = start.old_log_probs.min(axis=-1)
    visits = 1.0 if start.tree.length == 1 else start.tree.visits(start.old_log_probs)
    return u.learning_rate / (u.batch * visits * np.exp(rare)), rare


MAX_LISTED = 10**7  # actions of a law that is drawn or given as a list
