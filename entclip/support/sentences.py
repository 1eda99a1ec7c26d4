"""Text in lines of a given width, and as many whole sentences of it as there is room for."""

from __future__ import annotations

import re
import textwrap

__all__ = ["fitting", "leading", "sentences", "wrapped"]

# A sentence ends at a full stop before a space, but not in "e.g. " or "vs. "; a metric's name, in lower case, may begin one.
_END = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bvs\.)(?<=[.?!]) +(?=\S)")


def wrapped(text: str, width: int, indent: str = "", rest: str | None = None) -> list[str]:
    """Return a text in lines of at most `width` characters, broken between words (longer only where one word is).

    indent: before the first line; rest: before the others, as before the first by default.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent if rest is None else rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, each with its full stop.

    >>> sentences("It acts, e.g. here. actor/kl is another thing. How much? 0.2 of it.")
    ['It acts, e.g. here.', 'actor/kl is another thing.', 'How much?', '0.2 of it.']
    """
    return [part for part in _END.split(text.strip()) if part]


def leading(text: str, width: int, lines: int, indent: str = "", rest: str | None = None) -> list[str]:
    """Return the lines of as many whole sentences as fit in `lines`; the first one is always there, whole.

    >>> leading("Short. A second one that needs more room.", 20, 1)
    ['Short.']
    """
    first, *more = sentences(text) or [""]
    kept, found = first, wrapped(first, width, indent, rest)
    for sentence in more:
        kept = f"{kept} {sentence}"
        longer = wrapped(kept, width, indent, rest)
        if len(longer) > lines:
            break
        found = longer
    return found


def fitting(label: str, text: str, width: int, lines: int) -> list[str] | None:
    """Return the lines of as much of a text as fits in `lines` behind its label and ends with a clause; None if none does.

    A clause ends at a full stop, a semicolon or a colon outside brackets. Where the first does not fit, it is taken without
    what stands in brackets.

    >>> fitting("info: ", "One update (a x b = 4 / 4): every ratio is 1. Take more.", 40, 1)
    ['info: One update (a x b = 4 / 4).']
    >>> fitting("info: ", "One update (a x b = 4 / 4): every ratio is 1. Take more.", 20, 1)
    ['info: One update.']
    """
    for whole in (text, _without_brackets(text)):
        for end in reversed(_clause_ends(whole)):
            found = wrapped(f"{label}{whole[:end]}.", width)
            if len(found) <= lines:
                return found
    return None


def _clause_ends(text: str) -> list[int]:
    """Places at which a clause ends, without its mark."""
    ends, depth = [], 0
    for i, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        last = i + 1 == len(text)
        if depth <= 0 and letter in ".;:" and (last or text[i + 1] == " ") and not text[:i].endswith(("e.g", "i.e", "vs")):
            ends.append(i)
    return ends if text.endswith(".") else [*ends, len(text)]


def _without_brackets(text: str) -> str:
    """The text without round brackets and what is in them."""
    before = ""
    while before != text:
        before, text = text, re.sub(r" ?\([^()]*\)", "", text)
    return text
