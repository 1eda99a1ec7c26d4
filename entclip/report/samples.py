"""The table of what `ledger_from_samples` found in one update: means over tokens, with errors over responses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from entclip.ledger.from_samples import EUCLIDEAN, lacking
from entclip.objectives.base import CAUSES
from entclip.report.grid import Grid, text_grid
from entclip.report.numbers import plain, with_error

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["samples_grid", "samples_means", "steps_grid"]


def samples_means(frame: pd.DataFrame) -> dict[str, float | None]:
    """Return means over tokens, with the standard errors of ratios of sums over responses, which are taken as independent."""
    weight = frame["weight"].to_numpy()
    out: dict[str, float | None] = {
        "tokens": len(frame),
        "responses": int(frame["sequence"].nunique()),
        "entropy": float(frame["entropy"].mean()),
        "log_ratio_mean": float(frame["log_ratio"].mean()),
        "log_ratio_rms": float((frame["log_ratio"] ** 2).mean() ** 0.5),
        "ratio_max": float(frame["ratio"].max()),
    }
    for side in ("low", "high", "other"):
        out[f"clip_fraction_{side}"] = float(frame[f"clipped_{side}"].mean())
    for name in (*CAUSES, *EUCLIDEAN):
        out[name], out[f"{name}_se"] = _ratio(frame["sequence"].to_numpy(), frame[name].to_numpy(), weight)
    return {name: None if value is not None and math.isnan(value) else value for name, value in out.items()}


def _ratio(sequence: np.ndarray, values: np.ndarray, weight: np.ndarray) -> tuple[float, float | None]:
    """Sum of values over sum of weights, and its standard error over responses."""
    import numpy as np

    place = np.unique(sequence, return_inverse=True)[1]
    tops, bottoms = (np.bincount(place, weights=x) for x in (values, weight))
    mean, count = tops.sum() / bottoms.sum(), len(tops)
    if count < 2:
        return float(mean), None
    spread = np.sum((tops - mean * bottoms) ** 2) * count / (count - 1)
    return float(mean), float(math.sqrt(spread) / bottoms.sum())


def samples_grid(frame: pd.DataFrame) -> Grid:
    """Tabulate one update; what the data lack is named below the table."""
    found = samples_means(frame)
    rows = [] if found["entropy"] is None else [("entropy", plain(found["entropy"], True), "nats, at the tokens taken")]
    for name in (*CAUSES, *EUCLIDEAN):
        if found[name] is not None:
            rows.append((name.replace("_", " "), with_error(found[name], found[f"{name}_se"]), "nats per unit rate"))
    for side in ("low", "high", "other"):
        rows.append((f"clip fraction {side}", plain(found[f"clip_fraction_{side}"] or 0.0, False), "of the tokens"))
    rows += [(name.replace("_", " "), plain(found[name] or 0.0, True), "1") for name in ("log_ratio_mean", "log_ratio_rms")]
    rows.append(("ratio max", plain(found["ratio_max"] or 0.0, False), "1"))
    title = f"One update, means over {len(frame):,} tokens of {found['responses']:,} responses (standard error over responses)"
    return text_grid(title, ("quantity", "mean", "unit"), rows, notes=_notes(frame))


def steps_grid(frames: Mapping[Any, pd.DataFrame]) -> Grid:
    """Tabulate several updates, a line each."""
    rows = []
    for step, frame in frames.items():
        x = samples_means(frame)
        causes = (with_error(x[name], x[f"{name}_se"]) for name in ("unclipped", "clip_low", "clip_high"))
        shares = (plain(x[f"clip_fraction_{side}"] or 0.0, False) for side in ("low", "high"))
        rows.append((str(step), "-" if x["entropy"] is None else plain(x["entropy"], False), *causes, *shares))
    title = f"{len(frames)} updates: causes in nats per unit learning rate (standard error over responses), shares of tokens"
    columns = ("step", "entropy", "unclipped", "clip low", "clip high", "share low", "share high")
    return text_grid(title, columns, rows, notes=_notes(next(iter(frames.values()))))


def _notes(frame: pd.DataFrame) -> list[str]:
    return [said[0].upper() + said[1:] for said in lacking(frame)]
