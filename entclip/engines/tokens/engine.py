"""The tokens engine: dense tabular policies of contexts x vocabulary in torch, on CPU and CUDA, in float32 and float64.

Units are replica x context, one row of logits each. A run holds the logits, one copy of them (pi_old) and blocks of rows; Adam
adds m and v. Tables are updated in place: `step` consumes the state that it is given, and returns one with the same tables.

Plain steps are accounted in one of two ways, which tests hold to each other:
    eager               accounting.account on blocks of rows in float64, whatever the tables' dtype (default on CPU)
    reference, fused    a pass of `kernels` and columns.py (default on CUDA: fused, or reference without triton)
Rewards that depend on the action, and random drops, are always accounted eagerly; Adam always goes through a kernel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch

from entclip.drift.adam import Adam
from entclip.engines.accounting import RunawayError, account
from entclip.engines.base import Directive, Minibatch
from entclip.engines.free_memory import free_bytes
from entclip.engines.minibatches import entry_of, fresh_minibatches, scheme_of, take_moments
from entclip.engines.rules import ruled
from entclip.engines.samples import Sums
from entclip.engines.serving import refuse_unfit
from entclip.engines.tokens import columns as tokens_books
from entclip.engines.tokens.draws import Draws
from entclip.engines.tokens.expected import matched_rate, moments_of, rare_variance
from entclip.engines.tokens.facts import TOKENS
from entclip.engines.tokens.kernels import reference
from entclip.engines.tokens.kernels.passes import Comparison, Norm, Tensor, distinct
from entclip.engines.tokens.kernels.reference import row_blocks
from entclip.engines.tokens.start import check_device, initial_tables, refuse_sequences
from entclip.engines.tokens.state import TokensRollout, TokensState, log_probs_of
from entclip.experiments.experiment import Experiment
from entclip.ledger.entry import Entry
from entclip.objectives.base import Keep, Objective
from entclip.policies.softmax import entropy, log_softmax
from entclip.rewards.advantage import AdvantageMoments
from entclip.support.errors import SpecError
from entclip.support.extras import install
from entclip.support.progress import followed

__all__ = ["TokensEngine"]

Kernels = Literal["eager", "reference", "fused"]
_RESET = 1e-12  # rounding that sparse steps may add to log Z and H before a full pass measures them again
_SETTLED_ROWS = 16  # copied at a time


class TokensEngine:
    """Monte Carlo over a dense vocabulary; cost per update: one read and one write of the logits, and of pi_old one read.

    Args:
        device, dtype: "cpu" or "cuda"; "float64" or "float32" for the tables. Sums are float64.
        kernels: how updates are made and accounted (see above); None chooses by device.
    Raises: SpecError if the device or the kernels are not there, or the dtype is another.
    """

    facts = TOKENS

    def __init__(self, device: str = "cpu", dtype: str = "float64", kernels: Kernels | None = None) -> None:
        self.device = check_device(device)
        if dtype not in self.facts.dtypes:
            raise SpecError(f"dtype = {dtype!r}: the tables of the tokens engine are {' or '.join(self.facts.dtypes)}.")
        self.dtype = getattr(torch, dtype)
        ours: Kernels = "eager" if device == "cpu" else "reference" if _fused() is None else "fused"
        self.kernels: Kernels = kernels or ours
        module = _fused() if self.kernels == "fused" else reference
        if module is None:
            raise SpecError(f"kernels = 'fused' needs triton: {install('triton')} (Linux), or use kernels = 'reference'.")
        self._kernel: Any = module
        self._fixed = kernels is not None

    def start(self, experiment: Experiment, objective: Objective) -> TokensState:
        refuse_unfit(self.facts, experiment, objective)
        refuse_sequences(experiment)
        self.facts.refuse_oversize(experiment, self.device.type, str(self.dtype).removeprefix("torch."), free_bytes(self.device))
        kernel = self._kernel_for(objective)
        logits, old, d = initial_tables(experiment, self.device, self.dtype)
        contexts = len(d)
        context = np.tile(np.arange(contexts), experiment.replicas)
        state = TokensState(
            experiment=ruled(experiment, objective),
            objective=objective,
            context=context,
            replica=np.repeat(np.arange(experiment.replicas), contexts),
            weight=d[context] / experiment.replicas,
            context_weight=d[context],
            logits=logits,
            norm=reference.measure(logits),
            kernel=kernel,
        )
        if old is not None:
            measured = reference.measure(old)
            state.old_logits, state.old_log_z, state.old_entropy = old, measured.log_z, measured.entropy
        if experiment.update.optimizer != "sgd":
            state.averages = (torch.zeros_like(logits), torch.zeros_like(logits))
        return state

    def _kernel_for(self, objective: Objective) -> Any:
        """The engine's kernels; the reference where they were not asked for by name and do not hold the objective."""
        if self._kernel is reference or self._kernel.knows(objective):
            return self._kernel
        if self._fixed:
            raise SpecError(
                f"kernels = 'fused' does not hold the objective {objective.kind!r}: leave kernels out, or use 'reference'."
            )
        return reference

    def roll_out(self, state: TokensState) -> tuple[TokensState, TokensRollout]:
        experiment = state.experiment
        if experiment.perturbation is None:
            old = torch.empty_like(state.logits) if state.old_logits is None else state.old_logits
            old.copy_(state.logits)
            now = state.norm
            state = dataclasses.replace(state, old_logits=old, old_log_z=now.log_z.clone(), old_entropy=now.entropy.clone())
        draws = Draws(experiment, state.rollout, state.old_logits, state.old_log_z)
        rollout = TokensRollout(minibatches=fresh_minibatches(experiment), draws=draws, moments=moments_of(state))
        if experiment.update.geometry == "natural":
            rollout = dataclasses.replace(rollout, rare_variance=rare_variance(state, rollout))
        return state, rollout

    def step(
        self, state: TokensState, rollout: TokensRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[TokensState, Entry]:
        spec = state.experiment.update
        actions, advantages = self._samples(state, rollout, minibatch, directive)
        adam = state.averages is not None
        if adam and directive.step_variance is not None:
            raise SpecError("a match_kl control scales the gradient, which Adam undoes: use optimizer sgd for it.")
        rate = self._rate(state, rollout, directive)
        if adam:
            state, columns = self._adam(state, actions, advantages, rate, directive.keep)
        elif self.kernels == "eager" or directive.keep is not None or rollout.moments.action_dependent:
            state, columns = self._eager(state, rollout, minibatch, actions, advantages, rate, directive.keep)
        else:
            state, columns = self._plain(state, rollout, minibatch, actions, advantages, rate)
        if rollout.rare_variance is not None and minibatch.fresh:
            columns["_rare_variance"] = rollout.rare_variance * (rate / spec.learning_rate) ** 4
        values = torch.stack(list(columns.values())).cpu().numpy()
        named = dict(zip(columns, values, strict=True))
        _check_finite(named)
        entry = entry_of(state, minibatch, named, drawn=self.facts.drawn)
        exact = self.kernels == "eager" and not adam
        eps = torch.finfo(torch.float64 if exact else self.dtype).eps
        return state, dataclasses.replace(entry, precision=float(eps))

    def observe(self, state: TokensState) -> dict[str, np.ndarray]:
        value = state.norm.entropy.cpu().numpy()
        return {"entropy": value, "sequence_entropy": value}

    def pack(self, state: TokensState) -> dict[str, np.ndarray]:
        tables = {"logits": state.logits, **{f"norm_{k}": v for k, v in state.norm._asdict().items()}}
        if state.averages is not None:
            tables |= {"m": state.averages[0], "v": state.averages[1]}
        return {name: t.cpu().numpy() for name, t in tables.items()} | {"updates": np.array(state.updates)}

    def unpack(self, state: TokensState, arrays: Mapping[str, np.ndarray]) -> TokensState:
        def table(name: str) -> Tensor:
            return torch.tensor(arrays[name], device=self.device)

        averages = None if state.averages is None else (table("m"), table("v"))
        norm = Norm(*(table(f"norm_{k}") for k in Norm._fields))
        return dataclasses.replace(state, logits=table("logits"), norm=norm, averages=averages, updates=int(arrays["updates"]))

    def _samples(
        self, state: TokensState, rollout: TokensRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[Tensor, Tensor]:
        if minibatch.sums is not None:
            raise SpecError("the tokens engine takes injected samples, not sums per action: use Minibatch.samples.")
        if minibatch.samples is None:
            return rollout.draws.take(minibatch.index, directive.keep)
        actions, advantages = (np.array(x) for x in minibatch.samples)  # torch takes no read-only arrays
        return torch.as_tensor(actions, device=self.device), torch.as_tensor(advantages, dtype=torch.float64, device=self.device)

    def _rate(self, state: TokensState, rollout: TokensRollout, directive: Directive) -> Tensor:
        """eta, or eta d(s) for euclidean steps of weighted contexts, (U,)."""
        spec = state.experiment.update
        eta = spec.learning_rate if directive.learning_rate is None else directive.learning_rate
        if directive.step_variance is not None:
            eta = matched_rate(state, rollout, directive.step_variance)
        rate = torch.full_like(state.norm.log_z, eta)
        if spec.geometry == "euclidean" and state.experiment.weights is not None:
            rate = rate * torch.as_tensor(state.context_weight, device=self.device)
        return rate

    def _eager(
        self,
        state: TokensState,
        rollout: TokensRollout,
        minibatch: Minibatch,
        actions: Tensor,
        advantages: Tensor,
        rate: Tensor,
        keep: Keep | None,
    ) -> tuple[TokensState, dict[str, Tensor]]:
        """accounting.account on blocks of rows."""
        scheme, logits = scheme_of(state), state.logits
        log_z = torch.empty_like(state.norm.log_z)
        whole: dict[str, Tensor] = {}
        for rows in followed(row_blocks(logits), "an update", part=True):
            log_probs, old = log_probs_of(state, rows)
            sums = _dense_sums(actions[rows], advantages[rows], log_probs)
            moments = take_moments(rollout.moments, rows) if minibatch.fresh else None
            new, columns = account(scheme, log_probs, old, sums, moments, learning_rate=rate[rows, None], keep=keep)
            logits[rows] = new.to(self.dtype)
            log_z[rows] = 0.0
            if self.dtype != torch.float64:
                stored = logits[rows].double()
                exact = log_softmax(stored)
                log_z[rows] = (stored - exact)[:, 0]
                # What storing rounded away is part of the step that was made, and of no cause: it is in the remainder.
                rounded = entropy(exact) - columns["entropy"]
                for name, change in (
                    ("entropy", rounded),
                    ("measured", rounded),
                    ("remainder", rounded),
                    ("_bound", rounded.abs()),
                ):
                    columns[name] = columns[name] + change
            # Written at once: small results kept between large temporaries would break up the heap.
            for name, value in columns.items():
                whole.setdefault(name, torch.empty_like(log_z))[rows] = value
        norm = Norm(log_z, whole["entropy"], torch.zeros_like(log_z))
        return dataclasses.replace(state, norm=norm), whole

    def _taken(self, state: TokensState, actions: Tensor, advantages: Tensor, keep: Keep | None) -> tokens_books.Taken:
        log_probs = state.logits.gather(1, actions).double() - state.norm.log_z[:, None]
        old = state.old_logits.gather(1, actions).double() - state.old_log_z[:, None]  # type: ignore[union-attr, index]
        return tokens_books.take(state.objective, log_probs, old, advantages, keep, (state.norm.entropy, state.old_entropy))

    def _view(self, state: TokensState, moments: AdvantageMoments | None) -> Comparison:
        numbers = None
        if moments is not None:
            numbers = tuple(float(getattr(moments, n)[0]) for n in ("plus", "minus", "plus_sq", "minus_sq"))
        geometry = state.experiment.update.geometry
        return Comparison(state.old_logits, state.old_log_z, state.objective, geometry, numbers, state.old_entropy)  # type: ignore[arg-type]

    def _plain(
        self, state: TokensState, rollout: TokensRollout, minibatch: Minibatch, actions: Tensor, advantages: Tensor, rate: Tensor
    ) -> tuple[TokensState, dict[str, Tensor]]:
        """One pass of a kernel, and columns from its sums."""
        scheme, kernel = scheme_of(state), state.kernel
        taken = self._taken(state, actions, advantages, None)
        moments = rollout.moments if minibatch.fresh else None
        view, before = self._view(state, moments), state.norm
        if scheme.geometry == "natural":
            push, pull = taken.total / torch.exp(taken.old_log_probs), torch.zeros_like(rate)
        else:
            push = taken.ratio * taken.total
            pull = -rate * push.sum(-1)
        slots = distinct(actions, rate[:, None] * push)
        slot_log_probs = state.logits.gather(1, slots.actions).double() - before.log_z[:, None]
        if scheme.geometry == "natural":
            sums = kernel.look(state.logits, before, view)
            after = kernel.sparse_step(state.logits, before, slots)
        else:
            after, sums = kernel.euclidean_step(state.logits, before, slots, pull, view)
        after = self._settled(state, after)
        columns = tokens_books.plain_columns(
            scheme,
            before,
            after,
            sums,
            taken,
            slots,
            slot_log_probs,
            pull,
            rate,
            state.logits.shape[1],
            float(torch.finfo(self.dtype).eps),
            moments,
        )
        return dataclasses.replace(state, norm=after), columns

    def _settled(self, state: TokensState, norm: Norm) -> Norm:
        """The norm, measured again where sparse steps may have left more than a little rounding in it."""
        own = 0.0 if state.kernel is reference else 4 * torch.finfo(self.dtype).eps * (1 + norm.entropy.nan_to_num(0, 0, 0))
        doubtful = torch.nonzero(~(norm.error <= _RESET + own)).flatten()
        for start in range(0, len(doubtful), _SETTLED_ROWS):
            rows = doubtful[start : start + _SETTLED_ROWS]
            norm = Norm(
                *(old.index_copy(0, rows, new) for old, new in zip(norm, reference.measure(state.logits[rows]), strict=True))
            )
        return norm

    def _adam(
        self, state: TokensState, actions: Tensor, advantages: Tensor, rate: Tensor, keep: Keep | None
    ) -> tuple[TokensState, dict[str, Tensor]]:
        """One update of Adam or AdamW. d(s) is part of the gradient; the pull below rounding is 0, as Adam would magnify it."""
        spec = state.experiment.update
        taken = self._taken(state, actions, advantages, keep)
        scale = rate / spec.learning_rate
        push = scale[:, None] * taken.ratio * taken.total
        total = push.sum(-1)
        pull = torch.where(total.abs() <= 8 * torch.finfo(torch.float64).eps * push.abs().sum(-1), 0.0, -total)
        slots = distinct(actions, push)
        adam = Adam(
            torch.full_like(rate, spec.learning_rate),
            *spec.betas,
            spec.eps,
            spec.weight_decay,
            spec.optimizer == "adam",
            state.updates + 1,
        )
        assert state.averages is not None
        view = self._view(state, None)
        after, sums, prices = state.kernel.adam_step(state.logits, *state.averages, state.norm, slots, pull, adam, view)
        columns = tokens_books.adam_columns(
            scheme_of(state),
            state.norm,
            after,
            sums,
            taken,
            slots,
            prices,
            pull,
            scale,
            spec.weight_decay > 0,
            state.logits.shape[1],
            float(torch.finfo(self.dtype).eps),
        )
        return dataclasses.replace(state, norm=after, updates=state.updates + 1), columns


def _fused() -> ModuleType | None:
    """The triton kernels, or None where triton is not installed."""
    try:
        from entclip.engines.tokens.kernels import fused
    except ImportError:
        return None
    return fused


def _check_finite(columns: Mapping[str, np.ndarray]) -> None:
    bad = [name for name, value in columns.items() if not np.all(np.isfinite(value))]
    if bad:
        raise RunawayError(
            f"{', '.join(bad[:3])} is no finite number: the step of this update left what the tables can hold. Use a smaller "
            "update.learning_rate, a larger update.batch, a policy with a floor, or dtype float64."
        )


def _dense_sums(actions: Tensor, advantages: Tensor, like: Tensor) -> Sums:
    """Sums per action (rows, V) of samples (rows, B)."""
    batch = actions.shape[1]
    up, down = advantages.clamp(min=0), (-advantages).clamp(min=0)
    values = (up / batch, down / batch, (up > 0).double(), (down > 0).double())
    return Sums(*(torch.zeros_like(like).scatter_add_(1, actions, value) for value in values))  # type: ignore[arg-type]
