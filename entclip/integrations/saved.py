"""Batches that TRL and verl saved, read into the ledger of samples under the trainers' own names.

A batch is a mapping of tensors, or a file of one: torch.save({...}, "batch.pt"), numpy's .npz or .safetensors.

TRL 1.16   what `_compute_loss(model, inputs)` gets: advantages, completion_mask, tool_mask, old_per_token_logps,
           importance_sampling_ratio; and per_token_logps and entropies of `_get_per_token_logps_and_entropies`
verl 0.9.1 what a DataProto's `batch` holds: advantages, response_mask, old_log_probs, entropys, sum_pi_squared,
           rollout_is_weights; and log_probs, which the loss is given

The parquet of TRL's log_completions and the JSONL of verl's rollout_data_dir hold text and scores and no log-probabilities: no
ledger can be made of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from entclip.ledger.batch_values import numbers
from entclip.ledger.from_samples import ledger_from_samples
from entclip.objectives.base import Objective
from entclip.support.errors import DamagedFileError, SpecError
from entclip.support.extras import not_installed

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_saved_batch"]


class _Names(NamedTuple):
    """What a trainer calls the arrays of a batch."""

    trainer: str
    mask: str
    old: str
    now: str
    entropy: str
    sum_sq: str
    weights: str


_TRL = _Names("TRL", "completion_mask", "old_per_token_logps", "per_token_logps", "entropies", "-", "importance_sampling_ratio")
_VERL = _Names("verl", "response_mask", "old_log_probs", "log_probs", "entropys", "sum_pi_squared", "rollout_is_weights")
_LOG_SUM = "sum_pi_squared_log_pi"  # ours: no trainer saves it


def read_saved_batch(batch: Mapping[str, Any] | str | Path, clip: Objective | tuple[float, float]) -> pd.DataFrame:
    """Return the frame of `ledger_from_samples` of a batch that TRL or verl saved.

    Where log-probabilities of the current policy are missing they are those of the old one, as at the first update of a rollout:
    every ratio is then 1, and no clip acts. sum_pi_squared_log_pi, beside verl's sum_pi_squared and the entropy, gives the causes
    of the euclidean geometry, too.

    Args:
        batch: a mapping of tensors, or a .pt, .npz or .safetensors file that holds one.
        clip: the two widths, or an objective: DualClip(.2, .2, 3.0) is verl's default.
    Raises: SpecError for a batch of neither trainer, one without log-probabilities, and a pickle, which would run code when it is
        read; ValueError as ledger_from_samples.
    """
    held = batch if isinstance(batch, Mapping) else _load(Path(batch))
    names = next((n for n in (_TRL, _VERL) if n.mask in held), None)
    if names is None or "advantages" not in held:
        raise SpecError(
            f"the batch holds {', '.join(sorted(map(str, held))[:8]) or 'nothing'}: a ledger needs advantages with "
            "completion_mask (TRL) or response_mask (verl)."
        )
    old = held.get(names.old, held.get(names.now))
    if old is None:
        raise SpecError(
            f"the batch of {names.trainer} has neither {names.old} nor {names.now}: without log-probabilities of the tokens no "
            "ledger can be made. Save one of them with it."
        )
    mask = numbers(names.mask, held[names.mask])
    if "tool_mask" in held:
        mask = mask * numbers("tool_mask", held["tool_mask"])
    return ledger_from_samples(
        held.get(names.now, old),
        old,
        _advantages(held["advantages"]),
        mask,
        clip,
        entropy=held.get(names.entropy),
        sum_pi_sq=held.get(names.sum_sq),
        sum_pi_sq_log_pi=held.get(_LOG_SUM),
        weights=held.get(names.weights),
    )


def _advantages(value: Any) -> np.ndarray:
    """One number per response where all its tokens share a column of its own, (B, 1)."""
    array = numbers("advantages", value)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _load(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        raise SpecError(f"{path} is no file: give a .pt, .npz or .safetensors file of a batch.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return dict(load_file(path))
        return _torch_load(path)
    except ImportError as error:
        raise SpecError(not_installed(f"reading {path.name}", str(error.name), "llm")) from None
    except SpecError:
        raise
    except (ValueError, OSError, EOFError) as error:
        raise DamagedFileError(f"{path} cannot be read as a batch ({str(error).splitlines()[0]}): save it again.") from None


def _torch_load(path: Path) -> Mapping[str, Any]:
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of another protocol, before the file is refused
            held = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError):
        raise SpecError(
            f"{path} is no plain file of tensors (verl's DataProto.save_to_disk writes a pickle), and reading it could run code "
            "that is in it. Where you trust it, load it there and torch.save({k: v for k, v in data.batch.items()}, FILE)."
        ) from None
    if not isinstance(held, Mapping):
        raise SpecError(f"{path} holds a {type(held).__name__}: a batch is a dictionary of tensors.")
    return held
