"""The head engine: shared parameters, as in a model's last layer, under SGD, Adam or AdamW. torch, CPU or CUDA. Claim T13.

    logits = base + h_t W',      T contexts with hidden states h_t (T, d), one head W (V, d) for each replica.

What the tabular engines lack: one context's update moves another's ratios. `update.batch` is the number of samples per context
and rollout (whole groups), and `update.minibatches` the number of random subsets of contexts, each of which makes one update.
Entropy and ledger are per context, on all T of them, before and after every update. Contexts share parameters, so only
replicas are independent, and standard errors run over replicas (pairs with `antithetic`).

Under SGD `expected_` columns hold the theory given the path so far and the contexts of the minibatch (T5, T8); under Adam they
are null, and momentum and weight decay are causes of their own (optimizer.py states the convention).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from entclip.engines.base import Directive, Minibatch
from entclip.engines.free_memory import free_bytes
from entclip.engines.head.facts import BLOCK, HEAD
from entclip.engines.head.gradient import gradient_of
from entclip.engines.head.parameters import parameters_of
from entclip.engines.head.products import Products, blocks
from entclip.engines.head.samples import draw_actions, draw_advantages, draw_uniforms, subsets, survivors
from entclip.engines.head.state import HeadRollout, HeadState, block_of, normalised
from entclip.engines.head.update import BlockSums, block_sums, update
from entclip.engines.minibatches import fresh_minibatches, scheme_of
from entclip.engines.rules import ruled
from entclip.engines.serving import refuse_unfit
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import HiddenSpec
from entclip.ledger.entry import Entry
from entclip.objectives.base import Objective
from entclip.rewards.advantage import AdvantageMoments
from entclip.rewards.reward import TableReward
from entclip.support.errors import SpecError
from entclip.support.means import weighted_mean
from entclip.support.progress import followed

__all__ = ["HeadEngine"]


class HeadEngine:
    """Monte Carlo with shared parameters; cost per update: three products of T x d x V, under Adam one more per cause.

    Args:
        block: elements of a block over replicas x contexts x actions.
        compiled: whether the sums of a block are compiled (default: on a GPU).
        second_order: whether plain steps have `expected_curvature`, which costs up to 14 products of T x n x V with n contexts in
            a minibatch: little beside the others where n is far below d.
    """

    facts = HEAD

    def __init__(
        self,
        device: str = "cpu",
        dtype: str = "float64",
        *,
        block: int | None = None,
        compiled: bool | None = None,
        second_order: bool = True,
    ) -> None:
        kind = device.split(":")[0]
        if kind not in BLOCK:
            raise SpecError(f"device = {device!r}: the head engine runs on cpu or cuda.")
        if kind == "cuda" and not torch.cuda.is_available():
            raise SpecError(f"device = {device!r}: torch {torch.__version__} sees no CUDA device here; use device cpu.")
        self.device, self.dtype = torch.device(device), getattr(torch, dtype)
        self.block = block or BLOCK[kind]
        # On a GPU the sums of a block are bound by memory: compiled they read its three products once.
        compiled = kind == "cuda" if compiled is None else compiled
        self.second_order = second_order
        self.sums_of: BlockSums = torch.compile(block_sums) if compiled else block_sums

    def start(self, experiment: Experiment, objective: Objective) -> HeadState:
        _check(experiment, self.dtype)
        refuse_unfit(self.facts, experiment, objective)
        self.facts.refuse_oversize(experiment, self.device.type, str(self.dtype).removeprefix("torch."), free_bytes(self.device))
        parameters = parameters_of(experiment)
        replicas, contexts = experiment.replicas, len(parameters.hidden)
        if contexts < experiment.update.minibatches:
            raise SpecError(
                f"update.minibatches = {experiment.update.minibatches} subsets of {contexts} contexts: every minibatch needs a "
                "context of its own; use fewer minibatches or more contexts."
            )
        if experiment.weights is not None and len(experiment.weights) != contexts:
            raise SpecError(f"weights has {len(experiment.weights)} entries for {contexts} contexts: give one for each.")
        hidden, head, base = (
            torch.as_tensor(np.asarray(x), dtype=self.dtype, device=self.device)
            for x in (parameters.hidden, parameters.head, parameters.base)
        )
        moved = torch.zeros((replicas, *head.shape), dtype=self.dtype, device=self.device)
        adam = experiment.update.optimizer != "sgd"
        d = np.ones(contexts) if experiment.weights is None else np.asarray(experiment.weights, dtype=np.float64)
        weight = np.tile(d / d.mean(), replicas)
        nothing = torch.zeros((replicas, contexts), dtype=torch.float64, device=self.device)
        policy = experiment.policy
        state = HeadState(
            experiment=ruled(experiment, objective),
            objective=objective,
            context=np.tile(np.arange(contexts), replicas),
            replica=np.repeat(np.arange(replicas), contexts),
            weight=weight / replicas,
            context_weight=weight,
            shared=True,
            hidden=hidden,
            base=base,
            head=head[None],
            moved=moved,
            first=torch.zeros_like(moved) if adam else None,
            second=torch.zeros_like(moved) if adam else None,
            updates=0,
            old_log_z=nothing[:1],
            old_entropy=nothing[:1],
            log_z=nothing,
            entropy=nothing,
            products=Products(isinstance(policy, HiddenSpec) and policy.products == "bfloat16"),
            width=max(1, min(len(base), self.block // (replicas * max(contexts, hidden.shape[1])))),
        )
        return _settled(state)

    def roll_out(self, state: HeadState) -> tuple[HeadState, HeadRollout]:
        experiment, contexts = state.experiment, len(state.hidden)
        if state.updates and bool(torch.any(state.moved != 0)):
            state = _settled(dataclasses.replace(state, head=state.head + state.moved, moved=torch.zeros_like(state.moved)))
        uniforms = self._tensor(draw_uniforms(experiment, state.rollout, contexts), torch.float64)
        actions = draw_actions(uniforms, _old_probs(state))
        advantages = self._tensor(draw_advantages(experiment, state.rollout, contexts), self.dtype)
        rollout = HeadRollout(
            minibatches=fresh_minibatches(experiment),
            actions=actions,
            advantages=advantages,
            subsets=subsets(experiment, state.rollout, contexts),
            # The reward ignores the action, so its moments need no policy.
            moments=experiment.advantage.moments(experiment.reward, np.ones((1, 1))),
        )
        return state, rollout

    def _tensor(self, values: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=self.device)

    def step(self, state: HeadState, rollout: HeadRollout, minibatch: Minibatch, directive: Directive) -> tuple[HeadState, Entry]:
        if minibatch.sums is not None:
            raise SpecError("the head engine takes injected samples (Minibatch.samples), not sums per action.")
        actions, advantages = rollout.actions, rollout.advantages
        if minibatch.samples is not None:
            shape = (*state.log_z.shape, -1)
            actions = self._tensor(minibatch.samples.actions, torch.int64).reshape(shape)
            advantages = self._tensor(minibatch.samples.advantages, self.dtype).reshape(shape)
        subset = rollout.subsets[minibatch.index]
        chosen = self._tensor(subset, torch.int64)
        actions, advantages = actions[:, chosen], advantages[:, chosen]
        if directive.keep is not None:
            key = (state.rollout, minibatch.epoch, minibatch.index)
            advantages = survivors(state.experiment, key, directive.keep, advantages)
        gradient = gradient_of(state, chosen, actions, advantages, directive.keep)
        spec = state.experiment.update
        rate = spec.learning_rate if directive.learning_rate is None else directive.learning_rate
        moments: AdvantageMoments | None = rollout.moments if minibatch.fresh and spec.optimizer == "sgd" else None
        if directive.step_variance is None:
            shared = scheme_of(state).shared_group if self.second_order else None
            new, columns = update(state, gradient, rate, moments, directive.keep, self.sums_of, shared_group=shared)
        else:
            # Every step is proportional to the rate, so one trial step tells the rate. It then depends on the minibatch itself:
            # the expectations are those of no fixed rate.
            _, trial = update(state, gradient, rate, None, directive.keep, self.sums_of)
            size = float(weighted_mean(_unit(trial["step_variance"]), state.weight))
            rate *= math.sqrt(directive.step_variance / size)
            new, columns = update(state, gradient, rate, None, directive.keep, self.sums_of)
        entry = Entry(
            inner_step=minibatch.inner_step,
            rollout=state.rollout,
            columns={name: _unit(value) for name, value in columns.items()},
            weight=state.weight,
            context=state.context,
            replica=state.replica,
            samples=actions.shape[-1] * len(subset) / len(state.hidden),
            fresh=minibatch.fresh,
            drawn=self.facts.drawn,
            precision=state.eps,
        )
        return new, entry

    def observe(self, state: HeadState) -> dict[str, np.ndarray]:
        entropy = _unit(state.entropy)
        return {"entropy": entropy, "sequence_entropy": entropy}

    def pack(self, state: HeadState) -> dict[str, np.ndarray]:
        arrays = {name: getattr(state, name) for name in _TENSORS if getattr(state, name) is not None}
        return {name: x.cpu().numpy() for name, x in arrays.items()} | {"updates": np.array(state.updates)}

    def unpack(self, state: HeadState, arrays: Mapping[str, np.ndarray]) -> HeadState:
        tensors: dict[str, Any] = {name: torch.as_tensor(arrays[name], device=self.device) for name in _TENSORS if name in arrays}
        return dataclasses.replace(state, **tensors, updates=int(arrays["updates"]))


_TENSORS = ("head", "moved", "first", "second", "old_log_z", "old_entropy", "log_z", "entropy")


def _unit(value: Tensor) -> np.ndarray:
    """(R, T) as units (U,)."""
    out: np.ndarray = value.reshape(-1).cpu().numpy()
    return out


def _old_probs(state: HeadState) -> Iterator[tuple[slice, Tensor]]:
    parts = followed(blocks(state.vocab, state.width), "drawing samples")
    return ((rows, block_of(state, rows).old_log_probs.exp()) for rows in parts)


def _settled(state: HeadState) -> HeadState:
    """pi_old := pi, with log Z and entropy computed from the parameters alone."""
    log_z, entropy = normalised(state)
    old = slice(len(state.head))
    return dataclasses.replace(state, log_z=log_z, entropy=entropy, old_log_z=log_z[old], old_entropy=entropy[old])


def _check(experiment: Experiment, dtype: torch.dtype) -> None:
    """SpecError for what shared parameters do not have."""
    u, policy = experiment.update, experiment.policy
    if u.geometry != "euclidean":
        raise SpecError(
            f"update.geometry = {u.geometry!r}: a head moves by the gradient in its parameters; set update.geometry = "
            '"euclidean".'
        )
    if u.minibatch != "groups":
        raise SpecError(
            f"update.minibatch = {u.minibatch!r}: minibatches of the head engine are subsets of contexts with all their samples; "
            'set update.minibatch = "groups".'
        )
    if isinstance(experiment.reward, TableReward):
        raise SpecError(
            'reward.kind = "table": the head engine has rewards that ignore the action (bernoulli, rademacher, gaussian); use '
            "the engine sampled, reduced or tokens."
        )
    if experiment.perturbation is not None:
        raise SpecError("[perturbation] moves every context's logits freely, which shared parameters cannot: leave it out.")
    if isinstance(policy, HiddenSpec) and policy.products == "bfloat16" and dtype != torch.float32:
        raise SpecError('policy.products = "bfloat16" accumulates in float32: run it with dtype float32.')
