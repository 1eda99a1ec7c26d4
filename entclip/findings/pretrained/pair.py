"""One rollout of one arm under one sign of the rewards: what it did to the entropy of the probe contexts.

The unit of the experiment is an antithetic pair: the same prompts and responses, rewards r and 1 - r. Only one trained copy of
the model is held at a time, so that pairs can be many where weights are large. Updates are not accounted by cause; the change
is that of the entropy before and after, and what the clip acted on is counted. `account` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from entclip.engines.base import Directive, Minibatch
from entclip.engines.llm.beginning import Beginning
from entclip.engines.llm.probe import probe_entropy
from entclip.engines.llm.replica import Replica, Responses
from entclip.engines.llm.respond import respond
from entclip.engines.llm.task import task_named
from entclip.engines.llm.train import take
from entclip.engines.minibatches import fresh_minibatches
from entclip.findings.pretrained.records import Record
from entclip.objectives.base import Keep, Objective

__all__ = ["kept", "measure", "outside"]


def measure(
    begun: Beginning,
    objective: Objective,
    replica: Replica,
    rollout: int,
    like: Mapping[str, Any] | None,
    say: Callable[[str], None],
) -> Record:
    """Train a replica for one rollout; entropy before and after, and counts of every update.

    To be called where the engine is `computing`.

    Args:
        like: of a drop control, what `measure` gave for the arm that it copies, under the same sign of the rewards.
        say: called with what comes next, before each longer step.
    """
    experiment = begun.experiment
    task = task_named(experiment.rollout_rules.task)
    if not begun.knows(replica, rollout):
        say(f"generating {experiment.update.batch * experiment.update.minibatches} responses")
    responses, scores = respond(experiment, replica, task, rollout, begun.said(replica, task, rollout))
    minibatches, steps = fresh_minibatches(experiment, defined=False), list[dict[str, float]]()
    for number, minibatch in enumerate(minibatches):
        say(f"update {number + 1} of {len(minibatches)}")
        if minibatch is minibatches[-1]:
            last = outside(begun, replica, responses, minibatch)
        directive = Directive() if like is None else Directive(keep=kept(like["steps"][number]))
        counts = take(experiment, objective, replica, responses, rollout, minibatch, directive)
        steps.append(counts.counts | {"ratio_max": counts.ratio_max})
    say("entropy after it")
    before, after = probe_entropy(responses.old), probe_entropy(replica.peek())
    return {"entropy_before": before, "entropy": after, "measured": after - before, "last": last, "steps": steps, **scores}


def kept(step: Mapping[str, float]) -> Keep:
    """Return chances to survive that remove, by sign, the share of tokens that the clip of another arm removed."""
    return Keep(*(1 - step[f"removed_{sign}"] / max(step[f"count_{sign}"], 1e-300) for sign in ("plus", "minus")))


def outside(begun: Beginning, replica: Replica, responses: Responses, minibatch: Minibatch) -> dict[str, float]:
    """Return the rms of log r over a minibatch's tokens before the update on it, and the shares of its tokens that clips of
    several widths would act on, whether or not the arm has them."""
    batch = begun.experiment.update.batch
    rows = slice(minibatch.index * batch, (minibatch.index + 1) * batch)
    sequences = responses.sequences[rows]
    with torch.no_grad():
        move = replica.log_probs(sequences, begun.experiment.rollout_rules) - responses.old_log_probs[rows]
    taken, gain = move[sequences.mask], responses.advantages[rows].expand_as(move)[sequences.mask]
    ratio = taken.exp()
    shares = {f"low_{w}": (gain < 0) & (ratio < 1 - w) for w in (0.1, 0.2)}
    shares |= {f"high_{w}": (gain > 0) & (ratio > 1 + w) for w in (0.2, 0.28)}
    return {"log_ratio_rms": float((taken**2).mean().sqrt())} | {name: float(x.double().mean()) for name, x in shares.items()}
