"""Enough of a shell to read a launch script: words, literal variables, arrays, and defaults written as `${NAME:-value}`.

Nothing is run. A variable is substituted only if the script sets it unconditionally, to text. What only a real shell
would know (the environment, `$(command)`, arithmetic, assignments under `if` or `case`) stays as it is written, with its `$`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Script", "read_script"]

_REFERENCE = re.compile(r"\$\{(\w+)(?::?[-=]((?:[^{}]|\$\{[^{}]*\})*))?\}|\$(\w+)")
_ASSIGNMENT = re.compile(r"^([A-Za-z_]\w*)(\+?)=(.*)$", re.DOTALL)
_ARRAY = re.compile(r"^\$\{(\w+)\[[@*]\]\}$")
_KEY = re.compile(r"^\+{0,2}([\w.@/-]+)=")
_ARGUMENTS = ("$@", "$*", "${@}", "${*}", "${@:1}", "${@:2}")
_OPENS, _CLOSES = ("if", "case", "for", "while", "until"), ("fi", "esac", "done")


class _Word(NamedTuple):
    text: str
    quoted: bool = False


@dataclass
class Script:
    """commands: each a list of words. defaults: `NAME=value` taken from `${NAME:-value}`, which the environment may override."""

    commands: list[list[str]] = field(default_factory=list)
    defaults: dict[str, str] = field(default_factory=dict)


def read_script(text: str) -> Script:
    """The commands of a script with literal variables and arrays put in. ValueError for a quotation that does not end."""
    return _Reader(text).read()


class _Scanner:
    """Cuts text into commands and words. A comment line inside a continued command does not end it."""

    def __init__(self, text: str) -> None:
        kept = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
        self.text, self.at = "\n".join(kept) + "\n", 0

    def commands(self) -> list[list[_Word | list[_Word]]]:
        """Commands as lists of words; an array `NAME=( ... )` is the word `NAME=` followed by a list."""
        found: list[list[_Word | list[_Word]]] = [[]]
        while self.at < len(self.text):
            here = self.text[self.at]
            if self.text.startswith("\\\n", self.at):
                self.at += 2
            elif here in " \t\r":
                self.at += 1
            elif here in "\n;&|)(":
                self.at += 1
                found.append([])
            elif here == "#":
                self.at = self.text.index("\n", self.at)
            elif here in "<>":
                self._redirection()
            else:
                word = self._word()
                if word.text.isdecimal() and self.text[self.at : self.at + 1] in ("<", ">"):
                    continue  # 2>&1
                found[-1].append(word)
                if word.text.endswith("=") and not word.quoted and self.text[self.at : self.at + 1] == "(":
                    self.at += 1
                    found[-1].append(self._array())
        return [command for command in found if command]

    def _array(self) -> list[_Word]:
        words = list[_Word]()
        while self.at < len(self.text):
            here = self.text[self.at]
            if here == ")":
                self.at += 1
                return words
            if here in " \t\r\n\\":
                self.at += 1
            elif here == "#":
                self.at = self.text.index("\n", self.at)
            else:
                words.append(self._word())
        raise ValueError("the script cannot be read: an array NAME=( ... ) has no closing parenthesis.")

    def _redirection(self) -> None:
        """`2>&1`, `> file`, and here-documents, whose text is skipped."""
        document = re.compile(r"<<-?\s*(['\"]?)(\w+)\1").match(self.text, self.at)
        if document:
            end = re.compile(rf"^\s*{document[2]}\s*$", re.MULTILINE).search(self.text, document.end())
            self.at = end.end() if end else len(self.text)
            return
        self.at += len(re.compile(r"[<>]+&?\s*").match(self.text, self.at)[0])  # type: ignore[index]
        if self.text[self.at] not in "\n;":
            self._word()

    def _word(self) -> _Word:
        parts, quoted = list[str](), False
        while self.at < len(self.text):
            here = self.text[self.at]
            if self.text.startswith("\\\n", self.at):
                self.at += 2
                break
            if here in " \t\r\n;&|()<>":
                break
            if here == "'":
                end = self._find("'", self.at + 1)
                # What stands in single quotes is text: a $ in it is no variable, but it is no setting either.
                parts.append(self.text[self.at + 1 : end])
                self.at, quoted = end + 1, True
            elif here == '"':
                parts.append(self._double_quoted())
                quoted = True
            elif here == "\\":
                parts.append(self.text[self.at + 1 : self.at + 2])
                self.at += 2
            elif self.text[self.at : self.at + 2] in ("$(", "${"):
                parts.append(self._bracketed())
            else:
                parts.append(here)
                self.at += 1
        return _Word("".join(parts), quoted)

    def _double_quoted(self) -> str:
        self.at, parts = self.at + 1, list[str]()
        while self.at < len(self.text) and self.text[self.at] != '"':
            if self.text.startswith("\\\n", self.at):
                self.at += 2
            elif self.text[self.at] == "\\" and self.text[self.at + 1 : self.at + 2] in ('"', "\\", "$", "`"):
                parts.append(self.text[self.at + 1])
                self.at += 2
            elif self.text[self.at : self.at + 2] in ("$(", "${"):
                parts.append(self._bracketed())
            else:
                parts.append(self.text[self.at])
                self.at += 1
        if self.at >= len(self.text):
            raise ValueError("the command line cannot be split into words: a double quotation does not end.")
        self.at += 1
        return "".join(parts)

    def _bracketed(self) -> str:
        """`${...}`, `$(...)` or `$((...))` without the spaces and quotes inside, so that it stays one word."""
        start, depth = self.at, 0
        for end in range(start + 1, len(self.text)):
            depth += (self.text[end] in "({") - (self.text[end] in ")}")
            if depth == 0:
                self.at = end + 1
                return re.sub(r"[\s'\"]", "", self.text[start : self.at])
        raise ValueError(f"the script cannot be read: {self.text[start : start + 20]!r} has no closing bracket.")

    def _find(self, mark: str, start: int) -> int:
        end = self.text.find(mark, start)
        if end < 0:
            raise ValueError("the command line cannot be split into words: a single quotation does not end.")
        return end


def _either_way(name: str, before: list[str], after: list[str]) -> list[str]:
    """The words of an array that is changed under a condition: a key=value in one case only has no known value."""
    if not all(_KEY.match(word) for word in (*before, *after)):
        return [f"${{{name}[@]}}"]
    cases = [{word.partition("=")[0]: word for word in words} for words in (before, after)]
    keys = dict.fromkeys([*cases[0], *cases[1]])
    same = {key for key in keys if cases[0].get(key) == cases[1].get(key)}
    return [cases[0][key] if key in same else f"{key}=$(set-under-a-condition)" for key in keys]


class _Reader:
    """Puts literal variables and arrays in, in order. A name set under a condition has no value until it is set without one."""

    def __init__(self, text: str) -> None:
        self.scanned = _Scanner(text).commands()
        self.variables: dict[str, str | None] = {}
        self.arrays: dict[str, list[str]] = {}
        self.script = Script()
        self.depth = 0

    def read(self) -> Script:
        for command in self.scanned:
            first = command[0]
            if isinstance(first, _Word) and not first.quoted:
                self.depth += (first.text in _OPENS) - (first.text in _CLOSES)
                if first.text in ("export", "local", "readonly", "then", "else", "do"):
                    command = command[1:]
            if not self._assigns(command):
                words = [expanded for word in command if isinstance(word, _Word) for expanded in self._expand_word(word)]
                self.script.commands.append(words)
        return self.script

    def _assigns(self, command: list[_Word | list[_Word]]) -> bool:
        """Take the assignments of a command that is nothing else; True if it is."""
        words = [word for word in command if isinstance(word, _Word)]
        if not words or not all(_ASSIGNMENT.match(word.text) for word in words):
            return not words
        for word, after in zip(command, [*command[1:], None], strict=True):
            match = _ASSIGNMENT.match(word.text) if isinstance(word, _Word) else None
            if match and isinstance(after, list):
                self._set_array(match[1], bool(match[2]), [text for item in after for text in self._expand_word(item)])
            elif match:
                self.variables[match[1]] = None if self.depth > 0 or match[2] else self._expand(match[3])
        return True

    def _set_array(self, name: str, append: bool, words: list[str]) -> None:
        before = self.arrays.get(name, [])
        after = [*before, *words] if append else words
        self.arrays[name] = _either_way(name, before, after) if self.depth > 0 else after

    def _expand_word(self, word: _Word) -> list[str]:
        array = _ARRAY.match(word.text)
        if array:
            return self.arrays.get(array[1], [word.text])
        if word.text in _ARGUMENTS:
            return []
        text = self._expand(word.text)
        return text.split() if not word.quoted and _REFERENCE.fullmatch(word.text) and "$" not in text else [text]

    def _expand(self, text: str) -> str:
        return _REFERENCE.sub(self._value, text)

    def _value(self, match: re.Match[str]) -> str:
        name = match[1] or match[3]
        if name in self.variables and not (self.variables[name] == "" and match[2]):
            value = self.variables[name]
            return match[0] if value is None else value
        if match[2] is None:
            return match[0]
        value = self._expand(match[2])
        if "$" not in value:
            self.script.defaults[name] = value
        return value
