"""A clip without a notation: what a library's writer turns into that library's settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import exp, inf

__all__ = ["BELOW_ONE", "OFF", "Notation", "Setting", "Text", "number", "off_note", "plain"]

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


@dataclass(frozen=True)
class Notation:
    """How a library writes a clip of two widths: the names of its keys, each put into `form`.

    low, high: the same name where one width stands for both sides. cap: key of a third bound, empty where there is none;
    cap_always: only a large value switches it off; capless: what to say where there is none. lines: what a kind needs beside
    the widths: sequence, cispo, cap, clip.
    """

    low: str
    high: str
    cap: str = ""
    cap_always: bool = False
    capless: str = "it has no dual clip."
    form: str = "{key}: {value}"
    dashes: bool = False
    lines: Mapping[str, str] = field(default_factory=dict)

    def write(self, setting: Setting) -> Text:
        """Return the lines that set this clip, and notes on what is lost."""
        if setting.kind not in ("clip", *(["cispo"] if "cispo" in self.lines else [])):
            return [], [f"it has no {setting.kind} loss."]
        if setting.sequence and "sequence" not in self.lines:
            return [], ["its ratios are of tokens."]
        if self.low == self.high and setting.low != setting.high:
            return [], [f"it has one width, not {setting.low:g} below and {setting.high:g} above."]
        if setting.high < 0:
            return [], [BELOW_ONE]
        capped = setting.cap is not None or (self.cap_always and setting.kind == "clip")
        wanted = ["cispo" if setting.kind == "cispo" else "clip", *(["sequence"] if setting.sequence else [])]
        wanted += ["cap"] if setting.cap is not None else []
        lines = [self.lines[name] for name in wanted if name in self.lines]
        widths = {self.low: setting.low, self.high: setting.high}
        if self.cap and capped:
            widths[self.cap] = OFF if setting.cap is None else setting.cap
        for key, width in widths.items():
            lines.append(self.form.format(key=key.replace("_", "-") if self.dashes else key, value=number(width)))
        notes = [self.capless] if setting.cap is not None and not self.cap else []
        off = setting.high == inf or (capped and setting.cap is None)
        return lines, [*notes, *(["1.0e+9 stands for a side that is off."] if off else [])]
