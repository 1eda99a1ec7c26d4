"""prime-rl's token export read into the ledger of samples: what each update did to entropy, by side of its mask.

With `enable_token_export = true` prime-rl writes `token_exports/step_N/rank_R.jsonl`, a line for each sequence with arrays of one
entry per token: advantages, log-probabilities of the trainer and of the engine that sampled, entropy, and which tokens its loss
masked at which side. Read against schema_version 1 (src/prime_rl/trainer/rl/token_export.py of 0.8.1.dev67).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entclip.drift.samples import masked_parts
from entclip.ledger.from_samples import Tokens
from entclip.support.errors import DamagedFileError, SpecError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCHEMA", "read_token_export", "token_export_files"]

SCHEMA = 1
_ROWS = {"trainer_logprobs": "log_probs", "inference_logprobs": "old_log_probs", "advantages": "advantages", "entropy": "entropy"}
_MASKS = ("is_masked_low", "is_masked_high")


def token_export_files(path: Path) -> list[Path]:
    """Return the files of a token export: path is one, or a step's folder, `token_exports`, or the run's folder; else none."""
    if path.is_file():
        return [path] if path.suffix == ".jsonl" and _header(path) else []
    for pattern in ("rank_*.jsonl", "step_*/rank_*.jsonl", "token_exports/step_*/rank_*.jsonl"):
        if found := sorted(path.glob(pattern)):
            return found
    return []


def read_token_export(path: str | Path) -> dict[int, pd.DataFrame]:
    """Return the frame of `ledger_from_samples` for every step of a token export.

    pi_old is the engine that sampled, so that its rounding is in the ratios, as it is in prime-rl's loss. The sides are those
    tokens that the loss masked, by the export's own account; entropy is that of the trainer's policy before the update, so that
    causes of the natural geometry have their exact baseline, and those of the euclidean one lack it. The penalty on the squared
    log-ratio (kl_tau) and the factor adv_tau are not in the export: causes are those of the masked surrogate alone.

    Raises: SpecError for a path without an export, or one of a loss that has no sides; DamagedFileError for a file that is not
        what prime-rl writes.
    """
    files = token_export_files(Path(path))
    if not files:
        raise SpecError(
            f"{path} holds no token export of prime-rl: give token_exports, or step_N/rank_R.jsonl in it. A run writes them with "
            "enable_token_export = true."
        )
    steps: dict[int, dict[str, list[np.ndarray]]] = {}
    for file in files:
        for number, line in _lines(file):
            record = _record(file, number, line)
            kept = steps.setdefault(record["step"], {})
            for name, row in _sequence(file, number, record).items():
                kept.setdefault(name, []).append(row)
    return {step: _frame(rows) for step, rows in sorted(steps.items())}


def _frame(rows: dict[str, list[np.ndarray]]) -> pd.DataFrame:
    low, high = (np.concatenate(rows.pop(name)) for name in _MASKS)
    kept = np.concatenate(rows["mask"]) != 0
    tokens = Tokens.read(rows)
    x = tokens.values
    return tokens.frame(masked_parts(x["log_probs"], x["old_log_probs"], x["advantages"], low[kept], high[kept]))


def _sequence(file: Path, number: int, record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The arrays of one sequence; tokens that the loss does not count are masked."""
    size = len(record["loss_mask"])
    weights = [1.0 if w is None else w for w in record["rl_weights"]]
    mask = np.array(record["loss_mask"], dtype=bool) & (np.array(weights) != 0)
    if bool(mask.any()) and any(record[name][int(np.argmax(mask))] is None for name in _MASKS):
        raise SpecError(
            f"{file}, line {number}: is_masked_low is null, as with trainer.loss.type other than default, whose masks have no "
            "sides. Give ledger_from_samples the arrays and an objective of your own."
        )
    out = {ours: np.array([np.nan if v is None else v for v in record[theirs]], dtype=float) for theirs, ours in _ROWS.items()}
    out |= {name: np.array([bool(v) for v in record[name]]) for name in _MASKS}
    if any(len(row) != size for row in out.values()) or len(weights) != size:
        raise DamagedFileError(f"{file}, line {number}: its arrays differ in length. Export the step again.")
    bad = [theirs for theirs, ours in _ROWS.items() if not np.all(np.isfinite(out[ours][mask]))]
    if bad:
        raise DamagedFileError(
            f"{file}, line {number}: {bad[0]} is null at a token that counts: the run had NaN or infinity there."
        )
    return out | {"mask": mask, "weights": np.array(weights)}


def _record(file: Path, number: int, line: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise DamagedFileError(
            f"{file}, line {number} is no JSON ({error}): the run may have been cut off. Drop that line."
        ) from None
    if not isinstance(record, dict) or record.get("schema_version") != SCHEMA:
        version = record.get("schema_version") if isinstance(record, dict) else None
        raise SpecError(f"{file}, line {number}: schema_version is {version!r}, and this entclip reads {SCHEMA}.")
    missing = [name for name in ("step", "loss_mask", "rl_weights", *_ROWS, *_MASKS) if name not in record]
    if missing:
        raise DamagedFileError(f"{file}, line {number} has no {missing[0]}: it is no token export of prime-rl 0.8.")
    return record


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    with file.open(encoding="utf-8") as opened:
        yield from ((number, line) for number, line in enumerate(opened, 1) if line.strip())


def _header(path: Path) -> bool:
    """Whether the first line is one of a token export."""
    try:
        with path.open(encoding="utf-8") as opened:
            start = opened.read(200)
    except (OSError, UnicodeDecodeError):
        return False
    return '"schema_version"' in start and bool(re.search(r'"micro_step"|"rank"', start))
