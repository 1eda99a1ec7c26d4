"""Command lines: which command of a script starts a training, and the options that it has."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from entclip.integrations.lint.beside import nothing
from entclip.integrations.lint.jobs import commands_in, starts_trainer
from entclip.integrations.lint.libraries import LIBRARIES
from entclip.integrations.lint.other_work import of_program
from entclip.integrations.lint.python_script import OUTSIDE, builds, refuse_other_program
from entclip.integrations.lint.shell import Command, Script, read_script
from entclip.integrations.lint.shell_either import EITHER
from entclip.integrations.lint.shell_roles import runs, same_file, shows
from entclip.integrations.lint.tables import flat_keys, leaf, parse_table
from entclip.integrations.lint.values import Unresolved, is_number

__all__ = ["OVERRIDE", "Options", "options_of"]

OVERRIDE = re.compile(r"^\+{0,2}([A-Za-z_][\w@/-]*(?:\.[\w@/-]+)+)=(.*)$", re.DOTALL)
_CHOICE = re.compile(r"^([A-Za-z_]\w*)=(.*)$", re.DOTALL)
# Flags that take several numbers.
_PAIR = "low_high"
_SEVERAL = (_PAIR, "threshold", "betas", "range")
# What a launch script has of the model's own: the size of its layers, no training.
_MODEL = re.compile(r"\$\{?MODEL(_ARGS|_CONFIG)?(\[[@*]\])?\}?$")
# Words that stand for several, by their form or by their name: after a flag, they are not its value.
_MANY = re.compile(
    r"\$\{?\w+\[[@*]\]|\$\{?\w*(ARG|ARGS|ARGUMENTS|OPT|OPTS|OPTIONS|FLAGS|EXTRAS?|PARAMS|OVERRIDES)\b", re.IGNORECASE
)
_WRAP = re.compile(r"^--?\w+=(?=\S+\s)")  # the flag of a queue that has the command
_SWEEPS = ("--multirun", "-m", "hydra.mode=MULTIRUN")  # by which hydra takes a=1,2 for two runs
_FLAG = re.compile(r"^--[A-Za-z]")
_CUT = "options that a missing backslash cuts off"  # on a line of their own, they would be a command
_FILES = ("config", "config_file", "config_name")  # flags that name a configuration
_CONFIGURATIONS = (".yaml", ".yml", ".json", ".toml")
_SCRIPTS = (".sh", ".bash", ".slurm", ".sbatch", ".job", ".pbs", ".lsf", ".zsh")


@dataclass(frozen=True)
class Options:
    """Keys and values of a training command.

    entry: the library whose trainer it starts, None where no library's command is known in it; command: the words that say so,
    or the script that is run.
    other_work: what a library's command does instead of training (generation, evaluation), empty if it trains. loose: words such
    as "$EXTRA" that could hold further settings. defaults: "NAME=value" read from ${NAME:-value}.
    passes_on: whether the script hands its own arguments on; asks: whether a condition of it asks for them. where: the file that
    the command is written to, where the script writes and does not run it. files: configurations beside the script that were
    read, too. python: the text of a Python program that it runs, which has the settings instead.
    """

    values: dict[str, Any]
    entry: str | None
    command: str
    other_work: str
    loose: tuple[str, ...]
    defaults: tuple[str, ...]
    passes_on: bool
    asks: bool = False
    where: str = ""
    files: tuple[str, ...] = ()
    python: str = ""


@dataclass(frozen=True)
class _Trained:
    library: str
    command: Command
    words: list[str]  # that name the trainer
    rest: list[str]  # its options


def options_of(text: str, beside: Callable[[str], str | None] = nothing) -> Options:
    """Return the options of the one training command of a script, or of all its commands where no trainer is known in them.

    beside: what finds the text of a configuration that the command names and the script does not write.

    Raises: ValueError for several training commands that differ, a Python program of other work, or what `read_script` refuses.
    """
    script = read_script(text)
    script.beside = beside
    for table in script.tables:
        _append(script, "\n".join(commands_in(table)))
    trained, builders = _trained(script), _builders(script)
    where = ""
    if not trained and not builders:
        written = _written(script)
        if written:  # a script that writes another, for a person or another program to start
            where = written[0]
            _append(script, "\n".join(script.files[name].text for name in written))  # type: ignore[union-attr]
            trained = _trained(script)
    working = [one for one in trained if not _other_work(one)]
    if len(working) + len(builders) > 1:
        names = ", ".join([*(one.library for one in working), *("Python" for _ in builders)])
        raise ValueError(f"{len(working) + len(builders)} training commands in one text ({names}): give one at a time.")
    if builders:
        return Options({}, None, "", "", (), _defaults(script), script.passes_on, python=builders[0])
    if trained:
        one = (working or trained)[0]
        return _options(script, [one.rest], [one.command], one.library, " ".join(one.words), _other_work(one), where)
    for held in script.python:
        refuse_other_program(held.text)
    found = [c for command in script.commands if not shows(command.words, script.shows) for c in _nested(command)]
    other = next((words for command in found if (words := of_program(" ".join(command.words))[0])), "")
    scripts = [
        (command, command.words[n + 1 :], word)
        for command in found
        for n, word in enumerate(command.words)
        if word.endswith(".py") and "=" not in word
    ]
    # Options before a script are its launcher's (accelerate launch --num_processes 8 train.py --epsilon 0.2). Of several scripts
    # one makes the data, say, and another trains.
    chosen = sorted(scripts, key=lambda one: -_deciding(one[1]))[:1] or [(command, command.words, "") for command in found]
    return _options(
        script, [words for _, words, _ in chosen], [c for c, _, _ in chosen], None, chosen[0][2] if chosen else "", other
    )


def _deciding(words: list[str]) -> int:
    """How many options alone say whose configuration this is."""
    keys = [key for key, _ in _pairs(words) if key is not None]
    return sum(any(library.decides(key) for library in LIBRARIES.values()) for key in keys)


def _append(script: Script, text: str) -> None:
    """Take the commands of another script as commands of this one."""
    inner = read_script(text)
    script.commands += inner.commands
    script.defaults |= inner.defaults
    script.passes_on |= inner.passes_on
    script.asks |= inner.asks


def _written(script: Script) -> list[str]:
    """Names of scripts that are written, start a trainer and are not run: by their suffix, or their first line."""
    return [
        name
        for name, held in script.files.items()
        if held is not None
        and name not in script.started
        and (name.endswith(_SCRIPTS) or held.text.startswith("#!"))
        and starts_trainer(held.text)
    ]


def _builders(script: Script) -> list[str]:
    """Texts run by Python that build the configuration of a known library."""
    found = []
    for held in script.python:
        text = held.text
        for name in held.outside:
            text = re.sub(rf"\$(?:{name}\b|\{{{name}\}})", OUTSIDE.format(name), text)
        if builds(text):
            found.append(text)
    return found


def _options(
    script: Script,
    words: list[list[str]],
    commands: list[Command],
    entry: str | None,
    command: str,
    other_work: str,
    where: str = "",
) -> Options:
    started = [one for one, command in zip(words, commands, strict=True) if runs(command.words)]
    own: dict[str, Any] = {}
    sweeps = entry is not None and any(word in _SWEEPS for one in words for word in one)
    loose = dict.fromkeys(["a part that is not valid bash"] if any(c.unreadable for c in commands) else [])
    these = set(map(id, commands))
    others = [command.words[0] for command in script.commands if command.words and id(command) not in these]
    if any(word.startswith("--") or _MANY.match(word) for word in others):
        loose[_CUT] = None
    for key, value in (pair for one in words for pair in _pairs(_with_files(script, one))):
        if key is None:
            loose[str(value)] = None
        else:
            own[key] = _swept(value) if sweeps else _explained(key, value, script)
    folder = own.get("config_path")
    script.folder = folder if isinstance(folder, str) else ""
    values = {key: value for one in started for table in _tables(script, one) for key, value in table.items()} | own
    names = {key: str(getattr(values[key], "text", values[key])) for key in _FILES if key in values}
    read = [key for key, name in names.items() if _file(script, key, name) is not None]
    for key in [*read, *(["config_path"] if "config_name" in read else [])]:
        values.pop(key, None)
    named = tuple(script.found)
    return Options(
        values, entry, command, other_work, tuple(loose), _defaults(script), script.passes_on, script.asks, where, named
    )


def _defaults(script: Script) -> tuple[str, ...]:
    return tuple(f"{name}={value}" for name, value in script.defaults.items())


def _swept(value: Any) -> Any:
    """A value, or what it may be where hydra starts a run for each of several."""
    parts = value.split(",") if isinstance(value, str) and not re.search(r"[\[({'\"]", value) else []
    why = f"{' or '.join(part.strip() for part in parts)} (hydra's sweep has a run for each)"
    return Unresolved(str(value), why, _numbers(parts)) if len(parts) > 1 and all(parts) else value


def _numbers(texts: Sequence[str | None]) -> tuple[float, ...]:
    """The numbers that texts spell, none where one spells none."""
    found: list[Any] = [leaf(text) if text is not None else None for text in texts]
    return tuple(map(float, found)) if all(map(is_number, found)) else ()


def _explained(key: str, value: Any, script: Script) -> Any:
    """A value with what it may be, where a condition of the script sets it."""
    reasons = script.reasons
    if isinstance(value, list):
        return [_explained(key, each, script) for each in value]
    if not isinstance(value, Unresolved):
        return value
    if value.text == EITHER:
        return replace(value, why=reasons.get(key, ""))
    found = {f"${name}": name for name in re.findall(r"\$\{?(\w+)", value.text) if f"${name}" in reasons}
    if value.text.strip("{}$") in found.values():
        name = next(iter(found))
        return replace(value, why=reasons[name], among=_numbers(script.among.get(name, [])))
    why = "; ".join(f"{name} = {reasons[name]}" for name in found)
    return replace(value, why=f"{value.text} with {why}" if why else "")


def _with_files(script: Script, words: list[str]) -> list[str]:
    """The words with those of a file that the script writes in the place of @FILE; one that was read as a table is left out."""
    out: list[str] = []
    for word in words:
        if out[-1:] == ["@"]:
            word = f"@{word}"
            out.pop()
        held = next((h for name, h in script.files.items() if same_file(name, word[1:])), None) if word[:1] == "@" else None
        if held is None and not (word[:1] == "@" and word.endswith(_CONFIGURATIONS) and _file(script, "", word[1:])):
            out.append(word)
        elif held is not None and not word.endswith(_CONFIGURATIONS):
            out += held.text.split()
    return out


def _tables(script: Script, words: list[str]) -> Iterator[dict[str, Any]]:
    """Settings in files that the script writes and its training command names: --config grpo.yaml, or before all flags."""
    flags = 0
    for word, following in zip(words, [*words[1:], ""], strict=False):
        flag, given, value = word.partition("=")
        name, key = word.lstrip("@"), ""
        if word.startswith("--"):
            flags += 1
            key, name = flag[2:].replace("-", "_"), value if given else following
        elif given and flag == "config":
            key, name = flag, value
        if key in _FILES if key else not flags or word.startswith("@"):
            table = _file(script, key, name)
            yield dict(flat_keys(table)) if table is not None else {}


def _file(script: Script, key: str, name: str) -> dict[str, Any] | None:
    """The table of a configuration that the script writes or that lies beside it, None where it is neither."""
    if key == "config_name":  # of hydra, in its folder
        name = f"{script.folder}/{name}" if script.folder else name
        name += "" if name.endswith(_CONFIGURATIONS) else ".yaml"
    if not name.endswith(_CONFIGURATIONS):
        return None
    if name in script.found:
        return script.found[name]
    kind = "toml" if name.endswith(".toml") else "yaml"
    written = [held for other, held in script.files.items() if same_file(other, name)]
    if written:
        return None if written[0] is None else parse_table(written[0].text, kind)
    if (text := script.beside(name)) is None:
        return None
    script.found[name] = parse_table(text, kind)
    return script.found[name]


def _nested(command: Command) -> list[Command]:
    """bash -c "python -m trainer ...", --wrap="srun bash -c '...'": the command is one word of another, which may be so, too."""
    inner = [word for word in command.words if " " in word and starts_trainer(word)]
    found = [c for word in inner for c in read_script(_WRAP.sub("", word)).commands if not shows(c.words)]
    return [n for c in found for n in (_nested(c) if c.words != command.words else [c])] if inner else [command]


def _trained(script: Script) -> list[_Trained]:
    """The commands that start a library's program."""
    found = [c for command in script.commands if not shows(command.words, script.shows) for c in _nested(command)]
    return [one for command in found if (one := _known(command)) is not None]


def _known(command: Command) -> _Trained | None:
    line = " ".join(word.replace(" ", "\0") for word in command.words)  # so that a space stands between words only
    for name, library in LIBRARIES.items():
        match = library.entry and re.search(rf"(^|\s|/)({library.entry})(?=\s|$)", line)
        if match:
            count = len(line[: match.end()].split(" "))
            return _Trained(name, command, match[0].split(), command.words[count:])
    return None


def _other_work(one: _Trained) -> str:
    words = " ".join(one.words)
    match = re.search(LIBRARIES[one.library].other_work or "(?!)", words)
    return "" if match is None else words


def _pairs(words: list[str]) -> Iterator[tuple[str | None, Any]]:
    """`--flag value ...`, `--flag=value`, a bare `--flag`, `a.b=value`; other words are the program and its arguments.

    A `$WORD` where an option may stand has the key None: it could hold any settings.
    """
    flag, values = "", list[Any]()
    for at, word in enumerate([*words, "--end"]):
        # A key without a dot is a group choice of hydra; right after a bare flag it is that flag's value.
        override = OVERRIDE.match(word) or (_CHOICE.match(word) if values or not flag else None)
        if _MODEL.match(word) and (not flag or values or "@" in word):
            continue
        if not _FLAG.match(word) and not override:
            value = leaf(word)
            if at and word.startswith("@") and len(word) > 1 and (not flag or values):
                yield None, word
                continue
            several = flag.endswith(_SEVERAL) or (values and isinstance(values[0], Unresolved))
            full = (values and not several) or (flag.endswith(_PAIR) and len(values) == 2)
            if word.startswith("$") and (not flag or full or _MANY.match(word)):
                yield None, word
            else:
                values.append(value)
            continue
        if flag:
            yield flag, True if not values else values[0] if len(values) == 1 else values
        flag, values = "", []
        if override:
            yield override[1], leaf(override[2])
        else:
            name, given, text = word.lstrip("-").partition("=")
            flag, values = name.replace("-", "_"), [leaf(text)] if given else []
