"""A clip without a notation: what a library's writer turns into that library's settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, inf

__all__ = ["BELOW_ONE", "OFF", "Setting", "Text", "number", "off_note", "plain"]

# Beyond the largest ratio that a log-ratio clamped to +-20 can have: a bound there never acts.
OFF = 1e9
BELOW_ONE = "the bound on the weight is below 1, and a width cannot be negative."
Text = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Setting:
    """A clip without a notation. kind: clip, cispo, sapo, dppo_tv, geo_mean, or a name that has no counterpart.

    low, high: widths of the ratio (of its logarithm for geo_mean, of the probability for dppo_tv), or tau_pos, tau_neg (sapo).
    """

    kind: str
    low: float
    high: float
    cap: float | None = None
    sequence: bool = False
    notes: tuple[str, ...] = ()


def number(value: float) -> str:
    """Return a width as text; a side that is off as 1.0e+9."""
    return "1.0e+9" if value >= OFF / 10 else f"{value:.10g}"


def off_note(setting: Setting) -> list[str]:
    """Return the line that explains 1.0e+9 where it is written."""
    return ["1.0e+9 stands for a side that is off."] if setting.high == inf else []


def plain(setting: Setting) -> Setting:
    """Return GMPO's bounds as the interval of one token's ratio, for libraries without the geometric mean."""
    if setting.kind != "geo_mean":
        return setting
    note = "GMPO's geometric mean is not converted: these are its log-space bounds as widths of one token's ratio."
    return replace(setting, kind="clip", low=1 - exp(-setting.low), high=exp(setting.high) - 1, notes=(*setting.notes, note))
