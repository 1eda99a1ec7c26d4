"""Options that a script changes under a condition: what stays the same either way, and what each way would have."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

__all__ = ["EITHER", "alternatives", "either_way"]

EITHER = "$(set-under-a-condition)"  # in the place of a value that has two
_LONGEST = 160
_KEY = re.compile(r"^\+{0,2}([\w.@/-]+)=")


def alternatives(first: str, second: str, condition: str) -> str:
    """Return what something may be, and by which condition, in a line of bearable length."""
    short = [text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..." for text in (first, second)]
    return f"{short[0]} or {short[1]} ({condition})"


def _options(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """`key=value`, and `--flag` with what follows it; the name is empty for words that are neither."""
    at = 0
    while at < len(words):
        word, end = words[at], at + 1
        if match := _KEY.match(word):
            name = match[1].lstrip("-")
        else:
            name = word[2:] if word.startswith("--") else ""
            while name and end < len(words) and not words[end].startswith("--") and not _KEY.match(words[end]):
                end += 1
        yield name.replace("-", "_") if "." not in name else name, words[at:end]
        at = end


def either_way(
    before: list[str], after: list[str], condition: str, known: Mapping[str, str]
) -> tuple[list[str], dict[str, str]] | None:
    """Return the words of options that a condition changes, and for each one that it changes what it may be.

    None where a word is no option, so that nothing says which it is. known: what options changed before may be.
    """
    cases = [dict(_options(words)) for words in (before, after)]
    if any("" in case for case in cases):
        return None
    words, reasons = [], {}
    for name in dict.fromkeys([*cases[0], *cases[1]]):
        first, second = cases[0].get(name), cases[1].get(name)
        if first == second and first is not None:
            words += first
            continue
        shown = [known.get(name) if text == EITHER else text for text in (_value(first), _value(second))]
        reasons[name] = alternatives(shown[0] or "not set", shown[1] or "not set", condition)
        head = (second or first or [""])[0]
        words += [f"{head.partition('=')[0]}={EITHER}"] if "=" in head else [head, EITHER]
    return words, reasons


def _value(words: list[str] | None) -> str | None:
    """The value of an option as text, None where it is not set."""
    if words is None:
        return None
    _, given, value = words[0].partition("=")
    return value if given else " ".join(words[1:]) or "given"
