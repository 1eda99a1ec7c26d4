"""Here-documents, cut out of a script before its grammar is read: `<<END`, `<<-END`, several on a line, in `$( )` and in quotes.

The grammar that reads the rest knows one here-document a command and takes what follows it on its line for a part of it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Document", "cut_documents"]

_OPENING = re.compile(r"<<(-?)[ \t]*((?:\\.|'[^'\n]*'|\"[^\"\n]*\"|[^\s'\"\\;&|<>()])+)")
_QUOTES = re.compile(r"\\(.)|['\"]")
# What may stand before a # that starts a comment.
_BEFORE_COMMENT = " \t\n;&|()`"


@dataclass(frozen=True)
class Document:
    """The text of a here-document. quoted: its end was given in quotes, so that nothing in it is expanded."""

    text: str
    quoted: bool

    def as_string(self) -> str:
        """Return it as one quotation, in which a shell expands the same and leaves the same as it is."""
        kept = re.sub(r'\\[$`\\\n]|\\|"', lambda m: m[0] if len(m[0]) > 1 else f"\\{m[0]}", self.text)
        return f'"{kept}"'


def cut_documents(text: str) -> tuple[str, dict[str, Document]]:
    """Return the script with `< NAME` for each `<<END` and empty lines for the bodies, and the here-documents by NAME."""
    scanner = _Scanner(text)
    scanner.scan()
    return "".join(scanner.out), scanner.documents


class _Scanner:
    """Goes once through a script and keeps what it is in: code, "quotation", ${expansion} or $((arithmetic))."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.out: list[str] = []
        self.documents: dict[str, Document] = {}
        self.inside = ["code"]
        self.pending: list[tuple[str, str, bool, bool]] = []  # name, end, quoted, tabs are stripped

    def scan(self) -> None:
        while self.at < len(self.text):
            self._keep(self._code() if self.inside[-1] in ("code", "`") else self._other())

    def _keep(self, count: int) -> None:
        self.out.append(self.text[self.at : self.at + count])
        self.at += count

    def _leave(self, kind: str) -> None:
        if len(self.inside) > 1 and self.inside[-1] == kind:
            self.inside.pop()

    def _code(self) -> int:
        """Characters to keep from here, in code."""
        text, at = self.text, self.at
        char = text[at]
        if char == "\n" and self.pending:
            return self._bodies()
        if char == "\\":
            return 2
        if char == "'":
            return self._quotation(at)
        if char == "#" and (at == 0 or text[at - 1] in _BEFORE_COMMENT):
            end = text.find("\n", at)
            return (len(text) if end < 0 else end) - at
        if text.startswith("<<<", at):
            return 3
        if text.startswith("<<", at) and (match := _OPENING.match(text, at)):
            return self._opening(match)
        if text.startswith("((", at):
            self.inside.append("((")
            return 2
        if char in "()":
            if char == "(":
                self.inside.append("code")
            else:
                self._leave("code")
            return 1
        return self._opened()

    def _other(self) -> int:
        """Characters to keep from here, in a quotation, an expansion or arithmetic."""
        kind, text, at = self.inside[-1], self.text, self.at
        if text[at] == "\\":
            return 2
        closing = {'"': '"', "${": "}", "((": "))", "(": ")"}[kind]
        if text.startswith(closing, at):
            self.inside.pop()
            return len(closing)
        if kind in ("((", "(") and text[at] == "(":
            self.inside.append("(")
            return 1
        return self._quotation(at) if kind == "${" and text[at] == "'" else self._opened()

    def _opened(self) -> int:
        """Characters that open or close something in code and in quotations alike, or the next one."""
        for mark, kind in (("$((", "(("), ("$(", "code"), ("${", "${")):
            if self.text.startswith(mark, self.at):
                self.inside.append(kind)
                return len(mark)
        char = self.text[self.at]
        if char in '"`':
            if self.inside[-1] == char:
                self.inside.pop()
            else:
                self.inside.append(char)
        return 1

    def _quotation(self, at: int) -> int:
        """The length of a 'quotation', in which $'...' alone has escapes."""
        escapes = at > 0 and self.text[at - 1] == "$"
        match = re.compile(r"'(?:\\.|[^'\\])*'" if escapes else r"'[^']*'", re.DOTALL).match(self.text, at)
        return 1 if match is None else len(match[0])

    def _opening(self, match: re.Match[str]) -> int:
        name = f"/here-document/{len(self.documents) + len(self.pending)}"
        end = _QUOTES.sub(lambda m: m[1] or "", match[2])
        self.pending.append((name, end, end != match[2], bool(match[1])))
        self.out.append(f" < {name} ")
        self.at = match.end()
        return 0

    def _bodies(self) -> int:
        """Take the bodies of what was opened on the line that ends here, each up to its own end."""
        at = self.at + 1
        for name, end, quoted, stripped in self.pending:
            lines: list[str] = []
            while at < len(self.text):
                stop = self.text.find("\n", at)
                line = self.text[at:] if stop < 0 else self.text[at:stop]
                at = len(self.text) if stop < 0 else stop + 1
                line = line.lstrip("\t") if stripped else line
                if line.rstrip("\r") == end:
                    break
                lines.append(line)
            self.documents[name] = Document("".join(f"{line}\n" for line in lines), quoted)
        self.pending.clear()
        # Lines keep their numbers.
        self.out.append("\n" * (1 + self.text.count("\n", self.at + 1, at)))
        self.at = at
        return 0
