"""The tables of docs/shared_parameters.md, as markdown, from the study's data file."""

from __future__ import annotations

from typing import Any

import numpy as np

from entclip.findings.shared_parameters.numbers import change, gap, interval, judged, pairs, total

__all__ = ["arm_table", "noise_table"]

_COLUMNS = (
    "arm",
    "measured",
    "control variate",
    "minus none",
    "clip_low / theory",
    "clip_high / theory",
    "curvature / theory",
    "gap_low euclidean / natural",
    "gap_high euclidean / natural",
    "clip share low / high",
)


def _number(found: tuple[float, float] | None, digits: int = 4) -> str:
    return "" if found is None else f"{found[0]:+.{digits}f} ± {found[1]:.{digits}f}"


def _part(arm: dict[str, Any], part: str) -> str:
    per = arm["per_replica"]
    if not np.any(per[part]):
        return ""
    known = f"expected_{part}" in per
    theory = f" / {np.mean(per[f'expected_{part}']):+.4f}" if known else ""
    return _number(interval(pairs(per[part]))) + theory


def _row(name: str, arm: dict[str, Any], base: dict[str, Any]) -> list[str]:
    known = interval(total(arm)) if judged(arm) else None
    cells = [name, _number(interval(pairs(arm["per_replica"]["measured"]))), _number(known)]
    cells += [
        _number(None if arm is base else interval(change(arm, base))),
        *(_part(arm, p) for p in ("clip_low", "clip_high", "curvature")),
    ]
    for side in ("low", "high"):
        both = [_number(gap(arm, side, kind), 3) for kind in ("mass", "surprise")]
        cells.append(" / ".join(x for x in both if x))
    return [*cells, " / ".join(f"{arm[f'clip_fraction_{side}']:.4f}" for side in ("low", "high"))]


def _markdown(rows: list[list[str]]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def arm_table(setting: dict[str, Any]) -> str:
    """Write one row per arm: means over antithetic pairs ± half of the 95 % interval, nats over the rollout."""
    arms = setting["arms"]
    return _markdown([list(_COLUMNS), *(_row(name, arm, arms["none"]) for name, arm in arms.items())])


def noise_table(data: dict[str, Any], least: int = 100) -> str:
    """Write the rms of log r and of the logit's own move by pi_old, without clipping; `least`: (replica, context, action) in a
    bin."""
    settings = {name: value["arms"]["none"]["noise_law"] for name, value in data.items() if name != "edges"}
    edges = data["edges"]
    rows = [["$\\pi_{old}$", *(f"{name} $\\log r$ / own" for name in settings)]]
    for k in range(len(edges) - 1):
        cells = [f"{law['rms'][k]:.3f} / {law['own'][k]:.4f}" if law["count"][k] >= least else "" for law in settings.values()]
        rows.append([f"{edges[k]:.2g} to {edges[k + 1]:.2g}", *cells])
    rows.append(["shift of log Z", *(f"{law['log_z'][0]:.3f}" for law in settings.values())])
    return _markdown(rows)
