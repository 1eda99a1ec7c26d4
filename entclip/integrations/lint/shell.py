"""Enough of a shell to read a launch script: its commands, with literal variables put in, and those of the texts that it runs.

Nothing is run. A variable is substituted only if the script sets it unconditionally, to text. What only a real shell would know
(the environment, `$(command)`, assignments under `if`, `case`, `&&`, `||` or in a loop) stays as it is written, with its `$`. A
text in the script, a here-document for one, is data: it becomes commands only where the script has it run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from entclip.integrations.lint.shell_documents import cut_documents
from entclip.integrations.lint.shell_roles import Started, assigned, fed, operands, program, same_file, started
from entclip.integrations.lint.shell_tree import Unfinished, parse, refuse_unfinished, text_of, without_inner_comments
from entclip.integrations.lint.shell_words import Command, Expander, Held, Script

__all__ = ["Command", "Held", "Script", "read_script"]

MAX_SCRIPT = 250_000  # characters: launch scripts are a hundredth of that
MAX_STARTS = 50  # texts that a script runs, and those that they run in turn
_KEY = re.compile(r"^\+{0,2}([\w.@/-]+)=")
_CONDITIONAL = {
    "if_statement",
    "while_statement",
    "for_statement",
    "c_style_for_statement",
    "case_statement",
    "case_item",
    "elif_clause",
    "else_clause",
    "function_definition",
    "subshell",
    "command_substitution",
    "process_substitution",
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


def _either_way(name: str, before: list[str], after: list[str]) -> list[str]:
    """The words of an array that is changed under a condition: a key=value in one case only has no known value."""
    if not all(_KEY.match(word) for word in (*before, *after)):
        return [f"${{{name}[@]}}"]
    cases = [{word.partition("=")[0]: word for word in words} for words in (before, after)]
    keys = dict.fromkeys([*cases[0], *cases[1]])
    same = {key for key in keys if cases[0].get(key) == cases[1].get(key)}
    return [cases[0][key] if key in same else f"{key}=$(set-under-a-condition)" for key in keys]


class _Reader(Expander):
    """Reads statements in order. A name set under a condition has no value until it is set without one.

    outside: names that keep no value whatever is set, as the script that holds this one has put its own in. arguments: those that
    this script is given, None for the script that is read itself.
    """

    def __init__(self, outside: frozenset[str] = frozenset(), arguments: Sequence[str] | None = None) -> None:
        super().__init__(arguments)
        self.outside = outside
        self.variables |= dict.fromkeys(outside)
        self.starts: list[str] = []  # shared with the texts that are run
        self.depth = 0

    def read(self, text: str) -> Script:
        plain, documents = cut_documents(text)
        # A sourced text has names for its own documents.
        prefix = f"/{len(self.starts)}"
        self.documents |= {prefix + name: found for name, found in documents.items()}
        root = parse(without_inner_comments(re.sub(r" < (?=/here-document/\d+ )", f" < {prefix}", plain)))
        refuse_unfinished(root)
        self._statement(root)
        return self.script

    def output(self, node: Any) -> Held | None:
        kept, self.script = self.script, Script(defaults=self.script.defaults, files=self.script.files)
        self.depth += 1
        try:
            inner = [child for child in node.named_children if child.type != "comment"]
            if len(inner) != 1:
                return None
            if inner[0].type == "file_redirect":  # $(<file)
                return self._redirected(inner)[0]
            return self._statement(inner[0]) if inner[0].type in ("command", "redirected_statement", "pipeline") else None
        finally:
            self.depth -= 1
            kept.passes_on |= self.script.passes_on
            self.script = kept

    def _statement(self, node: Any, given: Held | None = None) -> Held | None:
        """Read a statement that gets `given` on its standard input; return what it writes, where that is known."""
        kind = node.type
        if kind == "command":
            return self._command(node, given)
        if kind == "redirected_statement":
            return self._redirect(node, given)
        if kind == "pipeline":
            return self._pipeline(node, given)
        if kind == "variable_assignment":
            self._assign(node)
        elif kind == "list":
            first, *rest = node.named_children or [node]
            self._statement(first)
            return self._under_condition(rest, given)
        elif kind in _CONDITIONAL:
            for name in (c for c in node.children if c.type == "variable_name"):
                self._set(text_of(name), None)  # a loop's own
            self.functions += kind == "function_definition"
            said = self._under_condition(node.named_children)
            self.functions -= kind == "function_definition"
            return said if kind == "subshell" else None
        elif kind not in ("string", "raw_string", "word", "comment", *_REDIRECTS):
            return _one([self._statement(child, given) for child in node.named_children])
        return None

    def _under_condition(self, nodes: list[Any], given: Held | None = None) -> Held | None:
        """Read statements that may not be run; the last gets `given`, as a redirection at the end of a list is its own."""
        self.depth += 1
        before = dict(self.script.files)
        said = _one([self._statement(node, given if node is nodes[-1] else None) for node in nodes])
        for name, held in before.items():
            if self.script.files.get(name) != held:
                self.script.files[name] = None
        self.depth -= 1
        return said

    def _pipeline(self, node: Any, given: Held | None) -> Held | None:
        parts = [child for child in node.named_children if child.type != "comment"]
        said: Held | None = None
        for number, part in enumerate(parts, 1):
            said = self._statement(part, given if number == len(parts) and given is not None else said)
        return said

    def _redirect(self, node: Any, given: Held | None) -> Held | None:
        redirects = [child for child in node.named_children if child.type in _REDIRECTS]
        source, target, appends = self._redirected(redirects)
        said: Held | None = None
        for child in node.named_children:
            if child.type not in _REDIRECTS:
                said = self._statement(child, source or given)
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
        found = [name for name in self.script.files if same_file(name, word)]
        return (found[0], self.script.files[found[0]]) if len(found) == 1 else ("", None)

    def _write(self, word: str, held: Held | None, appends: bool) -> None:
        if word.startswith("/dev/"):
            return
        name, before = self._file(word)
        if appends and name:
            known = before is not None and held is not None
            held = Held(before.text + held.text, before.outside | held.outside) if known and before and held else None
        self.script.files[name or word] = held

    def _command(self, node: Any, given: Held | None) -> Held | None:
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
        if name == "read":
            self._read(words, given, separator)
        elif name in ("mapfile", "readarray") and words[-1].isidentifier():
            self.arrays[words[-1]] = given.text.splitlines() if given and not self.depth else [f"${{{words[-1]}[@]}}"]
        elif name == "xargs" and given is not None:
            words += given.text.split()
        self.script.commands.append(Command(words, unreadable=node.has_error))
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
            return _one([self._file(word)[1] for word in files])
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
            self.arrays[array] = [f"${{{array}[@]}}"] if parts is None or self.depth else parts
        for at, name in enumerate(names):
            self._set(name, None if parts is None else parts[at] if at < len(parts) else "")

    def _set(self, name: str, text: str | None) -> None:
        """Give a variable its value. What is set under a condition has none, nor what the script around has put in."""
        self.variables[name] = None if self.depth > 0 or name in self.outside else text

    def _assign(self, node: Any) -> None:
        target, value = node.child_by_field_name("name"), node.child_by_field_name("value")
        append = any(child.type == "+=" for child in node.children)
        if target is None or target.type != "variable_name":
            return
        name = text_of(target)
        if value is not None and value.type == "array":
            words = [word for item in value.named_children if item.type != "comment" for word in self.words(item)]
            before = self.arrays.get(name, [])
            after = [*before, *words] if append else words
            self.arrays[name] = _either_way(name, before, after) if self.depth > 0 else after
            return
        text = "" if value is None else self.joined(value)
        self._count([text])
        before_text = self.variables.get(name, "") if append else ""
        self._set(name, None if before_text is None else before_text + text)


def _one(said: list[Held | None]) -> Held | None:
    """Several texts in one, None where one of them is not known or there is none."""
    known = [held for held in said if held is not None]
    if not known or len(known) < len(said):
        return None
    return Held("".join(held.text for held in known), frozenset().union(*(held.outside for held in known)))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([nt\\])", lambda m: {"n": "\n", "t": "\t", "\\": "\\"}[m[1]], text)
