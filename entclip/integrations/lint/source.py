"""From a file or a string to a trainer's settings: YAML, JSON, TOML, launch scripts, overrides, Python, and files that wrap them.

A value that only a shell or another file could supply (`${VAR}`, an interpolation) becomes `Unresolved`: what depends on it is
answered "unknown", never guessed.
"""

from __future__ import annotations

import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from entclip.integrations.lint.beside import MAX_BYTES, beside, nothing
from entclip.integrations.lint.commands import OVERRIDE, options_of
from entclip.integrations.lint.jobs import commands_of, starts_trainer
from entclip.integrations.lint.python_script import Keywords, cells_of, is_python, keywords_of
from entclip.integrations.lint.tables import flat_keys, parse_table, resolved
from entclip.support.bounded import exists

__all__ = ["Source", "read_source"]

_SUFFIXES = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".py": "python", ".sh": "shell", ".bash": "shell"}


@dataclass(frozen=True)
class Source:
    """What was read: flat dotted keys with their values, and the library whose training command was seen, if any.

    command: the words that name that trainer, or the script that is run. other_work: what the command does instead of training.
    arguments: words such as "$EXTRA" that could hold further settings. shell_defaults: "NAME=value" read from ${NAME:-value}.
    passes_on: whether a script hands its own arguments on, as "$@" or by a parser of arguments; asks: whether a
    condition of it asks for them. where: the file that the command
    is in, where the script writes it and does not run it. files: configurations that the command names and that were read, too.
    """

    values: Mapping[str, Any]
    kind: str
    entry: str | None = None
    command: str = ""
    other_work: str = ""
    arguments: tuple[str, ...] = ()
    shell_defaults: tuple[str, ...] = ()
    passes_on: bool = False
    asks: bool = False
    where: str = ""
    files: tuple[str, ...] = ()


def read_source(path_or_text: str | Path) -> Source:
    """Read a configuration from a file, or from text (a string with a newline or with more than one word).

    Raises: ValueError for what cannot be read: no regular file, over MAX_BYTES, not UTF-8, not valid, or nested too deeply.
    """
    text, kind, path = _load(path_or_text)
    if kind == "python":
        return _from_python(keywords_of(text), "in Python")
    found = nothing if path is None else beside(path)
    if kind == "shell":
        return _from_commands(text, found)
    data = parse_table(text, kind)
    if (script := cells_of(data)) is not None:
        return _from_python(keywords_of(script), "in a notebook")
    try:
        if commands := commands_of(data):
            return _from_commands("\n".join(commands), found)
        return Source(resolved(dict(flat_keys(data))), kind)
    except RecursionError:
        raise ValueError(f"the {kind} text is nested too deeply to be a configuration.") from None


def _from_python(found: Keywords, where: str) -> Source:
    command = f"{found.library} {where}"
    return Source(
        found.values,
        "python",
        found.library,
        command,
        arguments=found.loose,
        shell_defaults=found.environment,
        passes_on=found.by_command_line,
    )


def _from_commands(text: str, files: Callable[[str], str | None]) -> Source:
    found = options_of(text, files)
    if not found.values and found.entry is None and not found.python and not found.other_work:
        named = ": a trainer is named in text that it writes or shows, and does not run" if starts_trainer(text) else ""
        raise ValueError(f"no training is started in this script{named}. Give the script or the configuration that starts it.")
    if found.python:
        program = _from_python(keywords_of(found.python), "in Python")
        return replace(program, shell_defaults=(*found.defaults, *program.shell_defaults))
    return Source(
        values=found.values,
        kind="shell",
        entry=found.entry,
        command=found.command,
        other_work=found.other_work,
        arguments=found.loose,
        shell_defaults=found.defaults,
        passes_on=found.passes_on,
        asks=found.asks,
        where=found.where,
        files=found.files,
    )


def _load(path_or_text: str | Path) -> tuple[str, str, Path | None]:
    """The text, its kind, and the file if it is one; by suffix for files, by content for text and for .txt and other files."""
    looks_like_text = isinstance(path_or_text, str) and ("\n" in path_or_text or len(path_or_text.split()) > 1)
    if looks_like_text or (isinstance(path_or_text, str) and OVERRIDE.match(path_or_text) and not exists(Path(path_or_text))):
        text, path = str(path_or_text), None
    else:
        path = Path(path_or_text)
        text = _read(path)
    if not text.strip():
        raise ValueError("the configuration is empty: give a YAML, JSON or TOML file, a command line, or key=value overrides.")
    return text, (path and _SUFFIXES.get(path.suffix.lower())) or _kind_of(text), path


def _read(path: Path) -> str:
    """The text of a regular file of a sensible size."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"cannot read the configuration {path}: it is no regular file.")
        if status.st_size > MAX_BYTES:
            raise ValueError(f"{path} has {status.st_size:,} bytes, over {MAX_BYTES:,}: a configuration is a thousandth of that.")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read the configuration {str(path)[:200]}: {error}.") from None


def _kind_of(text: str) -> str:
    if re.match(r"#!.*sh\b", text):
        return "shell"
    if text.lstrip().startswith("{"):
        return "json"
    if is_python(text):
        return "python"
    if re.search(r"(^|[\s(])--[A-Za-z]", text) or any(OVERRIDE.match(word.strip("'\"")) for word in text.split()):
        return "shell"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "yaml"
    except RecursionError:
        pass  # said by whoever parses it
    return "toml"
