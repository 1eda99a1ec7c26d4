"""The figure of docs/shared_parameters.md: noise law, entropy change by arm, gaps, with 95 % intervals over antithetic pairs.

Its caption stands on that page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from entclip.findings.shared_parameters.numbers import change, gap, interval
from entclip.report.style import LINES, WIDE, dress, legend_above, new_figure, write_figure

__all__ = ["figure"]

_LOOKS = LINES[1:]  # black is for axes and intervals


def figure(data: dict[str, Any], out: Path) -> None:
    """Draw every setting in the data file."""
    settings = [name for name in data if name != "edges"]
    edges = np.asarray(data["edges"])
    middle = np.sqrt(edges[1:] * edges[:-1])
    tall = 9.6
    fig = new_figure(WIDE, tall)
    axes = fig.subplots(3, 1)
    for name, look in zip(settings, _LOOKS, strict=False):
        law = data[name]["arms"]["none"]["noise_law"]
        kept = [k for k, c in enumerate(law["count"]) if c >= 100]
        axes[0].loglog(middle[kept], [law["rms"][k] for k in kept], "-", marker=look.marker, color=look.colour, ms=4, label=name)
        axes[0].loglog(
            middle[kept], [law["own"][k] for k in kept], "--", lw=1, marker=look.marker, ms=3, mfc="white", color=look.colour
        )
    axes[0].set(xlabel="pi_old", ylabel="rms of log r")
    dress(axes[0], "Noise law without clipping (dashed: the logit's own move)")
    width = 0.8 / len(settings)
    arms = [a for a in data[settings[0]]["arms"] if a != "none"]
    for i, (name, (colour, _, marker, hatch)) in enumerate(zip(settings, _LOOKS, strict=False)):
        found = data[name]["arms"]
        shown = [a for a in arms if a in found]
        stats = [interval(change(found[a], found["none"])) for a in shown]
        scale = max(abs(m) + h for m, h in stats) if stats else 1.0
        at = np.array([arms.index(a) for a in shown]) + (i - len(settings) / 2) * width
        heights, halves = [m / scale for m, _ in stats], [h / scale for _, h in stats]
        axes[1].bar(at, heights, width, yerr=halves, label=f"x {scale:.2g}", color=colour, hatch=hatch, edgecolor="black", lw=0.6)
        both = found.get("both")
        for k, (side, kind) in enumerate((s, q) for q in ("mass", "surprise") for s in ("low", "high")):
            value = None if both is None else gap(both, side, kind)
            if value is not None:
                axes[2].errorbar(k + (i - len(settings) / 2) * width, *value, fmt=marker, ms=5, color=colour)
    axes[1].axhline(0, color="k", lw=0.5)
    axes[1].set_xticks(range(len(arms)), [a.replace("_", "_\n", 1) for a in arms])
    axes[1].set(ylabel="each setting on its own scale")
    dress(axes[1], "Entropy change minus that of no clip (nats)")
    axes[2].axhline(0, color="k", lw=0.5)
    axes[2].set_xticks(range(4), ["low,\neuclidean", "high,\neuclidean", "low,\nnatural", "high,\nnatural"])
    axes[2].set(ylabel="gap (nats)")
    dress(axes[2], "Gaps of T6, arm both")
    # Each setting's bar beneath its line.
    handles = [h for pair in zip(*(panel.get_legend_handles_labels()[0] for panel in axes[:2]), strict=True) for h in pair]
    head = legend_above(fig, handles, tall)
    fig.tight_layout(rect=(0, 0, 1, 1 - head / tall), h_pad=1.5)
    write_figure(fig, out)
