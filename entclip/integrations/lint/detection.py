"""Which library a configuration belongs to: by its command, or by keys that only it has while most of the others are known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.library import Library
from entclip.integrations.lint.other_work import of_program, of_script, of_settings, refusal
from entclip.integrations.lint.source import Source

__all__ = ["detect_library", "refuse_other_work"]

SHARE = 0.6  # of the keys that a library must know


def detect_library(source: Source) -> tuple[str, str]:
    """Return the library of a configuration and the evidence that decided.

    Raises: ValueError if no library fits (with the two nearest and what they lack), or several do.
    """
    if source.entry is not None:
        where = f" in {source.where}, which is written and not run here," if source.where else ""
        return source.entry, f"the command{where} runs {LIBRARIES[source.entry].title}'s trainer"
    _refuse_blocks(source)
    ranked = sorted(LIBRARIES.values(), key=lambda library: _score(library, source), reverse=True)
    fitting = [library for library in ranked if _fits(library, source)]
    if not fitting:
        shown = ", ".join(list(source.values)[:4]) or "it has none"
        near = "; ".join(_lack(library, source) for library in ranked[:2])
        raise ValueError(
            f"not recognised as a configuration of {', '.join(LIBRARIES)} (keys: {shown}). Nearest: {near}. Name the "
            "library with --library if it is one of these."
        )
    first = fitting[0]
    equal = [library.name for library in fitting if _score(library, source) == _score(first, source)]
    if len(equal) > 1:
        raise ValueError(
            f"ambiguous: {' and '.join(equal)} know equally many of the {len(source.values)} keys "
            f"({', '.join(_known(first, source)[:4])}): name the library with --library."
        )
    known = _known(first, source)
    return first.name, f"{len(known)} of {len(source.values)} keys are {first.title}'s, e.g. {_deciding(first, source)[0]}"


def refuse_other_work(source: Source) -> None:
    """Raise ValueError for what is no policy gradient: SFT, DPO, a reward model, generation and so on, by its name."""
    if source.other_work:
        kind = of_program(source.other_work)[1] or of_script(source.other_work) or "generation"
        raise ValueError(refusal(f"`{source.other_work}`", kind))
    evidence, kind = of_settings(source.values, started=source.entry is not None)
    if not kind and source.entry is None and not any(_fits(library, source) for library in LIBRARIES.values()):
        evidence, kind = f"`{source.command}`", of_script(source.command)
    if kind:
        raise ValueError(refusal(evidence, kind))


def _refuse_blocks(source: Source) -> None:
    """ValueError where a file has settings of several runs under their names, as files of tuned settings have."""
    blocks: dict[str, dict[str, Any]] = {}
    for key, value in source.values.items():
        block, _, rest = key.partition(".")
        blocks.setdefault(block, {})[rest] = value
    if len(blocks) < 2 or any(_fits(library, source) for library in LIBRARIES.values()):
        return
    for library in LIBRARIES.values():
        fitting = [name for name, values in blocks.items() if _fits(library, replace(source, values=values))]
        if len(fitting) > len(blocks) / 2:
            raise ValueError(
                f"a file of {len(blocks)} configurations of {library.title} by name ({', '.join(fitting[:3])}, ...): give the "
                "one that is run, its settings or its block alone."
            )


def _known(library: Library, source: Source) -> list[str]:
    """Keys that the library has, had, or nearly has: a misspelt key is still its."""
    return [key for key in source.values if library.owns(key)]


def _deciding(library: Library, source: Source) -> list[str]:
    """Keys that only training with this library has."""
    return [key for key in source.values if library.decides(key)]


def _share(library: Library, source: Source) -> float:
    return len(_known(library, source)) / max(len(source.values), 1)


def _fits(library: Library, source: Source) -> bool:
    return bool(_deciding(library, source)) and _share(library, source) >= SHARE


def _score(library: Library, source: Source) -> tuple[float, int]:
    return _share(library, source), len(_deciding(library, source))


def _lack(library: Library, source: Source) -> str:
    known, total = len(_known(library, source)), len(source.values)
    missing = "" if _deciding(library, source) else ", and none that decides"
    return f"{library.title} knows {known} of {total} keys{missing}"
