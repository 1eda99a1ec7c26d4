"""Enough of a shell to read a launch script: its commands, with literal variables put in, and those of the texts that it runs.

Nothing is run. A variable is substituted only if the script sets it to text, unconditionally or under a condition that its own
text decides. What only a real shell would know (the environment, `$(command)`, assignments under any other condition or in a
loop) stays as it is written, with its `$`, and what it may be is kept. A text in the script, a here-document for one, is data: it
becomes commands only where the script has it run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from entclip.integrations.lint.shell_documents import cut_documents
from entclip.integrations.lint.shell_functions import Functions
from entclip.integrations.lint.shell_roles import (
    Started,
    assigned,
    edits,
    fed,
    file_name,
    operands,
    program,
    same_file,
    started,
)
from entclip.integrations.lint.shell_tree import Unfinished, parse, refuse_unfinished, text_of, without_inner_comments
from entclip.integrations.lint.shell_words import Command, Held, Script, together

__all__ = ["Command", "Held", "Script", "read_script"]

MAX_SCRIPT = 250_000  # characters: launch scripts are a hundredth of that
MAX_STARTS = 50  # texts that a script runs, and those that they run in turn
_CONDITIONAL = {
    "c_style_for_statement": "in a loop",
    "subshell": "in a subshell",
    "command_substitution": "in a subshell",
    "process_substitution": "in a subshell",
}
_REDIRECTS = ("file_redirect", "heredoc_redirect", "herestring_redirect")


def read_script(text: str) -> Script:
    """Return the commands of a script with literal variables and arrays put in.

    Raises: ValueError for a quotation that does not end, a script longer than MAX_SCRIPT or nested too deeply, or variables that
        multiply beyond MAX_EXPANDED.
    """
    if len(text) > MAX_SCRIPT:
        raise ValueError(f"the script has {len(text):,} characters, over {MAX_SCRIPT:,}: give the file that starts the training.")
    try:
        return _Reader().read(text)
    except RecursionError:
        raise ValueError("the script is nested too deeply to be a launch script.") from None


class _Reader(Functions):
    """Reads statements in order."""

    def __init__(self, outside: frozenset[str] = frozenset(), arguments: Sequence[str] | None = None) -> None:
        super().__init__(outside, arguments)
        self.starts: list[str] = []  # shared with the texts that are run

    def read(self, text: str) -> Script:
        plain, documents = cut_documents(text)
        # A sourced text has names for its own documents.
        prefix = f"/{len(self.starts)}"
        self.documents |= {prefix + name: found for name, found in documents.items()}
        root = parse(without_inner_comments(re.sub(r" < (?=/here-document/\d+ )", f" < {prefix}", plain)))
        refuse_unfinished(root)
        around, self.root = self.root, root
        self.statement(root)
        self.root = around
        return self.script

    def output(self, node: Any) -> Held | None:
        kept, self.script = self.script, replace(self.script, commands=[], python=[], tables=[], passes_on=False)
        self.conditions.append("in a subshell")
        try:
            inner = [child for child in node.named_children if child.type != "comment"]
            if len(inner) != 1:
                return None
            if inner[0].type == "file_redirect":  # $(<file)
                return self._redirected(inner)[0]
            return self.statement(inner[0]) if inner[0].type in ("command", "redirected_statement", "pipeline") else None
        finally:
            self.conditions.pop()
            kept.passes_on |= self.script.passes_on
            kept.asks |= self.script.asks
            self.script = kept

    def statement(self, node: Any, given: Held | None = None) -> Held | None:
        """Read a statement that gets `given` on its standard input; return what it writes, where that is known."""
        kind = node.type
        if kind == "command":
            return self._command(node, given)
        if kind == "redirected_statement":
            return self._redirect(node, given)
        if kind == "pipeline":
            return self._pipeline(node, given)
        if kind == "variable_assignment":
            self.assign(node)
        elif kind == "list":
            return self.chain(node, given)
        elif kind in ("while_statement", "for_statement"):
            self.loop(node)
        elif kind == "unset_command":
            for name in (text_of(child) for child in node.named_children):
                self.set_variable(name, "")
                self.set_array(name, [])
        elif kind == "compound_statement" and text_of(node).startswith("(("):
            self.arithmetic(text_of(node))
        elif kind == "function_definition" and node.named_children:
            self.define(node)
        elif kind == "declaration_command" and text_of(node).startswith("local "):
            kept, self.inside = self.inside, []
            together([self.statement(child) for child in node.named_children])
            self.inside = kept
        elif kind == "if_statement":
            self.branches(node)
        elif kind == "case_statement":
            self.case(node)
        elif kind in _CONDITIONAL:
            for name in (c for c in node.children if c.type == "variable_name"):
                self.set_variable(text_of(name), None)  # a loop's own
            said = self.under_condition(node.named_children, f"line {node.start_point[0] + 1}, {_CONDITIONAL[kind]}")
            return said if kind == "subshell" else None
        elif kind not in ("string", "raw_string", "word", "comment", *_REDIRECTS):
            return together([self.statement(child, given) for child in node.named_children])
        return None

    def _pipeline(self, node: Any, given: Held | None) -> Held | None:
        parts = [child for child in node.named_children if child.type != "comment"]
        said: Held | None = None
        for number, part in enumerate(parts, 1):
            said = self.statement(part, given if number == len(parts) and given is not None else said)
        return said

    def _redirect(self, node: Any, given: Held | None) -> Held | None:
        redirects = [child for child in node.named_children if child.type in _REDIRECTS]
        source, target, appends = self._redirected(redirects)
        said: Held | None = None
        for child in node.named_children:
            if child.type not in _REDIRECTS:
                said = self.statement(child, source or given)
        if target is None:
            return said
        self._write(target, said, appends)
        return None

    def _redirected(self, redirects: list[Any]) -> tuple[Held | None, str | None, bool]:
        """What comes from a file or here-document, the file that is written, and whether it goes on there."""
        source, target, appends = None, None, False
        for each in redirects:
            sign = next((text_of(c) for c in each.children if not c.is_named), "")
            descriptor = next((text_of(c) for c in each.children if c.type == "file_descriptor"), "")
            words = [w for c in each.named_children if c.type != "file_descriptor" for w in self.words(c)]
            if each.type == "herestring_redirect":
                source = Held("".join(self.joined(c) for c in each.named_children) + "\n")
            elif each.type == "file_redirect" and words and sign == "<":
                source = self.document(words[0]) or self._file(words[0])[1]
            elif each.type == "file_redirect" and words and sign in (">", ">>", ">|", "&>", "&>>") and descriptor != "2":
                target, appends = words[0], sign.endswith(">>")
        return source, target, appends

    def _file(self, word: str) -> tuple[str, Held | None]:
        """The name of the written file that a word means, and its text; empty and None where there is none or more than one."""
        if not word or word.startswith("/dev/"):
            return "", None
        found = [name for name in self.script.named.get(file_name(word), ()) if same_file(name, word)]
        return (found[0], self.script.files[found[0]]) if len(found) == 1 else ("", None)

    def _write(self, word: str, held: Held | None, appends: bool) -> None:
        if word.startswith("/dev/") or self.dead:
            return
        name, before = self._file(word)
        if appends and name:
            known = before is not None and held is not None
            held = Held(before.text + held.text, before.outside | held.outside) if known and before and held else None
        if not name:
            self.script.named.setdefault(file_name(word), []).append(word)
        self.script.files[name or word] = held

    def _command(self, node: Any, given: Held | None) -> Held | None:
        if self.ended:
            return None
        words: list[str] = []
        separator: str | None = None
        for child in node.named_children:
            if child.type == "command_name":
                words += [w for part in child.children for w in self.words(part)]
            elif child.type in _REDIRECTS:
                given = self._redirected([child])[0] or given
            elif child.type != "variable_assignment":  # FOO=1 command: the environment of that command only
                words += self.words(child)
            elif text_of(child).startswith("IFS="):
                separator = text_of(child)[4:].strip("'\"")
        name = program(words)
        if words[:1] == [name] and name in self.bodies:
            together([self.statement(child) for child in node.named_children if child.type == "variable_assignment"])
            return self.call(name, words[1:])
        if name == "read":
            self._read(words, given, separator)
        elif name in ("mapfile", "readarray") and words[-1].isidentifier():
            self.set_array(words[-1], given.text.splitlines() if given else [f"${{{words[-1]}[@]}}"])
        elif name == "set" and "--" in words and not self.dead:
            given_words = words[words.index("--") + 1 :]
            self.arguments = ["$@"] if self.conditions else given_words
            self.variables |= {str(n): None if self.conditions else word for n, word in enumerate(given_words, 1)}
        elif name == "let":
            self.arithmetic(" ".join(words))
        elif name == "printf" and words[-2:] and "-v" in words[:-1]:
            self.set_variable(words[words.index("-v") + 1], None)
        elif name == "xargs" and given is not None:
            words += given.text.split()
        self.script.commands.append(Command(words, unreadable=node.has_error))
        sure = not (self.conditions or self.dead or self.inside)
        self.ended |= sure and words[:1] in (["exit"], ["exec"]) and (words[0] == "exit" or len(words) > 1)
        if name in self.sets and not self.inside:
            self.called(name, node.start_point[0] + 1)
        if edits(words):
            self.script.files |= {name: None for word in words[1:] if (name := self._file(word)[0])}
        self._start(words, given)
        return self._said(name, words, given)

    def _start(self, words: list[str], given: Held | None) -> None:
        """Read the text that a command runs: a file that was written, or what it is fed."""
        for at, word in enumerate(words):
            name, held = self._file(word)
            how = started(words, at, name) if held is not None else None
            if how is not None and held is not None:
                self.script.started.add(name)
                self._run(how, held)
                return
        how = fed(words) if given is not None else None
        if how is not None and given is not None:
            self._run(how, given)

    def _run(self, how: Started, held: Held) -> None:
        self.starts.append(how.kind)
        if len(self.starts) > MAX_STARTS:
            raise ValueError(f"the script runs over {MAX_STARTS} texts that it holds: give the one that starts the training.")
        if how.kind == "python":
            self.script.python.append(held)
        elif how.kind == "table":
            self.script.tables.append(held.text)
        elif how.sourced:
            self._inner(self, held)
        else:
            inner, own = _Reader(held.outside, how.arguments), self.script
            inner.script = replace(own, passes_on=False)  # the same lists, files and defaults
            inner.starts, inner.expanded = self.starts, self.expanded
            self._inner(inner, held)
            self.expanded = inner.expanded

    def _inner(self, reader: _Reader, held: Held) -> None:
        try:
            reader.read(held.text)
        except Unfinished:
            self.script.commands.append(Command([], unreadable=True))

    def _said(self, name: str, words: list[str], given: Held | None) -> Held | None:
        """What a command that writes texts out writes, None for all others."""
        at = next((n for n, word in enumerate(words) if word.rpartition("/")[2] == name), len(words))
        rest = words[at + 1 :]
        files = operands(rest)
        if name == "cat" and files and files != ["-"]:
            return together([self._file(word)[1] for word in files])
        if name in ("cat", "envsubst"):
            return given
        if name == "tee":
            for word in files:
                self._write(word, given, "-a" in rest)
            return given
        if name in ("cp", "mv") and len(files) == 2:
            self._write(files[1], self._file(files[0])[1], appends=False)
        if name == "echo":
            options = [word for word in rest[:1] if re.fullmatch(r"-[neE]+", word)]
            text = " ".join(rest[len(options) :])
            return Held((_unescaped(text) if "e" in "".join(options) else text) + ("" if "n" in "".join(options) else "\n"))
        if name == "printf" and rest and rest[0] in ("%s", r"%s\n", "%s\n"):
            return Held("".join(f"{word}\n" if "n" in rest[0] else word for word in rest[1:]))
        if name == "printf" and rest and "%" not in rest[0]:
            return Held(_unescaped(rest[0]))
        return None

    def _read(self, words: list[str], given: Held | None, separator: str | None) -> None:
        names, array, parts = assigned(words, None if given is None else given.text, separator)
        if array:
            self.set_array(array, [f"${{{array}[@]}}"] if parts is None else parts)
        for at, name in enumerate(names):
            self.set_variable(name, None if parts is None else parts[at] if at < len(parts) else "")


def _unescaped(text: str) -> str:
    return re.sub(r"\\([nt\\])", lambda m: {"n": "\n", "t": "\t", "\\": "\\"}[m[1]], text)
