"""One optimiser step on the clipped surrogate, and the ledger columns of it. Claims T4, T5, T13."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import torch

from entclip.engines.base import Directive, Minibatch
from entclip.engines.llm.causes import TokenWeights, token_share, token_weights
from entclip.engines.llm.columns import update_columns
from entclip.engines.llm.optimizers import carry, step_by_cause
from entclip.engines.llm.probe import curvature_along, probe_log_probs
from entclip.engines.llm.replica import FirstPass, Replica, Responses, load_values, pieces, values_of
from entclip.experiments.experiment import Experiment
from entclip.objectives.base import CAUSES, Keep, Objective
from entclip.support.errors import SpecError
from entclip.support.random import stream

__all__ = ["take", "update"]


def update(
    experiment: Experiment,
    objective: Objective,
    replica: Replica,
    responses: Responses,
    rollout: int,
    minibatch: Minibatch,
    directive: Directive,
) -> dict[str, float]:
    """Train on one minibatch and account for it: the columns of the ledger."""
    model = replica.language.model
    gradients, counts = _gradients(experiment, objective, replica, responses, rollout, minibatch, directive, True)
    now, slope = replica.look()
    start = values_of(model)
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    memory = [{"value": start[name], "moment": moment} for name, moment in zip(names, _moments(replica), strict=True)]
    _step(replica, gradients["total"])
    step = {name: p.detach() - start[name] for name, p in model.named_parameters()}
    opposite = {name: start[name] - step[name] for name in start}
    mirrored = probe_log_probs(lambda **inputs: torch.func.functional_call(model, opposite, (), inputs), replica.probe)
    after, _ = replica.look()
    second = curvature_along(now, after, mirrored)

    parts = {c: gradients[c] for c in CAUSES if c in gradients}
    if replica.averages is not None:
        carry(replica.averages, parts, experiment.update.betas[0])
    causes = step_by_cause(replica.optimizer, memory, parts, slope, replica.averages)
    columns = dict.fromkeys(CAUSES, 0.0) | causes
    if directive.step_variance is not None:
        # A control takes the same direction as far as the arm that it copies went.
        factor = math.sqrt(directive.step_variance / second.step_variance) if second.step_variance > 0 else 0.0
        step = {name: factor * value for name, value in step.items()}
        load_values(model, {name: start[name] + step[name] for name in start})
        replica.now = None
        after, _ = replica.look()
        second = dataclasses.replace(second, curvature=factor**2 * second.curvature, step_variance=directive.step_variance)
        columns = {name: factor * value for name, value in columns.items()}
    products = (g * step[name] for name, g in zip(names, slope, strict=True))
    mask = responses.sequences.mask[_rows(experiment, minibatch)]
    return update_columns(
        objective, (responses.old, now, after), second, columns, products, counts, len(mask) / float(mask.sum())
    )


def take(
    experiment: Experiment,
    objective: Objective,
    replica: Replica,
    responses: Responses,
    rollout: int,
    minibatch: Minibatch,
    directive: Directive,
) -> TokenWeights:
    """Train on one minibatch without accounting for it; what its tokens were, counted."""
    gradients, counts = _gradients(experiment, objective, replica, responses, rollout, minibatch, directive, False)
    _step(replica, gradients["total"])
    return counts


def _rows(experiment: Experiment, minibatch: Minibatch) -> slice:
    batch = experiment.update.batch
    return slice(minibatch.index * batch, (minibatch.index + 1) * batch)


def _step(replica: Replica, ascent: list[Any]) -> None:
    for parameter, gradient in zip(replica.parameters, ascent, strict=True):
        parameter.grad = -gradient
    replica.optimizer.step()
    replica.optimizer.zero_grad(set_to_none=True)
    replica.now = None


def _moments(replica: Replica) -> list[Any]:
    """A copy of each trained parameter's first moment; None where there is none yet."""
    held = (replica.optimizer.state.get(parameter, {}).get("exp_avg") for parameter in replica.parameters)
    return [None if moment is None else moment.clone() for moment in held]


def _gradients(
    experiment: Experiment,
    objective: Objective,
    replica: Replica,
    responses: Responses,
    rollout: int,
    minibatch: Minibatch,
    directive: Directive,
    accounted: bool,
) -> tuple[dict[str, list[Any]], TokenWeights]:
    """Ascent directions of the minibatch, `total` and when accounted by cause; and the counts of its tokens.

    Raises: SpecError if one is not finite.
    """
    rules, rows = experiment.rollout_rules, _rows(experiment, minibatch)
    share = token_share(responses.sequences.mask[rows], rules.aggregation)
    survives = None
    if directive.keep is not None:
        key = (rollout, minibatch.inner_step, replica.stream)
        survives = _survives(experiment, directive.keep, responses.advantages[rows], tuple(share.shape), key)
    out: dict[str, list[Any]] = {}
    counts: list[TokenWeights] = []
    first = replica.first if rollout == minibatch.inner_step == 0 else None
    for number, piece in enumerate(pieces(experiment.update.batch, 1, rules)):
        own = slice(rows.start + piece.start, rows.start + piece.stop)
        sequences = responses.sequences[own]
        known = None if first is None else first.get(number)
        log_probs = replica.log_probs(sequences, rules) if known is None else known.log_probs
        weights = token_weights(
            objective,
            log_probs.detach(),
            responses.old_log_probs[own],
            responses.advantages[own],
            sequences.mask,
            share[piece],
            directive.keep,
            None if survives is None else survives[piece],
        )
        counts.append(weights)
        total = sum(weights.by_cause.values())
        ascent = None if known is None else known.again(total)
        if ascent is None:
            ascent = _ascent(total, log_probs if known is None else replica.log_probs(sequences, rules), replica)
            if first is not None and known is None:
                first[number] = FirstPass(log_probs.detach(), total, ascent)
        # One answer for all parameters: on a GPU each one asked for waits for the device.
        if not bool(torch.stack([torch.isfinite(g).all() for g in ascent]).all()):
            raise SpecError(
                f"the gradient at rollout {rollout}, inner step {minibatch.inner_step} holds NaN or infinity: the model or its "
                "ratios have left the range of the dtype. Lower update.learning_rate."
            )
        _add(out, "total", ascent)
        if not accounted:
            continue
        changed = {c: w for c, w in weights.by_cause.items() if c != "unclipped" and bool((w != 0).any())}
        if changed:
            # Few responses hold a token whose weight the clip changed: a pass over those alone.
            held = sum(w.abs() for w in changed.values()).sum(-1) > 0
            some = replica.log_probs(sequences[held], rules)
            for index, (cause, weight) in enumerate(changed.items()):
                _add(out, cause, _ascent(weight[held], some, replica, keep_graph=index + 1 < len(changed)))
    if accounted:
        rest = [out[c] for c in CAUSES[1:] if c in out]
        out["unclipped"] = [total - sum(parts) for total, *parts in zip(out["total"], *rest, strict=True)]
    return out, TokenWeights.merged(counts)


def _ascent(weight: Any, log_probs: Any, replica: Replica, *, keep_graph: bool = False) -> list[Any]:
    """Gradient of sum(weight log pi)."""
    value = (weight * log_probs).sum()
    return list(torch.autograd.grad(value, replica.parameters, retain_graph=keep_graph, materialize_grads=True))


def _add(sums: dict[str, list[Any]], name: str, gradient: list[Any]) -> None:
    sums[name] = [a + b for a, b in zip(sums[name], gradient, strict=True)] if name in sums else gradient


def _survives(experiment: Experiment, keep: Keep, advantages: Any, shape: tuple[int, ...], key: tuple[int, ...]) -> Any:
    """Coins of a random drop by the sign of the advantage, 1 for a token that survives."""
    chance = torch.where(advantages > 0, keep.plus, keep.minus).expand(shape)
    coins = torch.from_numpy(stream(experiment.seed, "drop", *key).random(shape)).to(chance.device)
    return (coins < chance).to(advantages.dtype)
