"""The table of what `ledger_from_arrays` found in one update: means over the contexts of a batch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from entclip.ledger.contexts_file import ADDED
from entclip.objectives.base import CAUSES
from entclip.report.grid import Grid, text_grid
from entclip.report.numbers import plain, with_error

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["contexts_grid", "contexts_means"]


def contexts_means(frame: pd.DataFrame) -> dict[str, float | None]:
    """Return means over contexts with their standard errors, contexts taken as independent; of a gap, mass over probability."""
    out: dict[str, float | None] = {"contexts": len(frame)}
    for name in ("entropy_before", "entropy", *ADDED, *CAUSES):
        out[name] = float(frame[name].mean())
        out[f"{name}_se"] = float(frame[name].std() / math.sqrt(len(frame))) if len(frame) > 1 else None
    for side in ("low", "high"):
        probability = float(frame[f"pi_{side}"].mean())
        mass = float((frame[f"pi_{side}"] * frame[f"gap_{side}"]).sum()) / len(frame)
        out[f"clip_fraction_{side}"] = float(frame[f"clipped_{side}"].mean())
        out[f"pi_{side}"], out[f"gap_{side}"] = probability, mass / probability if probability > 0 else None
    return out


def contexts_grid(frame: pd.DataFrame) -> Grid:
    """Tabulate one update: its entropy change in nats, and the causes per unit of learning rate."""
    found = contexts_means(frame)
    rows = [("entropy before", with_error(found["entropy_before"], found["entropy_before_se"]), "nats")]
    rows += [(name.replace("_", " "), with_error(found[name], found[f"{name}_se"]), "nats") for name in ADDED]
    rows += [(name.replace("_", " "), with_error(found[name], found[f"{name}_se"]), "nats per unit rate") for name in CAUSES]
    for side in ("low", "high"):
        gap = found[f"gap_{side}"]
        rows.append((f"clip fraction {side}", plain(found[f"clip_fraction_{side}"] or 0.0, False), "of the tokens"))
        rows.append((f"gap {side}", "-" if gap is None else plain(gap, True), "nats"))
    title = f"One update, means over {len(frame):,} contexts (standard error over contexts, as if independent)"
    return text_grid(title, ("quantity", "mean", "unit"), rows)
