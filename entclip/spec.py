"""An experiment is plain data: the sections of its TOML, their validation, overrides, grids and digest.

    >>> from entclip import load
    >>> load("headline", overrides=["update.learning_rate=0.2"]).update.learning_rate
    0.2

Everything that can be wrong with an experiment is found here, before any work is done.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import itertools
import json
import tomllib
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from entclip.advantage import Advantage, Independent
from entclip.objective import Objective, ObjectiveSpec, objective_named
from entclip.policy import Geometry
from entclip.reward import Rademacher, RewardLaw, TableReward

__all__ = ["Arm", "Experiment", "SpecError", "UpdateSpec", "experiment_names", "load", "parse_experiment"]

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]
Vocab = Annotated[int, Field(ge=2)]


class SpecError(ValueError):
    """An experiment that cannot be run as written: the message names the key, its value and the fix."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    exponent: Annotated[float, Field(allow_inf_nan=False)] = 1.0


class PeakedSpec(_Part):
    """One action with the given logit, the others 0."""

    kind: Literal["peaked"] = "peaked"
    vocab: Vocab = 64
    contexts: Count = 1
    logit: Annotated[float, Field(allow_inf_nan=False)] = 5.0


class DirichletSpec(_Part):
    """(1 - floor) Dirichlet(alpha) + floor/V, drawn once per context."""

    kind: Literal["dirichlet"] = "dirichlet"
    vocab: Vocab = 64
    contexts: Count = 1
    alpha: Positive = 2.0
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.1


class NormalLogitsSpec(_Part):
    """Independent normal logits of standard deviation `sd`, drawn once per context: pi is log-normal up to normalisation."""

    kind: Literal["normal_logits"] = "normal_logits"
    vocab: Vocab = 64
    contexts: Count = 1
    sd: Positive = 2.0


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
    sd: Positive | None = None
    exponent: Annotated[float, Field(allow_inf_nan=False)] | None = None
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


class AutoregressiveSpec(_Part):
    """Sequences of `length` tokens: every prefix has its own (1 - floor) Dirichlet(alpha) + floor/V policy;
    contexts are prompts."""

    kind: Literal["autoregressive"] = "autoregressive"
    vocab: Vocab = 4
    length: Count = 3
    contexts: Count = 1
    alpha: Positive = 2.0
    floor: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _bounded(self) -> AutoregressiveSpec:
        if self.vocab**self.length > 65_536:
            raise ValueError(
                f"policy.vocab ** policy.length is {self.vocab**self.length}: every sequence is an outcome here, at most 65536 "
                "of them. Use a smaller vocabulary or length."
            )
        return self


class LanguageModelSpec(_Part):
    """A causal language model: "tiny" (built in), "untrained" (its initial weights), "smollm2-135m", a
    transformers model id, a folder or a .gguf file. For the llm engine."""

    kind: Literal["language_model"] = "language_model"
    model: str = "tiny"


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
    | LanguageModelSpec,
    Field(discriminator="kind"),
]


class PerturbationSpec(_Part):
    """pi != pi_old for one-rollout experiments: log pi = log pi_old + x, normalised.

    law flat, sqrt, inv_sqrt: x_a = z_a times 1, pi_old^(1/2), pi_old^(-1/2), z standard normal, scaled to the given
    pi_old-weighted root mean square; law array: x = values.
    """

    law: Literal["flat", "sqrt", "inv_sqrt", "array"] = "flat"
    rms: Positive = 0.2
    values: tuple[float, ...] | None = None

    @model_validator(mode="after")
    def _has_values(self) -> PerturbationSpec:
        if (self.law == "array") != (self.values is not None):
            raise ValueError('perturbation.values goes with law = "array", and only with it: give both or neither.')
        return self


class UpdateSpec(_Part):
    """One rollout of `minibatches` updates of `batch` samples per context each, `rollouts` times.

    optimizer adam, adamw: the euclidean gradient goes through Adam's moments (betas, eps); adam adds weight_decay times the
    logit to the gradient, adamw shrinks the logit by learning_rate times weight_decay.
    """

    geometry: Geometry = "natural"
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    betas: tuple[Momentum, Momentum] = (0.9, 0.999)
    eps: Positive = 1e-8
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    learning_rate: Positive = 0.1
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
    temperature: Positive = 1.0
    staleness: Annotated[int, Field(ge=0)] = 0
    aggregation: Literal["token", "sequence"] = "token"
    probes: Count = 16
    micro_batch: Count | None = None


class ControlSpec(_Part):
    """A control tied to an arm listed before it.

    drop: remove samples at random, sign by sign, in the share that arm `like` clips in the same update.
    match_kl: scale the learning rate of each update so that its expected KL step is the one arm `like` took.
    """

    kind: Literal["drop", "match_kl"]
    like: str


class Arm(_Part):
    """One variant of the experiment: an objective with its clip widths, or a table with its own parameters."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")]
    objective: ObjectiveSpec | str = "clip"
    low: float | None = None
    high: float | None = None
    control: ControlSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _named_objective(cls, data: Any) -> Any:
        # low and high are the usual knobs, so they live on the arm; a table carries every other parameter.
        if isinstance(data, dict) and isinstance(data.get("objective"), dict):
            data = {**data, "objective": {"kind": "clip", **data["objective"]}}
        return data

    @model_validator(mode="after")
    def _buildable(self) -> Arm:
        self.build()
        return self

    def build(self) -> Objective:
        """The objective with this arm's parameters."""
        widths = {k: v for k, v in (("low", self.low), ("high", self.high)) if v is not None}
        if not isinstance(self.objective, str):
            if widths:
                raise ValueError(
                    f"arm {self.name}: put {', '.join(widths)} inside [arm.objective] when the objective is a table."
                )
            return self.objective
        try:
            return objective_named(self.objective, **widths)
        except TypeError:
            raise ValueError(f"arm {self.name}: objective {self.objective!r} does not take {', '.join(widths)}.") from None


class LedgerSpec(_Part):
    """detail "mean" keeps weighted means over contexts and replicas; "context" one row per context and replica.

    every: account every so manieth update (llm engine; a number coprime with update.minibatches visits all inner steps).
    momentum: under Adam "line" books what earlier minibatches left in the first moment as a part of its own, "cause" carries a
    first moment per cause (llm engine, every = 1).
    """

    detail: Literal["mean", "context"] = "mean"
    every: Count = 1
    momentum: Literal["line", "cause"] = "line"


class Experiment(_Part):
    """A validated experiment. Load one with `load`, or build it in Python; every engine runs the same data."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")] = "custom"
    description: str = ""
    claims: tuple[str, ...] = ()
    seed: Annotated[int, Field(ge=0)] = 0
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
    grid: dict[str, tuple[Any, ...]] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Experiment:
        if self.grid:
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
            if arm.control is not None and arm.control.like not in names[:index]:
                raise ValueError(
                    f"arm {arm.name}: control.like = {arm.control.like!r} must name an arm listed before it, "
                    f"one of {names[:index]}."
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
        """[rollout], or its defaults where a language model's experiment leaves it out."""
        return self.rollout or RolloutSpec()

    def cases(self) -> list[tuple[str, Experiment]]:
        """The experiments of the grid with their labels; one unlabelled case without a grid."""
        if not self.grid:
            return [("", self)]
        base = self.model_dump(exclude={"grid"}, exclude_none=True)
        out = []
        for values in itertools.product(*self.grid.values()):
            data = copy.deepcopy(base)
            for key, value in zip(self.grid, values, strict=True):
                _assign(data, key, value)
            label = ",".join(_label(key, value) for key, value in zip(self.grid, values, strict=True))
            out.append((label, parse_experiment(data)))
        labels = [label for label, _ in out]
        if len(set(labels)) < len(labels):
            raise ValueError(
                f"grid: two cases have the same label, {max(labels, key=labels.count)!r}: vary single keys such as policy.vocab."
            )
        return out

    def to_toml(self) -> str:
        """The experiment as TOML; `load` reads it back to an equal object."""
        return tomli_w.dumps(self.model_dump(exclude_none=True, exclude_defaults=False))

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that name this experiment, seed included."""
        text = json.dumps(self.model_dump(exclude={"description"}), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _label(key: str, value: Any) -> str:
    if isinstance(value, dict):
        extra = [f"{v:g}" if isinstance(v, float) else str(v) for k, v in value.items() if k not in ("kind", "vocab", "contexts")]
        return ":".join([str(value.get("kind", key)), *extra])
    short = key.rsplit(".", 1)[-1]
    return str(value) if isinstance(value, str) else f"{short}={value:g}" if isinstance(value, float) else f"{short}={value}"


def parse_experiment(data: dict[str, Any]) -> Experiment:
    """Validate plain data (as read from TOML) into an Experiment; SpecError names every wrong key, its value and the fix."""
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise SpecError("\n".join(dict.fromkeys(_reworded(e, data) for e in error.errors()))) from None


def _reworded(error: Any, data: dict[str, Any]) -> str:
    """Pydantic's finding as cause, value, fix."""
    # Discriminated unions put the chosen kind into the location; a reader knows the key as written in the file.
    path = [str(p) for p in error["loc"] if not (isinstance(p, str) and p in _KINDS)]
    where, message, value = ".".join(path) or "experiment", error["msg"], error.get("input")
    if error["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"did you mean {'.'.join([*path[:-1], close[0]])}?" if close else f"known keys here: {', '.join(known)}."
        return f"unknown key {where} = {value!r}: {hint}"
    if error["type"] == "value_error":
        return (
            str(error["ctx"]["error"])
            if path[:1] == [] or "." in str(error["ctx"]["error"])
            else f"{where}: {error['ctx']['error']}"
        )
    if error["type"].startswith("union_tag"):
        return f"{where}.kind: {message}"
    return f"{where} = {value!r} is not valid: {message[0].lower()}{message[1:]}."


_KINDS = {
    "uniform", "zipf", "peaked", "dirichlet", "snapshot", "file", "autoregressive", "normal_logits", "hidden",
    "language_model", "bernoulli", "gaussian", "rademacher", "table", "independent", "group", "clip", "none", "dual_clip",
    "cispo", "sapo", "ce_gppo", "dppo_tv", "str", "tagged-union[Clip,NoClip,DualClip,Cispo,Sapo,CeGppo,DppoTv]",
}  # fmt: skip


def _known_keys(path: Sequence[str]) -> list[str]:
    """Keys allowed at a path of section names."""
    schema = Experiment.model_json_schema()

    def resolve(node: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in node:
            return resolve(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]])
        options = node.get("oneOf") or node.get("anyOf")
        if options:
            return [r for o in options for r in resolve(o)]
        if "items" in node:
            return resolve(node["items"])
        return [node]

    nodes = [schema]
    for name in path:
        if not name.isdigit():
            nodes = [r for n in nodes for r in resolve(n.get("properties", {}).get(name, {}))]
    return sorted({key for n in nodes for key in n.get("properties", {})})


def _assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    """data[a][b] = value for "a.b"; list entries (arms) are addressed by name or index."""
    *path, last = dotted.split(".")
    node: Any = data
    for part in path:
        if isinstance(node, (list, tuple)):
            found = [n for i, n in enumerate(node) if n.get("name") == part or str(i) == part]
            if not found:
                raise SpecError(f"--set {dotted}: there is no {part!r} among {[n.get('name') for n in node]}.")
            node = found[0]
        else:
            node = node.setdefault(part, {})
            if not isinstance(node, (dict, list, tuple)):
                raise SpecError(f"--set {dotted}: {part} is a value, not a section.")
    if isinstance(node, (list, tuple)):
        raise SpecError(f"--set {dotted}: name the entry and its key, for example arm.both.high.")
    node[last] = value


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return float(text)  # TOML has no ".2"
    except ValueError:
        return text


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> None:
    """Apply "section.key=value" strings in place; values are read as TOML, else as text."""
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep or not key.strip():
            raise SpecError(f"--set {item!r} is not of the form key=value, for example update.learning_rate=0.2.")
        _assign(data, key.strip(), _parse_value(text.strip()))


def experiment_names() -> list[str]:
    """Names of the experiments that ship with the package."""
    return sorted(p.name[:-5] for p in resources.files("entclip.experiments").iterdir() if p.name.endswith(".toml"))


def load(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Experiment:
    """A shipped experiment by name, or a TOML file by path, with optional "key=value" overrides.

    Raises: SpecError for an unknown name, unreadable file, TOML syntax error, unknown key or value out of range.
    """
    name = str(name_or_path)
    path = Path(name_or_path)
    if name in experiment_names():
        text = resources.files("entclip.experiments").joinpath(f"{name}.toml").read_text()
    elif path.is_file():
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"cannot read the experiment {path}: {error}.") from None
    else:
        close = difflib.get_close_matches(name, experiment_names(), n=1)
        hint = f"did you mean {close[0]}?" if close else f"the shipped ones are {', '.join(experiment_names())}."
        raise SpecError(f"no experiment named {name!r} and no such file: {hint}")
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{name} is not valid TOML: {error}.") from None
    apply_overrides(data, overrides)
    return parse_experiment(data)
