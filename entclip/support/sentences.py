"""Text in lines of a given width, and as many whole sentences of it as there is room for."""

from __future__ import annotations

import re
import textwrap

__all__ = ["leading", "sentences", "wrapped"]

# A sentence ends at a full stop before a space, but not in "e.g. " or "vs. "; a metric's name, in lower case, may begin one.
_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<=[.?!]) +(?=\S)")


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
