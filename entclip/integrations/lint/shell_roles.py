"""What a command does with text: runs what it is fed, passes it on, only says or keeps it; and which written file it starts.

A here-document is data of the command that gets it. Whether that data is a program is the command's doing: `bash` runs it, `cat`
hands it on, `grep` does neither.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["Started", "assigned", "edits", "fed", "file_name", "operands", "program", "runs", "same_file", "shows", "started"]

SHELLS = ("bash", "sh", "zsh", "dash", "ksh", "ash")
_PYTHON = re.compile(r"i?python[\d.]*$")
# Programs that run what they are given to run.
_WRAPPERS = ("sudo", "env", "nohup", "exec", "time", "command", "builtin", "nice", "stdbuf", "timeout", "eval")
_QUEUES = ("sbatch", "qsub", "bsub", "msub", "at", "batch")
_STARTERS = (
    *SHELLS,
    *_WRAPPERS,
    *_QUEUES,
    "source",
    ".",
    "srun",
    "ssh",
    "mpirun",
    "xargs",
    "accelerate",
    "torchrun",
    "deepspeed",
)
# Programs that list, edit, move or compare files.
_HANDLES = (
    *("ls", "rm", "cp", "mv", "vi", "vim", "nano", "chmod", "scp", "rsync", "head", "tail", "less", "more", "diff", "test", "["),
    *("touch", "mkdir", "tar", "zip", "wc", "jq", "yq", "stat", "file", "ln", "curl", "wget", "gsutil", "aws"),
)
_EDITS = ("sed", "gsed", "perl", "ruby", "yq", "patch", "rm", "truncate", "dos2unix")
# Programs that write their words or their files out, or look something up in them.
_SHOWS = ("echo", "printf", "logger", "grep", "egrep", "sed", "awk", "cat", "tee", "git", ":", "read")
_TABLES = ("kubectl", "oc")
_SSH_WITH_VALUE = frozenset("bcDEeFIiJLlmOopQRSWw")


@dataclass(frozen=True)
class Started:
    """A text that a command runs. kind: shell, python, or table (a job's file). arguments: words that the text is given.

    sourced: whether the shell that reads the script itself runs it, so that variables are shared.
    """

    kind: str
    arguments: tuple[str, ...] = ()
    sourced: bool = False


def _base(word: str) -> str:
    return word.lstrip("@-").rpartition("/")[2] if word != "-" else word


def program(words: list[str]) -> str:
    """Return the name of the program that a command starts, wrappers such as sudo and env left out."""
    for word in words:
        if _base(word) not in _WRAPPERS and not word.startswith("-") and not re.match(r"\w+=|\d+[smhd]?$", word):
            return "." if word == "." else _base(word)
    return ""


def operands(words: Iterable[str]) -> list[str]:
    """Return the words that are no options."""
    return [word for word in words if not word.startswith("-") or word == "-"]


def runs(words: list[str]) -> bool:
    """Tell whether a command starts a program that may read a configuration, and not one that lists, edits or moves files."""
    return program(words) not in (*_HANDLES, *_SHOWS)


def shows(words: list[str], own: Collection[str] = ()) -> bool:
    """Tell whether a command only says, keeps or searches its words, so that a trainer named in them is not started.

    own: functions of the script that do no more.
    """
    return program(words) in _SHOWS or program(words) in own


def edits(words: list[str]) -> bool:
    """Tell whether a command changes the files that its words name: sed -i, perl -pi, yq -i, patch."""
    in_place = any(re.match(r"-[a-z]*i|--in-?place", word) for word in words)
    return program(words) in _EDITS and (in_place or program(words) in ("patch", "rm", "truncate", "dos2unix"))


def fed(words: list[str]) -> Started | None:
    """Return how a command runs what it gets on its standard input, None where it does not."""
    # ssh host 'bash -s' has the remote command in one word.
    flat = [part for word in words for part in word.split()] or [""]
    for at in range(len(flat) - 1, -1, -1):
        name, rest = _base(flat[at]), flat[at + 1 :]
        if name in SHELLS:
            return _by_shell(rest)
        if _PYTHON.match(name):
            given = operands(rest)
            other = any(word.startswith(("-m", "-c")) for word in rest)
            return None if other or (given and given[0] != "-") else Started("python", tuple(given[1:]))
    name, rest = program(words), words[1:]
    if name == "ssh":
        return Started("shell") if len(_of_ssh(rest)) == 1 else None
    if name == "su" or (name == "" and any(word in ("-i", "-s") for word in words)):
        return Started("shell") if "-c" not in rest else None
    if name in _QUEUES:
        return Started("shell") if not any("." in word for word in operands(rest)) and "--wrap" not in " ".join(rest) else None
    if name in _TABLES and "-" in rest:
        return Started("table")
    return None


def _by_shell(rest: list[str]) -> Started | None:
    given: list[str] = []
    words = iter(rest)
    by_input = False
    for word in words:
        if given or not word.startswith(("-", "+")) or word == "-":
            given.append(word)
        elif word in ("-o", "+o", "-O", "+O", "--rcfile", "--init-file"):
            next(words, None)
        elif re.fullmatch(r"-[a-z]*c", word):
            return None
        elif re.fullmatch(r"-[a-z]*s", word):
            by_input = True
    if not by_input and given and given[0] in ("-", "/dev/stdin"):
        given, by_input = given[1:], True
    return Started("shell", tuple(given)) if by_input or not given else None


def _of_ssh(rest: list[str]) -> list[str]:
    """The host, and the command where there is one."""
    given: list[str] = []
    words = iter(rest)
    for word in words:
        if given or not word.startswith("-"):
            given.append(word)
        elif word[-1] in _SSH_WITH_VALUE and len(word) == 2:
            next(words, None)
    return given


def file_name(word: str) -> str:
    """Return the name of a file without its folder."""
    return posixpath.basename(posixpath.normpath(word))


def same_file(first: str, second: str) -> bool:
    """Tell whether two names are of one file, as far as names say: run.sh, ./run.sh and $DIR/run.sh are."""
    a, b = posixpath.normpath(first), posixpath.normpath(second)
    if a == b:
        return True
    short = "/" not in a or "/" not in b or "$" in a + b
    return short and posixpath.basename(a) == posixpath.basename(b)


def started(words: list[str], at: int, name: str) -> Started | None:
    """Return how a command runs the file that one of its words names, None where it does something else with it."""
    before = [_base(word) for part in words[:at] for word in part.split()]
    rest = tuple(words[at + 1 :])
    # A name without a folder is a program's, not that of a file beside.
    itself = at == 0 and "/" in words[0]
    if name.endswith(".py"):
        ran = itself or any(_PYTHON.match(word) or word in _STARTERS for word in before)
        return Started("python", rest) if ran else None
    if program(words) in _TABLES or (before[:2] == ["sky", "launch"]):
        return Started("table")
    if name.endswith((".yaml", ".yml", ".json", ".toml")):
        return None
    sourced = bool(before) and before[-1] in ("source", ".")
    return Started("shell", rest, sourced) if itself or any(word in _STARTERS for word in before) else None


def assigned(words: list[str], text: str | None, separator: str | None) -> tuple[list[str], str, list[str] | None]:
    """Return the names that a `read` sets, the array that it sets instead, and their values, None where they are not known.

    `read -r -d '' NAME`: a name gets a line of the text, or all of it up to what -d gives. separator: IFS, None if it is not set.
    """
    raw, end, names, array = False, "\n", list[str](), ""
    rest = iter(words[words.index("read") + 1 :] if "read" in words else ())
    for word in rest:
        if not word.startswith("-") or word == "-":
            names += [word] if word else []
            continue
        for at, option in enumerate(word[1:], 1):
            raw |= option == "r"
            if option in "adinNptu":
                value = word[at + 1 :] or next(rest, "")
                end = value[:1] if option == "d" else end
                array = value if option == "a" else array
                break
    if text is None or (separator and len(separator) > 1 and (array or len(names) > 1)):
        return names, array, None
    if not raw:
        text = re.sub(r"\\(.)", lambda m: "" if m[1] == "\n" else m[1], text, flags=re.DOTALL)
    text = text.partition(end)[0] if end else text
    between = separator if separator and len(separator) == 1 else None
    if array:
        return names, array, text.split(between)
    text = text if separator == "" else text.strip()
    return names, array, [text] if len(names) == 1 else text.split(between, max(len(names) - 1, 0))
