"""Docstrings are plain text that reads well in a terminal; here they become reST for the reference.

`name` becomes code, characters that reST would take for markup are escaped, and "Returns: text" on one line becomes a paragraph
of its own ("Args:" and "Example:", with what they hold indented below them, are left to napoleon).
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_LABEL = re.compile(r"^( *)(Returns|Raises|Notes|References|Warns|Yields): (.+)$")
_CODE = re.compile(r"(``[^`]+``|`[^`]+`)")
_EMPHASIS = re.compile(r"(?<!\S)\*[A-Za-z][A-Za-z ]*\*(?![\w*])")


def as_rest(lines: list[str]) -> list[str]:
    """The lines of one docstring as reST.

    >>> as_rest(["E[s|LOW] of `pi`, expected_* and *raising* it.", "", "Returns: nats."])
    ['E[s\\\\|LOW] of ``pi``, expected\\\\_\\\\* and *raising* it.', '', '', '**Returns:** nats.']
    """
    out: list[str] = []
    in_example = in_label = False
    for line in lines:
        stripped = line.strip()
        if stripped.startswith(">>>"):
            in_example = True
        elif not stripped:
            in_example = False
        if in_example:
            out.append(line)
            continue
        found = _LABEL.match(line)
        if found:
            # A paragraph needs a blank line before it, and lines that go on must not be indented further.
            in_label = True
            out += ["", f"{found[1]}**{found[2]}:** {_escaped(found[3])}"]
        elif in_label and stripped and line.startswith("    "):
            out.append(_escaped(line[4:]))
        else:
            if in_label and stripped:
                out.append("")
            in_label = in_label and not stripped
            out.append(_escaped(line))
    return out[1:] if out and not out[0] else out


def _escaped(line: str) -> str:
    pieces = _CODE.split(line)
    return "".join(f"``{p.strip('`')}``" if _CODE.fullmatch(p) else _plain(p) for p in pieces)


def _plain(text: str) -> str:
    kept = _EMPHASIS.findall(text)
    rest = [re.sub(r"([|*\\])", r"\\\1", p) for p in _EMPHASIS.split(text)]
    rest = [re.sub(r"(?<=\w)_(?=\W|$)", r"\\_", p) for p in rest]
    return "".join(a + b for a, b in zip(rest, [*kept, ""], strict=True))


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = as_rest(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Run before napoleon, which reads what is left as Google's style."""
    app.connect("autodoc-process-docstring", _process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
