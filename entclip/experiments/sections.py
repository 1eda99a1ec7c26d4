"""The sections of an experiment file, each a validated model."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from entclip.controllers.catalogue import AnyController
from entclip.objectives.base import Objective
from entclip.objectives.catalogue import NamedObjective, objective
from entclip.policies.softmax import Geometry
from entclip.support.numbers import Count, Logit, Natural, NotNegative, Positive, Rate, Share, Spread, Vocab
from entclip.support.plain_numbers import numbers_only
from entclip.support.rewording import ReportsInOurWords

__all__ = ["Arm", "Name", "UpdateSpec"]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.-]+$")]  # part of file names


class _Part(BaseModel, metaclass=ReportsInOurWords):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _numbers_only(cls, data: Any) -> Any:
        return numbers_only(cls, data)


class UniformSpec(_Part):
    """Uniform over `vocab` actions."""

    kind: Literal["uniform"] = "uniform"
    vocab: Vocab = 64
    contexts: Count = 1


class ZipfSpec(_Part):
    """pi_a proportional to a^-exponent, the same in every context."""

    kind: Literal["zipf"] = "zipf"
    vocab: Vocab = 64
    contexts: Count = 1
    exponent: Logit = 1.0

    @model_validator(mode="after")
    def _bounded(self) -> ZipfSpec:
        if abs(self.exponent) * math.log(self.vocab) > 700:
            raise ValueError(
                f"policy.exponent = {self.exponent} with policy.vocab = {self.vocab}: the smallest probability, about "
                "vocab^-|exponent|, must be above exp(-700) to be divided by. Use a smaller exponent."
            )
        return self


class PeakedSpec(_Part):
    """One action with the given logit, the others 0."""

    kind: Literal["peaked"] = "peaked"
    vocab: Vocab = 64
    contexts: Count = 1
    logit: Logit = 5.0


class DirichletSpec(_Part):
    """(1 - floor) Dirichlet(alpha) + floor/V, drawn once per context."""

    kind: Literal["dirichlet"] = "dirichlet"
    vocab: Vocab = 64
    contexts: Count = 1
    alpha: Positive = 2.0
    floor: Share = 0.1


class NormalLogitsSpec(_Part):
    """Independent normal logits of standard deviation `sd`, drawn once per context: pi is log-normal up to normalisation."""

    kind: Literal["normal_logits"] = "normal_logits"
    vocab: Vocab = 64
    contexts: Count = 1
    sd: Spread = 2.0


class SnapshotSpec(_Part):
    """Next-token distributions of a real language model: a shipped name or a file made by `entclip snapshot`."""

    kind: Literal["snapshot"] = "snapshot"
    name: str = "smollm2-135m"
    contexts: Count | None = None


class FileSpec(_Part):
    """Logits (V,) or (contexts, V) in a .npy file."""

    kind: Literal["file"] = "file"
    path: str
    contexts: Count | None = None


_DRAWN = {"vocab": 512, "contexts": 32, "dim": 16, "sd": 2.0, "exponent": 1.0}


class HiddenSpec(_Part):
    """Shared parameters, the last layer of a model: logits = base + h_t W', with hidden states h_t (T, d) and a head W (V, d).

    Without `path` they are drawn: h_t of length 1, independent directions; W independent normal, so that the logits h_t W' have
    standard deviation `sd`; base_a = -exponent log a. With `path`, a .npz file: hidden (T, d), head (V, d), optional base (V,).
    products: precision of the matrix products; bfloat16 accumulates in float32 and needs dtype float32.
    """

    kind: Literal["hidden"] = "hidden"
    vocab: Vocab | None = None
    contexts: Count | None = None
    dim: Count | None = None
    sd: Spread | None = None
    exponent: Logit | None = None
    path: str | None = None
    products: Literal["full", "bfloat16"] = "full"

    @model_validator(mode="after")
    def _one_source(self) -> HiddenSpec:
        drawn = {k: getattr(self, k) for k in ("vocab", "dim", "sd", "exponent") if getattr(self, k) is not None}
        if self.path is not None and drawn:
            key, value = next(iter(drawn.items()))
            raise ValueError(
                f"policy.path = {self.path!r} brings its own sizes, but policy.{key} = {value} is given, too: leave out one of "
                "them (contexts may limit what is read)."
            )
        return self

    def sizes(self) -> dict[str, float]:
        """Return vocab, contexts, dim, sd and exponent of parameters that are drawn, defaults filled in."""
        return {name: default if (value := getattr(self, name)) is None else value for name, default in _DRAWN.items()}


class AutoregressiveSpec(_Part):
    """Sequences of `length` tokens: every prefix has its own (1 - floor) Dirichlet(alpha) + floor/V policy;
    contexts are prompts."""

    kind: Literal["autoregressive"] = "autoregressive"
    vocab: Vocab = 4
    length: Count = 3
    contexts: Count = 1
    alpha: Positive = 2.0
    floor: Share = 0.1

    @model_validator(mode="after")
    def _bounded(self) -> AutoregressiveSpec:
        # Two actions make more sequences than that at a length of 17; the power of two large numbers itself never ends.
        if self.length > 16 or self.vocab**self.length > 65_536:
            raise ValueError(
                f"policy.vocab ** policy.length is {self.vocab} ** {self.length}: every sequence is an outcome here, at most "
                "65536 of them. Use a smaller vocabulary or length."
            )
        return self


class LanguageModelSpec(_Part):
    """A causal language model: "tiny" (built in), "untrained" (its initial weights), "smollm2-135m", a
    transformers model id, a folder or a .gguf file. For the llm engine."""

    kind: Literal["language_model"] = "language_model"
    model: str = "tiny"


class RecordedSpec(_Part):
    """A model that was trained in a loop outside entclip, whose ledger was recorded there: it can be read, not run.

    program: what ran the loop. optimizer: its class.
    """

    kind: Literal["recorded"] = "recorded"
    program: str = "torch"
    model: str = ""
    optimizer: str = ""


PolicySpec = Annotated[
    UniformSpec
    | ZipfSpec
    | PeakedSpec
    | DirichletSpec
    | NormalLogitsSpec
    | SnapshotSpec
    | FileSpec
    | AutoregressiveSpec
    | HiddenSpec
    | LanguageModelSpec
    | RecordedSpec,
    Field(discriminator="kind"),
]


class PerturbationSpec(_Part):
    """pi != pi_old for one-rollout experiments: log pi = log pi_old + x, normalised.

    law flat, sqrt, inv_sqrt: x_a = z_a times 1, pi_old^(1/2), pi_old^(-1/2), z standard normal, scaled to the given
    pi_old-weighted root mean square; law array: x = values.
    """

    law: Literal["flat", "sqrt", "inv_sqrt", "array"] = "flat"
    rms: Spread = 0.2
    values: tuple[Logit, ...] | None = None

    @model_validator(mode="after")
    def _has_values(self) -> PerturbationSpec:
        if (self.law == "array") != (self.values is not None):
            raise ValueError('perturbation.values goes with law = "array", and only with it: give both or neither.')
        return self


class UpdateSpec(_Part):
    """One rollout of `minibatches` updates of `batch` samples per context each, `rollouts` times.

    optimizer adam, adamw: the euclidean gradient goes through Adam's moments (betas, eps). adam subtracts weight_decay times the
    parameter from the gradient, adamw shrinks the parameter by the factor 1 - learning_rate times weight_decay. The parameters of
    a table are its logits, which start at log pi whatever constant the policy was given with: decay pulls log pi towards uniform.
    Those of shared parameters are the head's or the model's weights.
    """

    geometry: Geometry = "natural"
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    betas: tuple[Share, Share] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.0
    learning_rate: Rate = 0.1
    batch: Count = 2048
    minibatches: Count = 64
    rollouts: Count = 5
    epochs: Count = 1
    minibatch: Literal["groups", "shuffled"] = "groups"

    @model_validator(mode="after")
    def _optimizer_fits(self) -> UpdateSpec:
        if self.optimizer != "sgd" and self.geometry != "euclidean":
            raise ValueError(
                f"update.optimizer = {self.optimizer!r} preconditions the euclidean gradient, but update.geometry = "
                f'{self.geometry!r}: set update.geometry = "euclidean".'
            )
        if self.optimizer == "sgd" and self.weight_decay:
            raise ValueError(
                f"update.weight_decay = {self.weight_decay} with update.optimizer = 'sgd': plain steps have no decay; use adamw."
            )
        return self


class RolloutSpec(_Part):
    """How a language model's rollouts are made: update.batch x update.minibatches responses, advantage.size to each prompt.

    reward: "random" draws from [reward]; "correct" and "format" judge the response. staleness: updates that pi_old lags behind at
    the start of a rollout. aggregation: mean over the minibatch's tokens, or over responses of their means.
    """

    task: str = "digits"
    reward: Literal["random", "correct", "format"] = "random"
    max_new_tokens: Count = 6
    temperature: Annotated[float, Field(ge=1e-3, le=1e3, allow_inf_nan=False)] = 1.0
    staleness: Natural = 0
    aggregation: Literal["token", "sequence"] = "token"
    probes: Count = 16
    micro_batch: Count | None = None


class ControlSpec(_Part):
    """A control tied to an arm listed before it.

    drop: remove samples at random, sign by sign, in the share whose gradient arm `like` removed in the same update.
    match_kl: scale the learning rate of each update so that its expected KL step is the one arm `like` took.
    """

    kind: Literal["drop", "match_kl"]
    like: Name


class Arm(_Part):
    """One variant of the experiment: an objective with its clip widths, or a table with its own parameters.

    controller: a rule that sets some of the parameters anew before every rollout.
    """

    name: Name
    objective: Annotated[Objective | str, NamedObjective] = "clip"
    low: float | None = None
    high: float | None = None
    control: ControlSpec | None = None
    controller: AnyController | None = None

    @model_serializer(mode="wrap")
    def _without_what_is_not_there(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = handler(self)
        if self.controller is None:  # arms without one are named by the digests that they had before there were any
            data.pop("controller", None)
        return data

    @model_validator(mode="before")
    @classmethod
    def _named_objective(cls, data: Any) -> Any:
        # low and high are the usual knobs, so they live on the arm; a table carries every other parameter.
        if isinstance(data, dict) and isinstance(data.get("objective"), dict):
            data = {**data, "objective": {"kind": "clip", **data["objective"]}}
        return data

    @model_validator(mode="after")
    def _buildable(self) -> Arm:
        base = self.build()
        if self.controller is not None:
            if self.control is not None:
                raise ValueError(f"arm {self.name}: a control copies another arm, so that it has no controller of its own.")
            self.controller.refuse_unfit(base)
            self.controller.objective(base, self.controller.start(base, 1.0))
        return self

    def build(self) -> Objective:
        """Return the objective with this arm's parameters."""
        widths = {k: v for k, v in (("low", self.low), ("high", self.high)) if v is not None}
        if not isinstance(self.objective, str):
            if widths:
                raise ValueError(
                    f"arm {self.name}: put {', '.join(widths)} inside [arm.objective] when the objective is a table."
                )
            return self.objective
        try:
            return objective(self.objective, **widths)
        except TypeError:
            raise ValueError(f"arm {self.name}: objective {self.objective!r} does not take {', '.join(widths)}.") from None


class LedgerSpec(_Part):
    """detail "mean" keeps weighted means over contexts and replicas; "context" one row per context and replica.

    every: account one update in so many (llm engine; a number coprime with update.minibatches visits all inner steps).
    momentum: under Adam "line" books what earlier minibatches left in the first moment as a part of its own, "cause" carries a
    first moment per cause (llm engine, every = 1).
    """

    detail: Literal["mean", "context"] = "mean"
    every: Count = 1
    momentum: Literal["line", "cause"] = "line"
