"""A model in training, and one rollout of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from entclip.engines.llm.language import Language
from entclip.engines.llm.probe import Probe, entropy_gradient, probe_log_probs
from entclip.engines.llm.sampling import Sequences, grouped_log_probs, response_log_probs
from entclip.engines.llm.threads import is_small
from entclip.experiments.sections import RolloutSpec, UpdateSpec

__all__ = ["FirstPass", "Replica", "Responses", "load_values", "make_optimizer", "pieces", "values_of"]


@dataclass(frozen=True)
class FirstPass:
    """What the starting policy says of some responses: log pi of their tokens (N, R), and one gradient of sum(weight log pi)."""

    log_probs: Any
    weight: Any
    gradient: list[Any]

    def again(self, weight: Any) -> list[Any] | None:
        """Return the gradient for these weights if they are the known ones or their negatives, bit for bit; else None.

        Rounding to nearest is the same on both sides of 0, so a pass with negated weights gives the negated gradient.
        """
        if torch.equal(weight, self.weight):
            return self.gradient
        return [-g for g in self.gradient] if torch.equal(weight, -self.weight) else None


@dataclass
class Replica:
    """One model in training; updates change it in place."""

    language: Language
    optimizer: Any
    stream: int  # key of its random numbers: antithetic partners share it
    mirror: bool
    probe: Probe
    now: tuple[list[Any], list[Any]] | None = None  # log pi on the probe contexts and the gradient of H, once known
    averages: dict[str, list[Any]] | None = None  # first averages by cause, if the ledger carries momentum per cause
    lagged: dict[str, Any] | None = None  # weights that generate the next rollout, if pi_old lags
    first: dict[int, FirstPass] | None = None  # of the first minibatch, shared by replicas that start alike

    @property
    def parameters(self) -> list[Any]:
        """Return what the optimiser trains."""
        trained: list[Any] = self.optimizer.param_groups[0]["params"]
        return trained

    def look(self) -> tuple[list[Any], list[Any]]:
        """Return log pi on the probe contexts and the gradient of H, computed once per update."""
        if self.now is None:
            self.now = entropy_gradient(self.language.model, self.probe, self.parameters)
        return self.now

    def peek(self) -> list[Any]:
        """Return log pi on the probe contexts, without the gradient of H."""
        return probe_log_probs(self.language.model, self.probe) if self.now is None else self.now[0]

    def pack(self) -> dict[str, np.ndarray]:
        """Return all that training depends on: weights, the optimiser's state, averages by cause, lagging weights."""
        out: dict[str, np.ndarray] = {}
        for name, parameter in self.language.model.named_parameters():
            out[f"value/{name}"] = parameter.detach().cpu().numpy()
            for key, value in self.optimizer.state.get(parameter, {}).items():
                out[f"optimizer.{key}/{name}"] = np.asarray(value.cpu())
            if self.lagged is not None:
                out[f"lagged/{name}"] = self.lagged[name].cpu().numpy()
        for cause, vectors in (self.averages or {}).items():
            out |= {f"moment.{cause}/{place}": vector.cpu().numpy() for place, vector in enumerate(vectors)}
        return out

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put back what `pack` gave, bit for bit."""
        self.now = None
        for name, parameter in self.language.model.named_parameters():
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.array(arrays[f"value/{name}"])))
            own: dict[str, Any] = {}
            for key, value in arrays.items():
                kind, _, rest = key.partition("/")
                if kind.startswith("optimizer.") and rest == name:
                    # Adam keeps its count of steps on the CPU whatever the device.
                    where = "cpu" if kind == "optimizer.step" else parameter.device
                    own[kind.removeprefix("optimizer.")] = torch.from_numpy(np.array(value)).to(where)
            if own:
                self.optimizer.state[parameter] = own
            if f"lagged/{name}" in arrays:
                self.lagged = (self.lagged or {}) | {
                    name: torch.from_numpy(np.array(arrays[f"lagged/{name}"])).to(parameter.device)
                }
        for cause in dict.fromkeys(key.partition("/")[0].removeprefix("moment.") for key in arrays if key.startswith("moment.")):
            assert self.averages is not None
            self.averages[cause] = [
                torch.from_numpy(np.array(arrays[f"moment.{cause}/{place}"])).to(parameter.device)
                for place, parameter in enumerate(self.parameters)
            ]

    def log_probs(self, batch: Sequences, rules: RolloutSpec) -> Any:
        """Return log pi of the response tokens, (N, R)."""
        model = self.language.model
        # Two passes for one pay where a pass is arithmetic. A window that slides has a cache of another kind.
        windowed = getattr(model.config.get_text_config(), "sliding_window", None)
        each = response_log_probs if is_small(model) or windowed else grouped_log_probs
        return each(model, batch, rules.temperature, self.probe.dtype)


@dataclass(frozen=True)
class Responses:
    """One rollout in the order of its minibatches: sequences, advantages (N, 1), log pi_old (N, R), log pi_old on the probe."""

    sequences: Sequences
    advantages: Any
    old_log_probs: Any
    old: list[Any]


def make_optimizer(update: UpdateSpec, model: Any) -> Any:
    """Make torch's SGD, Adam or AdamW over all weights."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if update.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=update.learning_rate)
    kind = torch.optim.AdamW if update.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=update.learning_rate, betas=update.betas, eps=update.eps, weight_decay=update.weight_decay)


def values_of(model: Any) -> dict[str, Any]:
    """Return a copy of all weights."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def load_values(model: Any, values: Mapping[str, Any]) -> None:
    """Put weights back."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(values[name])


def pieces(batch: int, minibatches: int, rules: RolloutSpec) -> list[slice]:
    """Return rows of each forward pass: minibatch by minibatch, in micro-batches."""
    micro = rules.micro_batch or batch
    return [
        slice(start + k, min(start + k + micro, start + batch))
        for start in range(0, batch * minibatches, batch)
        for k in range(0, batch, micro)
    ]
