"""From a configuration's text to its facts: detect the library, read its keys, and ask the library's folder what they mean."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from entclip.integrations.lint.detection import detect_library
from entclip.integrations.lint.facts import Reader, TrainerConfig
from entclip.integrations.lint.libraries import library_named
from entclip.integrations.lint.source import Source, read_source

__all__ = ["config_from", "read_config"]

# Parts of names by which a key that is not known here may decide what the clip does: a fork's own loss, another group size.
_DECIDES = re.compile(r"clip|loss|ratio|samples|agent|adaptive")


def read_config(path_or_text: str | Path, library: str | None = None) -> TrainerConfig:
    """Read a trainer configuration from a file or text; the library is detected where it is not named.

    Raises: ValueError if it cannot be read, no library or more than one fits, or a value that decides has the wrong type.
    """
    source = read_source(path_or_text)
    if library is None:
        return config_from(source, *detect_library(source))
    return config_from(source, library_named(library).name, "named by the caller")


def config_from(source: Source, name: str, evidence: str) -> TrainerConfig:
    """Return the facts of a source that belongs to a library."""
    library = library_named(name)
    renamed = tuple(key for key in source.values if key in library.older_keys and not library.knows(key))
    values = {library.renamed.get(key, key): value for key, value in source.values.items()}
    unknown = tuple(
        (key, library.closest(key))
        for key in values
        if not library.knows(key) and key not in renamed and not key.startswith(library.free_prefixes)
    )
    doubtful = tuple(key for key, _ in unknown if _DECIDES.search(key))
    files = tuple(f"{key} = {values[key]}" for key in library.other_files(values))
    config: TrainerConfig = library.build(Reader(library, values, source.command), evidence)
    return replace(
        config,
        values=values,
        unknown_keys=unknown,
        doubtful=doubtful,
        renamed=renamed,
        elsewhere=(*files, *source.arguments),
        shell_defaults=source.shell_defaults,
    )
