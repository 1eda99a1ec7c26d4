"""Where a run of the tokens engine starts: its device, the memory it will take, its tables."""

from __future__ import annotations

import os

import numpy as np
import torch

from entclip.engines.tokens.kernels.passes import Tensor
from entclip.engines.tokens.kernels.reference import block_bytes
from entclip.experiments.experiment import Experiment
from entclip.experiments.sections import AutoregressiveSpec, PeakedSpec, UniformSpec, ZipfSpec
from entclip.experiments.start import start_of
from entclip.support.errors import SpecError

__all__ = ["check_device", "check_memory", "initial_tables"]

_RESERVE = 0.95  # of what is free
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


def _available(device: torch.device) -> int:
    """Bytes that can be allocated now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo", encoding="utf-8") as file:
            return int(next(line for line in file if line.startswith("MemAvailable")).split()[1]) * 1024
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _one_for_all(experiment: Experiment) -> bool:
    """Every context has the same policy: one row is drawn and repeated."""
    return isinstance(experiment.policy, UniformSpec | ZipfSpec | PeakedSpec) and (
        experiment.perturbation is None or experiment.perturbation.law == "array"
    )


def _first(experiment: Experiment) -> Experiment:
    """The experiment with one of its equal contexts."""
    single = experiment.policy.model_copy(update={"contexts": 1})
    return experiment.model_copy(update={"policy": single, "weights": None})


def check_memory(experiment: Experiment, device: torch.device, dtype: torch.dtype) -> None:
    """Raise SpecError, before anything is allocated, if the tables of a run cannot fit."""
    spec = experiment.policy
    if isinstance(spec, AutoregressiveSpec):
        raise SpecError(
            'policy.kind = "autoregressive": the tokens engine has one token per sequence; use the sampled or the exact engine.'
        )
    contexts, vocab = getattr(spec, "contexts", None), getattr(spec, "vocab", None)
    if contexts is None or vocab is None:
        return  # given as data, which is small enough to have been written
    tables = 2 + 2 * (experiment.update.optimizer != "sgd")
    size = dtype.itemsize * vocab
    need = experiment.replicas * contexts * size * tables + block_bytes(device.type, vocab)
    free = _available(device)
    if need > _RESERVE * free:
        units = experiment.replicas * contexts
        raise SpecError(
            f"the tokens engine would hold {tables} tables of {units:,} x {vocab:,} {str(dtype).removeprefix('torch.')} and its "
            f"blocks, {need / 2**30:.1f} GiB, but {free / 2**30:.1f} GiB are free on {device}: use fewer contexts or replicas, "
            'dtype = "float32", or the engine "reduced".'
        )


def initial_tables(experiment: Experiment, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor | None, np.ndarray]:
    """Return logits (U, V); pi_old's logits if a perturbation sets them apart; context weights d(s) of mean 1, (C,)."""
    shared = _one_for_all(experiment)
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
