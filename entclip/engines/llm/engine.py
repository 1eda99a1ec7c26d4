"""The llm engine: GRPO on a causal language model, with every update's entropy change split by cause on fixed probe contexts.

One rollout: draw prompts, sample advantage.size responses to each from pi_old, reward them, take group advantages, then take
update.minibatches optimiser steps on the clipped surrogate with pi_old fixed. What differs from Park et al. (arXiv:2509.26114):

- the default model is tiny and its task is digits; the paper trains 1 to 8 B models on mathematics;
- entropy is measured on fixed probe contexts, before and after each update, not on the minibatch in passing;
- no gradient-norm clip, no warm-up, no KL or entropy term in the loss (the paper has none of the last two);
- advantages are shared by the tokens of a response; update.minibatch = "groups" keeps the responses to a prompt together.

Units are replicas: whole runs of the model that differ in prompts, samples and rewards. With antithetic = true replica i + R/2
repeats replica i with mirrored rewards. There is no expectation to judge by: expected_* columns are absent.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from entclip.engines.base import Directive, Minibatch, Rollout, State
from entclip.engines.free_memory import free_bytes
from entclip.engines.llm.beginning import Beginning
from entclip.engines.llm.facts import LLM
from entclip.engines.llm.language import load_language
from entclip.engines.llm.precision import arithmetic
from entclip.engines.llm.probe import probe_entropy
from entclip.engines.llm.replica import Replica, Responses, values_of
from entclip.engines.llm.respond import make_probe, respond
from entclip.engines.llm.task import task_named
from entclip.engines.llm.threads import threads_for
from entclip.engines.llm.train import take, update
from entclip.engines.minibatches import fresh_minibatches
from entclip.engines.rules import ruled
from entclip.engines.serving import refuse_unfit
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import LanguageModelSpec
from entclip.ledger.entry import Entry
from entclip.objectives.base import Objective
from entclip.rewards.advantage import Independent
from entclip.rewards.reward import TableReward
from entclip.support.errors import SpecError

__all__ = ["LlmEngine"]

_LOG = logging.getLogger(__name__)  # what is going on: with a large model a single update takes minutes


@dataclass(kw_only=True)
class LlmState(State):
    """Replicas of a model. Training changes them in place: a state is used once."""

    replicas: list[Replica]
    log: dict[str, np.ndarray]
    beginning: Beginning


@dataclass(frozen=True, kw_only=True)
class LlmRollout(Rollout):
    """The responses of every replica."""

    responses: list[Responses]


def _say(state: LlmState, index: int, doing: str) -> None:
    rollouts, replicas = state.experiment.update.rollouts, len(state.replicas)
    _LOG.info("rollout %d of %d, replica %d of %d: %s", state.rollout + 1, rollouts, index + 1, replicas, doing)


class LlmEngine:
    """GRPO on a causal language model; float64, float32, or bfloat16 products over float32 weights."""

    facts = LLM

    def __init__(self, device: str = "cpu", dtype: str = "float32") -> None:
        self.device, self.dtype = device, dtype
        self._begun: Beginning | None = None

    def _arithmetic(self) -> AbstractContextManager[Any]:
        return arithmetic(self.dtype, self.device)

    @contextmanager
    def computing(self, model: Any) -> Iterator[None]:
        """Compute in the engine's dtype, on as many threads as suit the model."""
        with threads_for(model), self._arithmetic():
            yield

    def refuse(self, experiment: Experiment, objective: Objective) -> None:
        """Raise SpecError for an experiment that the engine cannot run, whatever its size."""
        refuse_unfit(self.facts, experiment, objective)
        spec = experiment.policy
        if not isinstance(spec, LanguageModelSpec):
            raise SpecError(
                f'the llm engine trains a language model, but policy.kind = {spec.kind!r}: use policy.kind = "language_model".'
            )
        rules = experiment.rollout_rules
        if rules.reward == "random" and isinstance(experiment.reward, TableReward):
            raise SpecError("reward.kind = 'table' has one reward per action of a bandit: use bernoulli, rademacher or gaussian.")
        if experiment.antithetic and rules.reward != "random":
            raise SpecError(f"antithetic = true mirrors random rewards, but rollout.reward = {rules.reward!r}: leave it out.")
        if isinstance(experiment.advantage, Independent) and rules.reward != "random":
            raise SpecError("advantage.kind = 'independent' needs the reward's exact mean: use group advantages.")

    def start(self, experiment: Experiment, objective: Objective) -> LlmState:
        self.refuse(experiment, objective)
        device = torch.device(self.device)
        free = free_bytes(device) if device.type == "cpu" or torch.cuda.is_available() else None
        self.facts.refuse_oversize(experiment, device.type, self.dtype, free)
        pairs = experiment.replicas // 2 if experiment.antithetic else experiment.replicas
        begun = self.begin(experiment)
        with self.computing(begun.language.model):
            replicas = [begun.replica(index % pairs, index >= pairs) for index in range(experiment.replicas)]
        return self.state_of(begun, objective, replicas)

    def state_of(self, begun: Beginning, objective: Objective, replicas: list[Replica]) -> LlmState:
        """Return the state of these replicas of an experiment that has begun: all of them, or some that are run by themselves."""
        ones = np.ones(len(replicas))
        return LlmState(
            experiment=ruled(begun.experiment, objective),
            objective=objective,
            context=np.zeros(len(replicas), dtype=np.int64),
            replica=np.arange(len(replicas)),
            weight=ones / len(replicas),
            context_weight=ones,
            replicas=replicas,
            log={},
            beginning=begun,
        )

    def begin(self, experiment: Experiment) -> Beginning:
        """Load the policy and make the probe contexts, or return them if the last arm was of the same experiment."""
        if self._begun is None or self._begun.experiment != experiment:
            self._begun, rules = None, experiment.rollout_rules  # what is held goes before what is loaded
            assert isinstance(experiment.policy, LanguageModelSpec)
            task = task_named(rules.task)
            _LOG.info("loading the model %s", experiment.policy.model)
            language = load_language(experiment.policy.model, self.device, self.dtype)
            _LOG.info("generating %d responses as probe contexts", rules.probes)
            with self.computing(language.model):
                self._begun = Beginning(experiment, language, make_probe(experiment, rules, task, language))
        return self._begun

    def roll_out(self, state: LlmState) -> tuple[LlmState, LlmRollout]:
        task = task_named(state.experiment.rollout_rules.task)
        u, made = state.experiment.update, []
        with self.computing(state.replicas[0].language.model):
            for index, replica in enumerate(state.replicas):
                if not state.beginning.knows(replica, state.rollout):
                    _say(state, index, f"generating {u.batch * u.minibatches} responses")
                said = state.beginning.said(replica, task, state.rollout)
                made.append(respond(state.experiment, replica, task, state.rollout, said))
        log = {name: np.array([scores[name] for _, scores in made]) for name in made[0][1]}
        minibatches = fresh_minibatches(state.experiment, defined=False)
        return dataclasses.replace(state, log=log), LlmRollout(minibatches=minibatches, responses=[r for r, _ in made])

    def step(
        self, state: LlmState, rollout: LlmRollout, minibatch: Minibatch, directive: Directive
    ) -> tuple[LlmState, Entry | None]:
        spec = state.experiment.update
        per_rollout = spec.epochs * spec.minibatches
        accounted = (state.rollout * per_rollout + minibatch.inner_step) % state.experiment.ledger.every == 0
        staleness = state.experiment.rollout_rules.staleness
        rows = []
        with self.computing(state.replicas[0].language.model):
            for index, (replica, responses) in enumerate(zip(state.replicas, rollout.responses, strict=True)):
                _say(state, index, f"update {minibatch.inner_step + 1} of {per_rollout}")
                if staleness and minibatch.inner_step == per_rollout - staleness:
                    replica.lagged = values_of(replica.language.model)
                given = (state.experiment, state.objective, replica, responses, state.rollout, minibatch, directive)
                if accounted:
                    rows.append(update(*given))
                else:
                    take(*given)
        if not accounted:
            return state, None
        columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        entry = Entry(
            inner_step=minibatch.inner_step,
            rollout=state.rollout,
            columns=columns,
            weight=state.weight,
            context=state.context,
            replica=state.replica,
            samples=spec.batch,
            fresh=False,
            drawn=True,
            precision=float(torch.finfo(state.replicas[0].probe.dtype).eps),
        )
        return state, entry

    def observe(self, state: LlmState) -> dict[str, np.ndarray]:
        """Return the entropy of the probe contexts; of the last rollout its mean reward, pass@1, pass@k and response length."""
        with self.computing(state.replicas[0].language.model):
            # Where every update is accounted the next one needs the gradient of H here, and one pass gives both.
            every = state.experiment.ledger.every == 1
            value = np.array([probe_entropy(r.look()[0] if every else r.peek()) for r in state.replicas])
        return {"entropy": value, "sequence_entropy": value, **state.log}

    def distributions(self, state: LlmState, rollout: LlmRollout) -> tuple[np.ndarray, np.ndarray]:
        """Return log pi_old and log pi on the probe contexts, each (replicas, contexts x V)."""
        with self.computing(state.replicas[0].language.model):
            pairs = [(r.old, replica.look()[0]) for r, replica in zip(rollout.responses, state.replicas, strict=True)]
        old, new = (np.stack([torch.cat(pair[k]).double().cpu().numpy().ravel() for pair in pairs]) for k in (0, 1))
        return old, new

    def pack(self, state: LlmState) -> dict[str, np.ndarray]:
        return {f"{index}/{key}": value for index, r in enumerate(state.replicas) for key, value in r.pack().items()}

    def unpack(self, state: LlmState, arrays: Mapping[str, np.ndarray]) -> LlmState:
        for index, replica in enumerate(state.replicas):
            mark = f"{index}/"
            replica.unpack({key.removeprefix(mark): value for key, value in arrays.items() if key.startswith(mark)})
        return state
