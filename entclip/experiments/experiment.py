"""An experiment is plain data: the sections of its TOML, their validation, overrides, grids and digest.

    >>> from entclip import load
    >>> load("headline", overrides=["update.learning_rate=0.2"]).update.learning_rate
    0.2

Everything that can be wrong with an experiment is found here, before any work is done.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
from functools import cache
from typing import Annotated, Any

import tomli_w
from pydantic import BeforeValidator, Field, ValidationError, model_validator

from entclip.experiments.grid import flattened, label_of, refuse_impossible
from entclip.experiments.inputs import content_of_inputs
from entclip.experiments.overrides import assign
from entclip.experiments.sections import (
    Arm,
    DirichletSpec,
    LedgerSpec,
    Name,
    PerturbationSpec,
    PolicySpec,
    RolloutSpec,
    UpdateSpec,
    _Part,
)
from entclip.rewards.advantage import Advantage, Independent
from entclip.rewards.reward import Rademacher, RewardLaw, TableReward
from entclip.support.bounded import refuse_deep
from entclip.support.errors import SpecError
from entclip.support.numbers import Count, Positive, Seed
from entclip.support.rewording import reworded

__all__ = ["Experiment", "parse_experiment"]


class Experiment(_Part):
    """A validated experiment. Load one with `load`, or build it in Python; every engine runs the same data."""

    name: Name = "custom"
    description: Annotated[str, Field(max_length=10_000)] = ""
    claims: tuple[Annotated[str, Field(max_length=64)], ...] = ()
    seed: Seed = 0
    replicas: Count = 1
    antithetic: bool = False
    policy: PolicySpec = DirichletSpec()
    weights: tuple[Positive, ...] | None = None
    perturbation: PerturbationSpec | None = None
    rollout: RolloutSpec | None = None
    reward: RewardLaw = Rademacher()
    advantage: Advantage = Independent()
    update: UpdateSpec = UpdateSpec()
    ledger: LedgerSpec = LedgerSpec()
    arm: tuple[Arm, ...] = (Arm(name="both", low=0.2, high=0.2),)
    grid: Annotated[dict[str, tuple[Any, ...]], BeforeValidator(flattened)] = Field(default={})

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if self.grid:
            refuse_impossible(self.grid)
            self.cases()  # each case is validated on its own; the base need not be runnable
            return self
        for check in (self._check_batch, self._check_antithetic, self._check_arms, self._check_policy, self._check_language):
            check()
        return self

    def _check_batch(self) -> None:
        u, size = self.update, self.advantage.size
        total = u.batch * u.minibatches
        if u.minibatch == "groups" and u.batch % size:
            raise ValueError(
                f"update.batch = {u.batch} is not divisible by advantage.size = {size}: a minibatch holds whole groups. "
                f'Use a multiple of {size}, for example {max(size, u.batch // size * size)}, or update.minibatch = "shuffled".'
            )
        if total % size:
            raise ValueError(
                f"batch x minibatches = {total} is not divisible by advantage.size = {size}: a rollout holds whole groups."
            )
        if self.perturbation is not None and u.rollouts > 1:
            raise ValueError(
                f"[perturbation] sets pi apart from pi_old at the start of one rollout, but update.rollouts = {u.rollouts}: "
                "use rollouts = 1."
            )

    def _check_antithetic(self) -> None:
        if self.antithetic and self.replicas % 2:
            raise ValueError(f"antithetic = true pairs replicas, but replicas = {self.replicas} is odd: use an even number.")
        if self.antithetic and not self.reward.symmetric:
            raise ValueError(
                f"antithetic = true mirrors the rewards, but {self.reward.kind} is not symmetric about its mean: use rademacher, "
                "bernoulli with p = 0.5 or gaussian."
            )

    def _check_arms(self) -> None:
        names = [arm.name for arm in self.arm]
        if not names or len(set(names)) < len(names):
            raise ValueError(f"arms need distinct names and there must be at least one, got {names}.")
        for index, arm in enumerate(self.arm):
            if arm.control is None:
                continue
            if arm.control.like not in names[:index]:
                raise ValueError(
                    f"arm {arm.name}: control.like = {arm.control.like!r} must name an arm listed before it, "
                    f"one of {names[:index]}."
                )
            like = self.arm[names.index(arm.control.like)].build()
            if arm.control.kind == "drop" and not like.hard:
                raise ValueError(
                    f'arm {arm.name}: control.kind = "drop" removes the share of samples that arm {arm.control.like} removes, '
                    f"but its objective, {like.kind}, removes none whole: it changes their weights. Use control.kind = "
                    '"match_kl", or the control of an arm that clips.'
                )

    def _check_language(self) -> None:
        is_model = self.policy.kind == "language_model"
        if (self.rollout is not None) and not is_model:
            raise ValueError(
                f"[rollout] is about language models, but policy.kind = {self.policy.kind!r}: leave it out, or use policy.kind = "
                '"language_model".'
            )
        if self.ledger.every > 1 and not is_model:
            raise ValueError(
                f"ledger.every = {self.ledger.every}: only a language model's ledger can skip updates; leave it out."
            )
        u, fits = self.update, is_model and self.ledger.every == 1
        if self.ledger.momentum == "cause" and not (
            fits and (u.optimizer == "adamw" or (u.optimizer == "adam" and not u.weight_decay))
        ):
            raise ValueError(
                'ledger.momentum = "cause" needs a language model, ledger.every = 1, and adamw (or adam without weight_decay, '
                'which enters its first moment): use "line".'
            )
        if not is_model:
            return
        controls = [arm.name for arm in self.arm if arm.control is not None]
        if self.ledger.every > 1 and controls:
            raise ValueError(f"arm {controls[0]} copies another arm update by update: use ledger.every = 1.")
        if self.weights is not None or self.perturbation is not None:
            raise ValueError("a language model has no weights or perturbation section: leave them out.")
        lag = self.rollout.staleness if self.rollout is not None else 0
        if lag > self.update.minibatches:
            raise ValueError(
                f"rollout.staleness = {lag} is more than update.minibatches = {self.update.minibatches}: pi_old can lag by one "
                "rollout at most."
            )

    def _check_policy(self) -> None:
        if self.weights is not None and getattr(self.policy, "contexts", None) not in (None, len(self.weights)):
            raise ValueError(
                f"weights has {len(self.weights)} entries for {getattr(self.policy, 'contexts', None)} contexts: "
                "give one positive weight per context."
            )
        vocab = getattr(self.policy, "vocab", None)
        if isinstance(self.reward, TableReward) and vocab is not None:
            actions = vocab ** getattr(self.policy, "length", 1)
            if len(self.reward.values) != actions:
                raise ValueError(
                    f"reward.values has {len(self.reward.values)} entries for {actions} actions: give one reward per action."
                )

    @property
    def rollout_rules(self) -> RolloutSpec:
        """Return [rollout], or its defaults where a language model's experiment leaves it out."""
        return self.rollout or RolloutSpec()

    def cases(self) -> list[tuple[str, Experiment]]:
        """Return the experiments of the grid with their labels; one unlabelled case without a grid."""
        if not self.grid:
            return [("", self)]
        base = self.model_dump(exclude={"grid"}, exclude_none=True)
        out = []
        for values in itertools.product(*self.grid.values()):
            data, case = copy.deepcopy(base), dict(zip(self.grid, values, strict=True))
            for key, value in case.items():
                assign(data, key, value)
            out.append((label_of(case), parse_experiment(data)))
        labels = [label for label, _ in out]
        if len(set(labels)) < len(labels):
            raise ValueError(
                f"grid: two cases have the same label, {max(labels, key=labels.count)!r}: vary single keys such as policy.vocab."
            )
        return out

    def to_toml(self) -> str:
        """Return the experiment as TOML; `load` reads it back to an equal object."""
        return tomli_w.dumps(self.model_dump(exclude_none=True, exclude_defaults=False))

    @property
    def inputs(self) -> dict[str, str]:
        """Return checksums of the files that its policies are read from, by path; {} where there are none."""
        gridded = any(key.partition(".")[0] == "policy" for key in self.grid)
        return content_of_inputs(case.policy for case in ([case for _, case in self.cases()] if gridded else [self]))

    @property
    def digest(self) -> str:
        """Return twelve hexadecimal digits that name this experiment, its seed and the content of its input files included."""
        text = json.dumps(self.model_dump(exclude={"description"}), sort_keys=True, default=str)
        if inputs := self.inputs:
            text += json.dumps(inputs, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def parse_experiment(data: dict[str, Any]) -> Experiment:
    """Validate plain data (as read from TOML) into an Experiment; SpecError names every wrong key, its value and the fix."""
    refuse_deep(data, "the experiment")
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise SpecError(reworded(error, _schema(), data)) from None


@cache
def _schema() -> dict[str, Any]:
    return Experiment.model_json_schema()
