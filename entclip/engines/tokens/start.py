"""Where a run of the tokens engine starts: its device, the memory it will take, its tables."""

from __future__ import annotations

import numpy as np
import torch

from entclip.engines.tokens.facts import one_for_all
from entclip.engines.tokens.kernels.passes import Tensor
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import AutoregressiveSpec
from entclip.experiments.start import start_of
from entclip.support.errors import SpecError

__all__ = ["check_device", "initial_tables", "refuse_sequences"]

_COPY_ROWS = 64


def check_device(name: str) -> torch.device:
    """Return the torch device of that name; SpecError where there is none."""
    if name not in ("cpu", "cuda"):
        raise SpecError(f'device = {name!r}: the tokens engine runs on "cpu" or "cuda".')
    if name == "cuda" and not torch.cuda.is_available():
        build = f"torch {torch.__version__} was built for CUDA {torch.version.cuda}"
        if torch.version.cuda is None:
            build = f"torch {torch.__version__} was built without CUDA"
        raise SpecError(f'device = "cuda", but no CUDA device can be used ({build}): use device = "cpu".')
    return torch.device(name)


def _first(experiment: Experiment) -> Experiment:
    """The experiment with one of its equal contexts."""
    single = experiment.policy.model_copy(update={"contexts": 1})
    return experiment.model_copy(update={"policy": single, "weights": None})


def refuse_sequences(experiment: Experiment) -> None:
    """Raise SpecError for a policy of sequences."""
    if isinstance(experiment.policy, AutoregressiveSpec):
        raise SpecError(
            'policy.kind = "autoregressive": the tokens engine has one token per sequence; use the sampled or the exact engine.'
        )


def initial_tables(experiment: Experiment, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, np.ndarray]:
    """Return logits (U, V); pi_old's logits if a perturbation sets them apart; context weights d(s) of mean 1, (C,)."""
    shared = one_for_all(experiment)
    start = start_of(_first(experiment) if shared else experiment)
    contexts = getattr(experiment.policy, "contexts", None) if shared else len(start.weights)
    assert contexts is not None
    d = np.ones(contexts) if experiment.weights is None else np.asarray(experiment.weights, dtype=np.float64)

    def table(log_probs: np.ndarray) -> Tensor:
        rows = np.broadcast_to(log_probs[:, 0], (contexts, log_probs.shape[-1]))
        out = torch.empty((experiment.replicas, *rows.shape), dtype=dtype, device=device)
        for first in range(0, contexts, _COPY_ROWS):
            part = slice(first, first + _COPY_ROWS)
            out[:, part] = torch.as_tensor(np.array(rows[part]), device=device)
        return out.reshape(-1, rows.shape[1])

    old = None if experiment.perturbation is None else table(start.old_log_probs)
    return table(start.log_probs), old, d / d.mean()
