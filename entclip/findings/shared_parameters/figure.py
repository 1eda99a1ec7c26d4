"""The figure of docs/shared_parameters.md: noise law, entropy change by arm, gaps, with 95 % intervals over antithetic pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from entclip.findings.shared_parameters.numbers import change, gap, interval
from entclip.report.style import LINES, new_figure, write_figure

__all__ = ["figure"]

_LOOKS = LINES[1:]  # black is for axes and intervals
_CAPTION = (
    "All measured; bars are 95 % intervals over antithetic pairs (Student's t). Left: rms of log(pi/pi_old) after one rollout "
    "without clipping, dashed its part by the token's own logit.\n"
    "Middle: control variates under SGD, raw under AdamW and for an arm whose step size follows from its samples; each setting "
    "is divided by its largest bound,\n"
    "given in its label. Right: mean entropy value of the actions beyond a bound minus the policy's mean."
)


def figure(data: dict[str, Any], out: Path) -> None:
    """Draw every setting in the data file."""
    settings = [name for name in data if name != "edges"]
    edges = np.asarray(data["edges"])
    middle = np.sqrt(edges[1:] * edges[:-1])
    fig = new_figure(13, 4.6)
    axes = fig.subplots(1, 3)
    for name, look in zip(settings, _LOOKS, strict=False):
        law = data[name]["arms"]["none"]["noise_law"]
        kept = [k for k, c in enumerate(law["count"]) if c >= 100]
        axes[0].loglog(middle[kept], [law["rms"][k] for k in kept], "-", marker=look.marker, color=look.colour, ms=4, label=name)
        own = law["own"] if "own" in law else law["parts"]["own"]
        axes[0].loglog(middle[kept], [own[k] for k in kept], "--", lw=1, marker=look.marker, ms=3, mfc="white", color=look.colour)
    axes[0].set(xlabel="pi_old", ylabel="rms of log r (dashed: the logit's own move)", title="Noise law, no clip")
    axes[0].legend(fontsize=8)
    width = 0.8 / len(settings)
    arms = [a for a in data[settings[0]]["arms"] if a != "none"]
    for i, (name, (colour, _, marker, hatch)) in enumerate(zip(settings, _LOOKS, strict=False)):
        found = data[name]["arms"]
        shown = [a for a in arms if a in found]
        stats = [interval(change(found[a], found["none"])) for a in shown]
        scale = max(abs(m) + h for m, h in stats) if stats else 1.0
        at = np.array([arms.index(a) for a in shown]) + (i - len(settings) / 2) * width
        heights, halves = [m / scale for m, _ in stats], [h / scale for _, h in stats]
        axes[1].bar(
            at, heights, width, yerr=halves, label=f"{name} (x {scale:.2g})", color=colour, hatch=hatch, edgecolor="black", lw=0.6
        )
        both = found.get("both")
        for k, (side, kind) in enumerate((s, q) for q in ("mass", "surprise") for s in ("low", "high")):
            value = None if both is None else gap(both, side, kind)
            if value is not None:
                axes[2].errorbar(k + (i - len(settings) / 2) * width, *value, fmt=marker, ms=5, color=colour)
    axes[1].axhline(0, color="k", lw=0.5)
    axes[1].set_xticks(range(len(arms)), arms, rotation=25, ha="right")
    axes[1].set(ylabel="nats, each setting on its own scale", title="Entropy change minus that of no clip")
    axes[1].legend(fontsize=7)
    axes[2].axhline(0, color="k", lw=0.5)
    axes[2].set_xticks(range(4), ["low, euclidean", "high, euclidean", "low, natural", "high, natural"], rotation=25, ha="right")
    axes[2].set(ylabel="gap (nats)", title="Gaps of T6, arm both")
    fig.text(0.01, 0.02, _CAPTION, fontsize=8)
    fig.tight_layout(rect=(0, 0.09, 1, 1))
    write_figure(fig, out)
