"""The figure of docs/pretrained.md: every arm minus no clipping, pair by pair, with 99 % intervals."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from entclip.report.style import WIDE, new_figure, write_figure

__all__ = ["figure"]


def figure(head: Mapping[str, Any], out: Path) -> None:
    """Draw what `decide` says of the headline."""
    shown = {name: arm["minus_none"] for name, arm in head["arms"].items() if arm["minus_none"] is not None}
    fig = new_figure(WIDE, 3.4)
    axes = fig.subplots()
    for place, found in enumerate(shown.values()):
        values = np.asarray(found["values"])
        aside = place + 0.12 + 0.05 * (np.argsort(np.argsort(values)) % 6)  # beside the interval, neighbours apart
        axes.plot(aside, values, "o", ms=3, mfc="white", mec="0.45", mew=0.8)
        if found["half_99"] is not None:
            axes.errorbar(place - 0.15, found["mean"], found["half_99"], fmt="D", color="black", ms=5, capsize=5, lw=1.6)
        axes.axvspan(place - 0.5, place + 0.5, color="0.95" if place % 2 else "white", lw=0)
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xticks(range(len(shown)), [name.replace("_", "\n") for name in shown], fontsize=9)
    axes.set_ylabel("nats, minus no clipping", fontsize=9)
    axes.tick_params(axis="y", labelsize=9)
    axes.set_xlim(-0.5, len(shown) - 0.5)
    fig.tight_layout()
    write_figure(fig, out)
