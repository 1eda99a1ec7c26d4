"""Overrides of an experiment's keys, key=value, as the command line gives them."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from entclip.support.errors import SpecError


def _assign(data: dict[str, Any], dotted: str, value: Any) -> None:
    """data[a][b] = value for "a.b"; list entries (arms) are addressed by name or index."""
    *path, last = dotted.split(".")
    node: Any = data
    for part in path:
        if isinstance(node, (list, tuple)):
            found = [n for i, n in enumerate(node) if n.get("name") == part or str(i) == part]
            if not found:
                raise SpecError(f"--set {dotted}: there is no {part!r} among {[n.get('name') for n in node]}.")
            node = found[0]
        else:
            node = node.setdefault(part, {})
            if not isinstance(node, (dict, list, tuple)):
                raise SpecError(f"--set {dotted}: {part} is a value, not a section.")
    if isinstance(node, (list, tuple)):
        raise SpecError(f"--set {dotted}: name the entry and its key, for example arm.both.high.")
    node[last] = value


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"x = {text}")["x"]
    except tomllib.TOMLDecodeError:
        pass
    try:
        return float(text)  # TOML has no ".2"
    except ValueError:
        return text


def apply_overrides(data: dict[str, Any], overrides: Iterable[str]) -> None:
    """Apply "section.key=value" strings in place; values are read as TOML, else as text."""
    for item in overrides:
        key, sep, text = item.partition("=")
        if not sep or not key.strip():
            raise SpecError(f"--set {item!r} is not of the form key=value, for example update.learning_rate=0.2.")
        _assign(data, key.strip(), _parse_value(text.strip()))
