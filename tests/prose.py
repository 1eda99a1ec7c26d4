"""Reading text as a reader does: its sentences, and where it says how the signs of the clip are to be read."""

from __future__ import annotations

import re

__all__ = ["plain", "sentences", "signs_read"]

# "raising eps_high means less clipping there" and its like: the one thing that every paragraph on signs says.
_SIGNS = re.compile(
    r"(raising|raise|wider|larger) (the )?(eps_?high|high bound|high)\b[^.;]{0,80}\bless\b|\bless [^.;]{0,40}hence higher",
    re.IGNORECASE,
)
_MATHS = re.compile(r"\$?\\(?:var)?epsilon_\{?(low|high)\}?\$?")


def plain(text: str) -> str:
    """Text on one line, without the marks of Markdown and with widths by their names in code."""
    return re.sub(r"\s+", " ", re.sub(r"[*`\\]", "", _MATHS.sub(r"eps_\1", text)))


def signs_read(text: str) -> list[str]:
    """Each place that says how raising the high width reads, with what stands around it."""
    flat = plain(text)
    return [flat[max(0, m.start() - 40) : m.end() + 40] for m in _SIGNS.finditer(flat)]


def sentences(text: str, least: int = 8) -> list[str]:
    """The sentences of at least so many words in the prose of a page: no code, no tables, no headings."""
    prose = re.sub(r"(?ms)^(`{3,}).*?^\1$", ". ", text)
    prose = re.sub(r"(?m)^(#|\|).*$", ". ", prose)
    prose = re.sub(r"(?m)^\s*(?:>|[-*]|\d+\.)\s", "", prose)
    return [s.strip() for s in re.split(r"(?<=[.!?])\s+", plain(prose)) if len(s.split()) >= least]
