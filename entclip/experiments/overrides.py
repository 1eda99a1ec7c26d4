"""Overrides of an experiment's keys, key=value, as the command line gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from entclip.support.bounded import MAX_DEPTH, TomlSyntaxError, parse_toml
from entclip.support.errors import SpecError
from entclip.support.rewording import shown


def assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    """Set data[a][b] to a value for the key "a.b"; list entries (arms) are addressed by name or index."""
    *path, last = dotted.split(".")
    node: Any = data
    for part in path:
        if isinstance(node, (list, tuple)):
            names = [str(n.get("name", i)) if isinstance(n, dict) else str(i) for i, n in enumerate(node)]
            found = [n for i, n in enumerate(node) if part in (names[i], str(i))]
            if not found:
                raise SpecError(f"{dotted}: there is no {part!r} among {', '.join(names[:20])}.")
            node = found[0]
        else:
            node = node.setdefault(part, {})
        if not isinstance(node, (dict, list, tuple)):
            raise SpecError(f"{dotted}: {part} is a value, not a section.")
    if isinstance(node, (list, tuple)):
        raise SpecError(f"{dotted}: name the entry and its key, for example arm.both.high.")
    node[last] = value


def _parse_value(text: str, key: str) -> Any:
    try:
        data = parse_toml(f"x = {text}", f"--set {key}")
    except TomlSyntaxError:
        data = {}
    if data.keys() == {"x"}:
        return data["x"]
    try:
        return float(text)  # TOML has no ".2"
    except ValueError:
        return text


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> None:
    """Apply "section.key=value" strings in place; values are read as TOML, else as text."""
    for item in overrides:
        key, sep, text = item.partition("=")
        key = key.strip()
        if not sep or not key:
            raise SpecError(f"--set {shown(item)} is not of the form key=value, for example update.learning_rate=0.2.")
        if key.count(".") >= MAX_DEPTH:
            raise SpecError(f"--set {shown(key)}: a key of {key.count('.') + 1} parts; those of an experiment have at most 4.")
        assign(data, key, _parse_value(text.strip(), key))
