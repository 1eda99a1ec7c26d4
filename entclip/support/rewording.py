"""Validation errors in this package's words: cause, value and fix, without the library's own text and web addresses.

Every section of an experiment is a pydantic model, every reward law, advantage and objective a pydantic dataclass. `dataclass`
and `ReportsInOurWords` make them raise SpecError with the messages of `reworded`, whoever builds them.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import pydantic
import pydantic.dataclasses
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from entclip.support.errors import SpecError
from entclip.support.plain_numbers import numbers_only

__all__ = ["ReportsInOurWords", "dataclass", "reworded", "shown", "suggestion"]

_MOST = 10  # findings of one message; a file of unknown keys has thousands
_SHOWN = 80  # characters of a value
_KNOWN = "known keys here"
T = TypeVar("T")


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass  # type checkers need a name for what `type` finds
else:
    ModelMetaclass = type(pydantic.BaseModel)


class ReportsInOurWords(ModelMetaclass):
    """The metaclass of models whose construction reports wrong values as SpecError.

    Not an `__init__` of the models' own: pydantic would call that for nested sections, too, and lose the place of the error.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except ValidationError as error:
            model: Any = cls
            raise SpecError(reworded(error, model.model_json_schema(), kwargs)) from None


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def dataclass(*, config: ConfigDict | None = None, frozen: bool = True) -> Callable[[type[T]], type[T]]:
    """Return a frozen pydantic dataclass whose constructor reports wrong values as SpecError."""

    before: Any = model_validator(mode="before")

    def decorate(cls: type[T]) -> type[T]:
        cls._numbers_only = before(classmethod(numbers_only))  # type: ignore[attr-defined]
        made: Any = pydantic.dataclasses.dataclass(frozen=frozen, config=config)(cls)
        constructor, names = made.__init__, [f.name for f in dataclasses.fields(made)]

        @functools.wraps(constructor)
        def construct(self: Any, *args: Any, **kwargs: Any) -> None:
            if len(args) > len(names):
                raise SpecError(f"{cls.__name__} has {len(names)} parameters ({', '.join(names)}), got {len(args)} values.")
            try:
                constructor(self, **dict(zip(names, args, strict=False)), **kwargs)  # by name: messages can then say which
            except ValidationError as error:
                own = any(found["type"] == "value_error" for found in error.errors())  # their messages name the thing
                text = reworded(error, TypeAdapter(made).json_schema(), kwargs)
                raise SpecError(text if own else f"{cls.__name__}: {text}") from None

        made.__init__ = construct
        return made

    return decorate


def suggestion(given: Any, known: Iterable[str], otherwise: str | None = None, *, within: Sequence[str] = ()) -> str:
    """Return the question whether the nearest known name was meant; where none is near `otherwise`, or which there are.

    within: sections of a file before the name.

    >>> suggestion("gpo", ["clip", "gppo"]), suggestion("ppo2d", ["clip", "sapo"])
    ('did you mean gppo?', 'choose one of clip, sapo.')
    """
    names, word = list(known), str(given)[:_SHOWN]
    near = difflib.get_close_matches(word, names, n=3) or [name for name in names if name.lower() == word.lower()]
    best = [name for name in near if _alike(name, word) == _alike(near[0], word)]
    if not best:
        return otherwise or f"choose one of {', '.join(names)}."
    return f"did you mean {' or '.join('.'.join([*within, name]) for name in sorted(best))}?"


def _alike(name: str, word: str) -> float:
    return difflib.SequenceMatcher(None, name, word).ratio()


def shown(value: Any) -> str:
    """Write a value as a message shows it: shortened in the middle; Python refuses to write out integers of thousands of
    digits."""
    if isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, Mapping) or (isinstance(value, Sequence) and not isinstance(value, str | bytes)):
        kind = "table" if isinstance(value, Mapping) else "list"
        return f"a {kind} of {len(value)} {'entry' if len(value) == 1 else 'entries'}" if value else f"an empty {kind}"
    text = repr(value[: 2 * _SHOWN]) if isinstance(value, str | bytes) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]}...{text[-_SHOWN // 4 :]}"


def reworded(error: ValidationError, schema: Mapping[str, Any], data: Any) -> str:
    """Return the findings of a validation, one a line; schema: the JSON schema of what was validated; data: the plain input."""
    findings = error.errors(include_url=False)
    findings = [each for each in findings if not _of_a_branch_not_meant(each)] or findings
    lines = _once(dict.fromkeys(_finding(each, schema, data) for each in findings[: 4 * _MOST]))
    if len(findings) > _MOST and len(lines) >= _MOST:
        lines = [*lines[:_MOST], f"and {len(findings) - _MOST} more of {len(findings)} findings."]
    return "\n".join(lines)


def _once(lines: Iterable[str]) -> list[str]:
    """Leave a list of known keys out where a line before has said it."""
    said: set[str] = set()
    out = []
    for line in lines:
        finding, known, keys = line.partition(f": {_KNOWN}")
        out.append(f"{finding}." if known and keys in said else line)
        said.add(keys)
    return out


def _of_a_branch_not_meant(found: Mapping[str, Any]) -> bool:
    """Tell whether a table is called no text, or a text no table: where both are allowed, the other branch says more."""
    return isinstance(found.get("input"), {"string_type": dict, "model_attributes_type": str}.get(found["type"], ()))


def _finding(found: Mapping[str, Any], schema: Mapping[str, Any], data: Any) -> str:
    kind, value, context = found["type"], found.get("input"), found.get("ctx", {})
    unknown = kind in ("extra_forbidden", "unexpected_keyword_argument")
    path, nodes = _place(found["loc"][:-1] if unknown else found["loc"], schema, data)
    where = ".".join(path)
    if unknown:
        return _unknown_key(path, found["loc"][-1], value, nodes)
    if kind == "value_error":
        message = str(context["error"])
        return f"{where}: {message}" if path[:1] == ["arm"] and not message.startswith("arm ") else message
    if kind.startswith("union_tag"):
        kinds = [k for n in nodes for k in n.get("discriminator", _NO_KINDS)["mapping"]]
        listed = f"choose one of {context.get('expected_tags') or ', '.join(map(repr, kinds))}."
        if "tag" not in context:
            return f"{where}.kind is missing: {listed}"
        return f"{where}.kind = {context['tag']!r}: {suggestion(context['tag'], kinds, listed)}"
    if kind.startswith("missing"):
        return f"{where} is missing: give it."
    if kind == "greater_than_equal" and context["ge"] > 0 and isinstance(value, int | float) and value <= 0:
        kind, context = "greater_than", {"gt": 0}  # the smallest number that is allowed interests nobody here
    return f"{where} = {shown(value)} {_wrong(kind, context, found['msg'])}"


_NO_KINDS: dict[str, Any] = {"mapping": {}}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}
_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text in quotes",
    "tuple": "a list",
    "dict": "a table of keys",
    "model": "a table of keys",
    "dataclass": "a table of keys",
}


def _wrong(kind: str, context: Mapping[str, Any], message: str) -> str:
    """Say what is wrong with a value and what it should be."""
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        bound = context[key]
        return (
            f"is out of range: it must be {word} {bound:.12g}."
            if isinstance(bound, float)
            else f"is out of range: it must be {word} {bound}."
        )
    if kind == "finite_number":
        return "is not finite: give a finite number."
    if kind == "literal_error":
        return f"is not valid: choose {context['expected']}."
    if kind == "string_pattern_mismatch":
        return "is not valid: use letters, digits, dots, hyphens and underscores."
    if kind == "string_too_long":
        return f"is too long: at most {context['max_length']} characters."
    if kind == "too_long":
        return f"is too long: at most {context['max_length']} entries, not {context['actual_length'] or 'so many'}."
    expected = _EXPECTED.get(kind.split("_")[0])
    if expected is not None and kind.endswith(("_type", "_parsing", "_parsing_size", "_from_float")):
        return f"is not valid: it must be {expected}."
    return f"is not valid: {message[0].lower()}{message[1:]}."


def _unknown_key(path: Sequence[str], key: Any, value: Any, nodes: Sequence[Mapping[str, Any]]) -> str:
    known = sorted({name for node in nodes for name in node.get("properties", {})})
    named = [n["properties"]["kind"]["const"] for n in nodes if "const" in n.get("properties", {}).get("kind", {})]
    where = f" of kind {named[0]!r}" if len(named) == 1 else ""
    hint = suggestion(key, known, f"{_KNOWN}{where}: {', '.join(known)}.", within=path)
    return f"unknown key {'.'.join([*path, str(key)[:_SHOWN]])} = {shown(value)}: {hint}"


def _place(location: Sequence[Any], schema: Mapping[str, Any], data: Any) -> tuple[list[str], list[Mapping[str, Any]]]:
    """Find a place as the file writes it, and the schemas that hold there.

    Pydantic's location also names the member of a union that was tried, which is no key of the file. Entries of a list go by
    their name where they have one.
    """
    path: list[str] = []
    nodes = _options(schema, schema)
    for part in location:
        chosen = [n["discriminator"]["mapping"][part] for n in nodes if part in n.get("discriminator", _NO_KINDS)["mapping"]]
        inner = [n["properties"][part] for n in nodes if part in n.get("properties", {})]
        if isinstance(part, int) and isinstance(data, Sequence) and not isinstance(data, str):
            data = data[part] if part < len(data) else None
            path.append(str(data["name"]) if isinstance(data, Mapping) and isinstance(data.get("name"), str) else str(part))
            inner = [
                i
                for n in nodes
                for i in ([n["items"]] if isinstance(n.get("items"), Mapping) else n.get("prefixItems", ())[part : part + 1])
            ]
        elif chosen:
            inner = [{"$ref": reference} for reference in chosen]
        elif inner := inner or [n["additionalProperties"] for n in nodes if isinstance(n.get("additionalProperties"), Mapping)]:
            data = data.get(part) if isinstance(data, Mapping) else None
            path.append(str(part)[:_SHOWN])
        else:
            continue
        nodes = [option for node in inner for option in _options(node, schema)]
    return path, nodes


def _options(node: Mapping[str, Any], schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Follow the references of a schema and open its unions; one told apart by `kind` stays until the kind is known."""
    if "$ref" in node:
        return _options(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    if "discriminator" in node:
        return [node]
    union = node.get("anyOf") or node.get("oneOf")
    return [option for member in union for option in _options(member, schema)] if union else [node]
