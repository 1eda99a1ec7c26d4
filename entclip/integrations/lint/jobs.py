"""Jobs' files (Kubernetes, compose, SkyPilot, Slurm in YAML): the command lines that they start, and the variables of these."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.shell_roles import SHELLS, file_name
from entclip.integrations.lint.tables import flat_keys, parse_table

__all__ = ["commands_in", "commands_of", "starts_trainer"]

# Names, in small letters, of two entries that are one command line: the program, and what follows it.
_LINES = (
    ("entrypoint", "command"),
    ("command", "args"),
    ("entrypoint", "args"),
    ("entrypoint", "cmd"),
    ("containerentrypoint", "containerarguments"),
    ("program", "args"),
)
_VARIABLES = ("env", "envs", "environment", "env_vars", "environment_variables")
_PLAIN = re.compile(r"[\w@%+=:,./${}-]+")
_OPTION = re.compile(r"(?:^|\s)(?:--([A-Za-z][\w-]*)|\+{0,2}([A-Za-z_][\w.@/-]*)=)")


def starts_trainer(text: str) -> bool:
    """Tell whether a text holds a command of a library that is known here."""
    return any(re.search(rf"(^|[\s/\"'=])({library.entry})", text) for library in LIBRARIES.values() if library.entry)


def commands_in(text: str) -> list[str]:
    """Return the commands of a job's file, YAML or JSON, that start a trainer; none where it is no table."""
    try:
        return commands_of(parse_table(text, "yaml"))
    except ValueError:
        return []


def commands_of(data: Mapping[str, Any]) -> list[str]:
    """Return the texts of a job's table that start a trainer, each once, behind the variables that the job gives it.

    Where none names a trainer that is known, and the table's own keys are no library's: those that give a script such options.
    """
    texts = list(_texts(data))
    found = [each for each in texts if starts_trainer(each[0])]
    if not found and not _decided(key for key, _ in flat_keys(data)):
        found = [
            (text, variables)
            for text, variables in texts
            if ".py" in text and _decided(flag.replace("-", "_") or key for flag, key in _OPTION.findall(text))
        ]
    # The replicas of a job have one command.
    return list(dict.fromkeys(_assigned(variables, text) + text for text, variables in found))


def _decided(keys: Iterator[str]) -> bool:
    return any(library.decides(key) for key in keys for library in LIBRARIES.values())


def _assigned(variables: Mapping[str, str], text: str) -> str:
    named = set(re.findall(r"\w+", text))
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items() if name in named)


def _texts(data: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """Every text of a table, where a job's file keeps the command that it runs, with the variables that hold for it.

    A list of texts is a command, and so are two lists that a job starts as one.
    """
    todo: list[tuple[Any, dict[str, str]]] = [(data, {})]
    while todo:
        node, variables = todo.pop()
        if isinstance(node, str):
            yield node, variables
        elif isinstance(node, dict):
            variables = variables | _variables(node)
            names = {str(key).lower(): key for key in node}
            pair = next(([names[n] for n in line] for line in _LINES if all(_parts(node.get(names.get(n))) for n in line)), [])
            if pair:
                yield _line([part for key in pair for part in _parts(node[key])], variables), variables
            todo.extend((value, variables) for key, value in reversed(node.items()) if key not in pair)
        elif isinstance(node, list):
            if parts := _parts(node):
                yield _line(parts, variables), variables
            else:
                todo.extend((each, variables) for each in reversed(node))


def _variables(node: Mapping[Any, Any]) -> dict[str, str]:
    """Variables of a job: a table, a list of `name` and `value`, or a list of NAME=value."""
    out: dict[str, str] = {}
    for key in (key for key in node if str(key).lower() in _VARIABLES):
        held = node[key]
        pairs: list[tuple[Any, Any]] = list(held.items()) if isinstance(held, dict) else []
        for each in held if isinstance(held, list) else []:
            if isinstance(each, dict):
                pairs.append((each.get("name"), each.get("value")))
            else:
                name, given, value = str(each).partition("=")
                pairs += [(name, value)] if given else []
        out |= {str(name): _text(value) for name, value in pairs if str(name).isidentifier() and _is_leaf(value)}
    return out


def _is_leaf(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parts(value: Any) -> list[str]:
    """The words of a list, or the one text that a shell splits itself, behind a line's end as a mark; empty for anything else."""
    if isinstance(value, str):
        return [f"{value}\0"]
    whole = isinstance(value, list) and all(map(_is_leaf, value))
    return [_text(each) for each in value] if whole else []


def _line(parts: list[str], variables: Mapping[str, str]) -> str:
    """The command line of the words of a list: the script itself where they are `bash -c SCRIPT`."""
    parts = [re.sub(r"\$\((\w+)\)", lambda m: variables.get(m[1], m[0]), part) for part in parts]  # as Kubernetes has it
    for at, word in enumerate(parts[:-1]):
        if re.fullmatch(r"-[a-z]*c", word) and any(file_name(before) in SHELLS for before in parts[:at]):
            return parts[at + 1].removesuffix("\0")
    if any("\n" in part or (" " in part and part[-1] != "\0" and starts_trainer(part)) for part in parts):
        return "\n".join(part.removesuffix("\0") for part in parts)  # lines of a script
    return " ".join(map(_quoted, parts))


def _quoted(part: str) -> str:
    if part.endswith("\0") or _PLAIN.fullmatch(part):
        return part.removesuffix("\0")
    return '"' + re.sub(r'([\\"`])', r"\\\1", part) + '"'
