"""One rollout: questions, responses, rewards, advantages, and pi_old of what was sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from entclip.engines.llm.language import Language
from entclip.engines.llm.probe import Probe, probe_log_probs
from entclip.engines.llm.replica import Replica, Responses, load_values, pieces, values_of
from entclip.engines.llm.sampling import Sequences, generate, pad_prompts
from entclip.engines.llm.task import Question, Task
from entclip.engines.samples import advantages_of, draw_rewards, law_mean
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import RolloutSpec
from entclip.support.errors import SpecError
from entclip.support.random import Purpose, stream

__all__ = ["Sampled", "make_probe", "respond", "sample"]

_PROBE_ROWS = 32  # sequences in one block of probe contexts, fewer where a vocabulary is so large that they hold more
_PROBE_LOGITS = 2**25  # logits than this


def _seed(experiment: Experiment, purpose: Purpose, *key: int) -> int:
    return int(stream(experiment.seed, purpose, *key).integers(2**62))


def make_probe(experiment: Experiment, rules: RolloutSpec, task: Task, language: Language) -> Probe:
    """Return prompts of their own and the starting policy's responses to them: the same contexts for every arm and replica."""
    questions = task.ask(stream(experiment.seed, "probes"), rules.probes)
    prompts = pad_prompts(language, [q.text for q in questions], rules.max_new_tokens)
    made = generate(
        language, prompts, new_tokens=rules.max_new_tokens, temperature=rules.temperature, seed=_seed(experiment, "probes", 1)
    )
    vocabulary = language.model.config.get_text_config().vocab_size
    rows = min(max(_PROBE_LOGITS // (made.length * vocabulary), 1), _PROBE_ROWS)
    blocks = tuple(made[k : k + rows] for k in range(0, rules.probes, rows))
    return Probe(blocks, rules.temperature, next(language.model.parameters()).dtype)


@dataclass(frozen=True)
class Sampled:
    """What the policy said in one rollout, before any reward: the same for both of a pair, and for every arm while pi_old is.

    Questions and texts are in the order of sampling; sequences and log pi_old (N, R) in that of the minibatches, which `order`
    leads to (None: the same).
    """

    asked: list[Question]
    texts: list[str]
    order: np.ndarray | None
    sequences: Sequences
    old_log_probs: Any
    old: list[Any]


def sample(experiment: Experiment, replica: Replica, task: Task, rollout: int, old: list[Any] | None = None) -> Sampled:
    """Sample the responses of a rollout, in the order of their minibatches, with log pi_old of what was sampled.

    old: log pi_old on the probe contexts, if it is known.
    """
    rules, u = experiment.rollout_rules, experiment.update
    size, total = experiment.advantage.size, u.batch * u.minibatches
    key = (rollout, replica.stream)
    questions = task.ask(stream(experiment.seed, "tasks", *key), total // size)
    asked = [q for q in questions for _ in range(size)]
    language, model = replica.language, replica.language.model
    current = None
    if replica.lagged is not None:
        current = values_of(model)
        load_values(model, replica.lagged)
    prompts = pad_prompts(language, [q.text for q in asked], rules.max_new_tokens)
    made = generate(
        language, prompts, new_tokens=rules.max_new_tokens, temperature=rules.temperature, seed=_seed(experiment, "actions", *key)
    )
    texts = [
        language.decode([t for t, m in zip(row, mask, strict=True) if m])
        for row, mask in zip(made.ids[:, -made.length :].tolist(), made.mask.tolist(), strict=True)
    ]
    order = None
    if u.minibatch == "shuffled":
        order = stream(experiment.seed, "order", *key).permutation(total)
        made = made[torch.from_numpy(order)]
    with torch.no_grad():
        # In the shapes of training, so that the first ratio of a rollout is exactly 1.
        taken = torch.cat([replica.log_probs(made[rows], rules) for rows in pieces(u.batch, u.minibatches, rules)])
    before = probe_log_probs(model, replica.probe) if old is None else old
    if current is not None:
        load_values(model, current)
        replica.lagged = None
    return Sampled(asked, texts, order, made, taken, before)


def _rewards(experiment: Experiment, replica: Replica, task: Task, said: Sampled, rollout: int) -> np.ndarray:
    """Rewards (N,), in the order of sampling."""
    rules = experiment.rollout_rules
    if rules.reward != "random":
        judge = task.correct if rules.reward == "correct" else task.well_formed
        return np.array([judge(q, t) for q, t in zip(said.asked, said.texts, strict=True)])
    rewards = draw_rewards(experiment, (len(said.texts),), stream(experiment.seed, "rewards", rollout, replica.stream))
    # The laws that have a mirror image are symmetric about their mean.
    return 2 * law_mean(experiment) - rewards if replica.mirror else rewards


def respond(
    experiment: Experiment, replica: Replica, task: Task, rollout: int, said: Sampled
) -> tuple[Responses, dict[str, float]]:
    """Return the responses with their rewards as advantages, and what the rollout saw by name."""
    rules, size, total = experiment.rollout_rules, experiment.advantage.size, len(said.texts)
    rewards = _rewards(experiment, replica, task, said, rollout)
    if not np.all(np.isfinite(rewards)):
        raise SpecError(f"the task {rules.task!r} gave a reward that is no finite number: mend its score.")
    mean = law_mean(experiment) if rules.reward == "random" else 0.0  # judged rewards come in groups, which need none
    advantages = advantages_of(experiment, rewards, mean)
    if said.order is not None:
        advantages = advantages[said.order]
    correct = np.array([task.correct(q, t) for q, t in zip(said.asked, said.texts, strict=True)]).reshape(-1, size)
    scores = {
        "reward": float(rewards.mean()),
        "pass_at_1": float(correct.mean()),
        f"pass_at_{size}": float((correct.max(axis=1) == 1).mean()),
        "response_tokens": float(said.sequences.mask.sum()) / total,
        "flat_groups": float(np.mean(np.ptp(rewards.reshape(-1, size), axis=1) == 0)),
    }
    column = torch.from_numpy(advantages)[:, None].to(said.old_log_probs.device, said.old_log_probs.dtype)
    return Responses(said.sequences, column, said.old_log_probs, said.old), scores
