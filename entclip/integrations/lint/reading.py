"""From a file or a string to flat `key: value` pairs: YAML, JSON, TOML, shell command lines, `key=value` overrides.

A value that only a shell or another file could supply (`${VAR}`, `$((a * b))`, an interpolation) becomes `Unresolved`: what
depends on it is answered "unknown", never guessed. Shell variables that the same script sets to a literal are substituted.
"""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entclip.integrations.lint.libraries import LIBRARIES, library_named
from entclip.integrations.lint.shell import Command, Script, read_script
from entclip.integrations.lint.values import Unresolved

__all__ = ["Source", "detect_library", "read_source"]

_SUFFIXES = {".json": "json", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}
_OVERRIDE = re.compile(r"^\+{0,2}([A-Za-z_][\w@/-]*(?:\.[\w@/-]+)+)=(.*)$", re.DOTALL)
_CHOICE = re.compile(r"^([A-Za-z_]\w*)=(.*)$", re.DOTALL)
# Flags that take several numbers.
_SEVERAL = ("low_high", "threshold", "betas", "range")
_FLAG = re.compile(r"^--[A-Za-z]")


@dataclass(frozen=True)
class Source:
    """What was read: flat dotted keys with their values, and the library whose training command was seen, if any.

    arguments: words such as "$EXTRA" that could hold further settings. shell_defaults: "NAME=value" read from ${NAME:-value}.
    """

    values: Mapping[str, Any]
    kind: str
    entry: str | None = None
    arguments: tuple[str, ...] = ()
    shell_defaults: tuple[str, ...] = ()


def read_source(path_or_text: str | Path) -> Source:
    """Read a configuration from a file, or from text (a string with a newline or with more than one word)."""
    text, kind = _load(path_or_text)
    try:
        if kind == "shell":
            return _read_shell(text)
        return Source(dict(_flatten(_parse(text, kind))), kind)
    except RecursionError:
        raise ValueError(f"the {kind} text is nested too deeply to be a configuration.") from None


def _load(path_or_text: str | Path) -> tuple[str, str]:
    """The text and its kind; by suffix for files, by content for text and for .sh, .txt and other files."""
    looks_like_text = isinstance(path_or_text, str) and ("\n" in path_or_text or len(path_or_text.split()) > 1)
    if looks_like_text or (isinstance(path_or_text, str) and _OVERRIDE.match(path_or_text) and not Path(path_or_text).exists()):
        text, suffix = str(path_or_text), ""
    else:
        path = Path(path_or_text)
        try:
            text, suffix = path.read_text(encoding="utf-8"), path.suffix.lower()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"cannot read the configuration {path}: {error}.") from None
    if not text.strip():
        raise ValueError("the configuration is empty: give a YAML, JSON or TOML file, a command line, or key=value overrides.")
    return text, _SUFFIXES.get(suffix) or _kind_of(text)


def _kind_of(text: str) -> str:
    if text.lstrip().startswith("{"):
        return "json"
    if re.search(r"(^|[\s(])--[A-Za-z]", text) or any(_OVERRIDE.match(word.strip("'\"")) for word in text.split()):
        return "shell"
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return "yaml"
    return "toml"


def _parse(text: str, kind: str) -> dict[str, Any]:
    try:
        if kind == "json":
            data = json.loads(text)
        elif kind == "toml":
            data = tomllib.loads(text)
        else:
            data = _parse_yaml(text)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the configuration is not valid {kind.upper()}: {error}.") from None
    if not isinstance(data, dict):
        raise ValueError(f"a configuration is a table of keys and values, but this {kind.upper()} is a {type(data).__name__}.")
    return data


def _parse_yaml(text: str) -> Any:
    try:
        # By name: PyYAML ships no types, and its stubs are not a dependency.
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise ImportError("reading YAML needs PyYAML: install it with `pip install 'pyyaml>=6'`.") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the configuration is not valid YAML: {' '.join(str(error).split())}.") from None


def _flatten(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys. The tables of a list share their keys; one whose value differs between them is unresolved."""
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            merged: dict[str, Any] = {}
            for item in value:
                for inner, found in _flatten(item, f"{key}."):
                    merged[inner] = found if merged.get(inner, found) == found else Unresolved("differs between entries")
            yield from merged.items()
        else:
            yield key, _value(value)


def _value(value: Any) -> Any:
    """A leaf: text that spells a number, a truth value, nothing or a list is read as such (PyYAML leaves 1e-6 as text)."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if isinstance(value, int) and abs(value) > 2**63:
        raise ValueError(f"a number of {len(hex(value)) - 2} hexadecimal digits is no setting of a trainer.")
    if not isinstance(value, str):
        return value
    text = value.strip()
    if text == "???" or "$" in text:
        return Unresolved(text)
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    if text.lower() in ("null", "none", "~"):
        return None
    if text.startswith("[") and text.endswith("]"):
        return [_value(item) for item in text[1:-1].split(",") if item.strip()]
    try:
        number = float(text)
    except ValueError:
        return text
    return int(text) if text.lstrip("+-").isdecimal() and abs(number) < 2**63 else number


def _read_shell(text: str) -> Source:
    script = read_script(text)
    trained = _trained(script)
    if not trained:  # a script that writes another: cat > job.sh << EOF
        for document in (d for d in script.documents if _entry(d.split())):
            inner = read_script(document)
            trained += _trained(inner)
            script.defaults.update(inner.defaults)
    if len(trained) > 1:
        raise ValueError(
            f"{len(trained)} training commands in one text ({', '.join(name for name, _ in trained)}): give one at a time."
        )
    if trained:
        name, command = trained[0]
        return _source([_after_entry(command.words, name)], name, script, command.unreadable)
    found = [c for command in script.commands for c in _nested(command)]
    scripts = [
        (command.words[n + 1 :], command.unreadable)
        for command in found
        for n, word in enumerate(command.words)
        if word.endswith(".py") and "=" not in word
    ]
    # Options before a script are its launcher's (accelerate launch --num_processes 8 train.py --epsilon 0.2).
    chosen = scripts[:1] or [(command.words, command.unreadable) for command in found]
    return _source([words for words, _ in chosen], None, script, any(unreadable for _, unreadable in chosen))


def _nested(command: Command) -> list[Command]:
    """bash -c "python -m trainer ...": the command is one word of another."""
    inner = [word for word in command.words if " " in word and _entry(word.split())]
    return [c for word in inner for c in read_script(word).commands] if inner else [command]


def _trained(script: Script) -> list[tuple[str, Command]]:
    """The commands that start a library's trainer, each with the library."""
    found = [c for command in script.commands for c in _nested(command)]
    return [(name, command) for command in found if (name := _entry(command.words))]


def _source(commands: list[list[str]], entry: str | None, script: Script, unreadable: bool) -> Source:
    values: dict[str, Any] = {}
    loose: dict[str, None] = {"a part that is not valid bash": None} if unreadable else {}
    for words in commands:
        for key, value in _options(words):
            if key is None:
                loose[str(value)] = None
            else:
                values[key] = value
    defaults = tuple(f"{name}={value}" for name, value in script.defaults.items())
    return Source(values, "shell", entry, tuple(loose), defaults)


def _entry(words: list[str]) -> str | None:
    line = " ".join(words)
    return next((name for name, library in LIBRARIES.items() if re.search(rf"(^|\s|/){library.entry}(\s|$)", line)), None)


def _after_entry(words: list[str], name: str) -> list[str]:
    entry = re.compile(rf"(^|\s|/){library_named(name).entry}$")
    return words[next(n for n in range(1, len(words) + 1) if entry.search(" ".join(words[:n]))) :]


def _options(words: list[str]) -> Iterator[tuple[str | None, Any]]:
    """`--flag value ...`, `--flag=value`, a bare `--flag`, `a.b=value`; other words are the program and its arguments.

    A `$WORD` where an option may stand has the key None: it could hold any settings.
    """
    flag, values = "", list[Any]()
    for word in [*words, "--end"]:
        # A key without a dot is a group choice of hydra; right after a bare flag it is that flag's value.
        override = _OVERRIDE.match(word) or (_CHOICE.match(word) if values or not flag else None)
        if not _FLAG.match(word) and not override:
            value = _value(word)
            several = flag.endswith(_SEVERAL) or (values and isinstance(values[0], Unresolved))
            if word.startswith("$") and (not flag or (values and not several)):
                yield None, word
            else:
                values.append(value)
            continue
        if flag:
            yield flag, True if not values else values[0] if len(values) == 1 else values
        flag, values = "", []
        if override:
            yield override[1], _value(override[2])
        else:
            name, given, text = word.lstrip("-").partition("=")
            flag, values = name.replace("-", "_"), [_value(text)] if given else []


def detect_library(source: Source) -> tuple[str, str]:
    """The library of a configuration and the evidence that decided; ValueError if nothing decides."""
    if source.entry is not None:
        return source.entry, f"the command runs {LIBRARIES[source.entry].title}'s trainer"
    exact = {name: [key for key in source.values if _is_own(name, key)] for name in LIBRARIES}
    near = {name: [key for key in source.values if _in_own_group(name, key)] for name in LIBRARIES}
    score = {name: (len(exact[name]), len(near[name])) for name in LIBRARIES}
    ranked = sorted(LIBRARIES, key=lambda name: score[name], reverse=True)
    first, second = ranked[0], ranked[1]
    known = exact[first] or near[first]
    if not known:
        raise ValueError(
            f"no library knows a key of this configuration ({', '.join(list(source.values)[:4]) or 'it has none'}): is it a "
            f"configuration of {', '.join(LIBRARIES)}? Name the library with --library if it is."
        )
    if score[first] == score[second]:
        tied = [name for name in ranked if score[name] == score[first]]
        raise ValueError(
            f"ambiguous: {' and '.join(tied)} know equally many of the {len(source.values)} keys ({', '.join(known[:4])}): name "
            "the library with --library."
        )
    sample = next((key for key in known if key not in exact[second]), known[0])
    return first, f"{len(known)} of {len(source.values)} keys are {LIBRARIES[first].title}'s, e.g. {sample}"


def _is_own(name: str, key: str) -> bool:
    return LIBRARIES[name].knows(key) or key in LIBRARIES[name].older_keys


def _in_own_group(name: str, key: str) -> bool:
    """A key, misspelt perhaps, below a top-level group of the library."""
    group = key.partition(".")[0] + "."
    return "." in key and any(known.startswith(group) for known in LIBRARIES[name].keys)
