"""YAML, JSON and TOML as flat dotted keys with values, whatever wraps them: W&B's `key: {value: ...}` and lists of tables."""

from __future__ import annotations

import importlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from entclip.integrations.lint.values import Unresolved

__all__ = ["flat_keys", "leaf", "parse_table", "resolved"]

_REFERENCE = re.compile(r"^\$\{([A-Za-z_][\w.]*)\}$")
_OVERRIDE = re.compile(r"^\+{0,2}[A-Za-z_][\w@/.-]*=")
MAX_LEAVES = 20_000  # values of a table, aliases of YAML followed: the longest known configuration has 2,000


def parse_table(text: str, kind: str) -> dict[str, Any]:
    """Return the table of a YAML, JSON or TOML text. ValueError if it is not valid or no table, or its aliases multiply."""
    try:
        if kind == "json":
            data = json.loads(text)
        elif kind == "toml":
            data = tomllib.loads(text)
        else:
            data = _parse_yaml(text)
        _count(data)
    except (json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"the configuration is not valid {kind.upper()}: {error}.") from None
    except RecursionError:
        raise ValueError(f"the {kind} text is nested too deeply to be a configuration.") from None
    if isinstance(data, list) and data and all(isinstance(item, str) and _OVERRIDE.match(item) for item in data):
        # What hydra keeps in .hydra/overrides.yaml.
        data = {key.lstrip("+"): value for key, _, value in (item.partition("=") for item in data)}
    if not isinstance(data, dict):
        raise ValueError(f"a configuration is a table of keys and values, but this {kind.upper()} is a {type(data).__name__}.")
    return _unwrapped(_without_holders(data) if kind == "yaml" else data)


def _parse_yaml(text: str) -> Any:
    try:
        # By name: PyYAML ships no types, and its stubs are not a dependency.
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise ImportError("reading YAML needs PyYAML: install it with `pip install 'pyyaml>=6'`.") from None
    try:
        return yaml.load(text, Loader=_loader(yaml))
    except yaml.YAMLError as error:
        raise ValueError(f"the configuration is not valid YAML: {' '.join(str(error).split())}.") from None
    except (ValueError, TypeError, LookupError, AttributeError):
        # PyYAML lets out what its constructors run into.
        raise ValueError(
            "the configuration is not valid YAML: a value is not of the type that its tag says (!!float, !!int), or is no date."
        ) from None


@cache
def _loader(yaml: Any) -> Any:
    """PyYAML's safe loader, which also takes an OrderedDict, as rl_zoo3 saves its settings, for the table that it is."""
    # The loader in C reads ten times as fast.
    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})

    def table(self: Any, node: Any) -> dict[Any, Any]:
        try:
            (pairs,) = self.construct_sequence(node, deep=True)
            return dict(pairs)
        except (TypeError, ValueError):
            raise yaml.YAMLError("an OrderedDict that is no list of pairs") from None

    loader.add_constructor("tag:yaml.org,2002:python/object/apply:collections.OrderedDict", table)
    return loader


def _without_holders(data: dict[str, Any]) -> dict[str, Any]:
    """The table without blocks at its top that exist to be merged into others: x-NAME, .NAME, and _NAME where it is no value."""
    own = {
        key: value
        for key, value in data.items()
        if not (re.match(r"x-|\.\w", str(key)) or (str(key).startswith("_") and isinstance(value, dict | list)))
    }
    return own or data


def _count(data: Any) -> None:
    """ValueError for a table of more than MAX_LEAVES values: aliases of aliases make a short text a huge one."""
    todo, seen = [data], 0
    while todo:
        node = todo.pop()
        seen += 1
        if seen > MAX_LEAVES:
            raise ValueError(f"the configuration holds more than {MAX_LEAVES:,} values: this is no configuration of a trainer.")
        todo.extend(node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())


def _unwrapped(data: dict[str, Any]) -> dict[str, Any]:
    """What W&B saves as config.yaml, `key: {desc: ..., value: ...}`, without the wrapping."""
    own = {key: value for key, value in data.items() if not str(key).startswith(("wandb_", "_wandb"))}
    wrapped = own and all(isinstance(v, dict) and "value" in v and set(v) <= {"value", "desc"} for v in own.values())
    return {key: value["value"] for key, value in own.items()} if wrapped else data


def flat_keys(data: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys. The tables of a list share their keys; one whose value differs between them is unresolved."""
    for name, value in data.items():
        key = f"{prefix}{name}"
        if isinstance(value, dict):
            yield from flat_keys(value, f"{key}.")
        elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            merged: dict[str, Any] = {}
            for item in value:
                for inner, found in flat_keys(item, f"{key}."):
                    merged[inner] = found if merged.get(inner, found) == found else Unresolved("differs between entries")
            yield from merged.items()
        else:
            yield key, leaf(value)


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return flat keys with each `${another.key}` of the same table put in, as OmegaConf does; others stay unresolved."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        seen = {key}
        while isinstance(value, Unresolved) and (match := _REFERENCE.match(value.text)) and match[1] in values:
            if match[1] in seen:
                break
            seen.add(match[1])
            value = values[match[1]]
        out[key] = value
    return out


def leaf(value: Any) -> Any:
    """Return a leaf: text that spells a number, a truth value, nothing or a list is read as such (PyYAML leaves 1e-6 as text)."""
    if isinstance(value, list):
        return [leaf(item) for item in value]
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
        return [leaf(item) for item in text[1:-1].split(",") if item.strip()]
    try:
        number = float(text)
    except ValueError:
        return text
    return int(text) if text.lstrip("+-").isdecimal() and abs(number) < 2**63 else number
