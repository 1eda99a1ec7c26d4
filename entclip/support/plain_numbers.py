"""Numbers that are numbers: where a field holds a number, true is not 1 and "0.2" is not .2.

Pydantic takes either for a number unless a field is strict, and a strict dataclass takes no table. `numbers_only` is the one
check of every section of an experiment and of every dataclass made by `rewording.dataclass`: objectives, controllers, rewards,
advantages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import numpy as np
from pydantic_core import ArgsKwargs, InitErrorDetails, ValidationError

__all__ = ["numbers_only"]

_NUMBERS = {int: "int_type", float: "float_type"}


def numbers_only(cls: type[Any], data: Any) -> Any:
    """Return what a class is made of, as it was given.

    Raises: ValidationError, as pydantic has it, for truth values and texts where its fields hold numbers alone.
    """
    given = data.kwargs if isinstance(data, ArgsKwargs) else data
    if not isinstance(given, Mapping):
        return data
    fields = getattr(cls, "__pydantic_fields__", {})
    found = [
        InitErrorDetails(type=kind, loc=(str(name), *place), input=value)
        for name, entry in given.items()
        if name in fields
        for place, kind, value in _wrong(entry, fields[name].annotation)
    ]
    if found:
        raise ValidationError.from_exception_data(cls.__name__, found)
    return data


def _wrong(value: Any, annotation: Any) -> Iterator[tuple[tuple[int, ...], Any, Any]]:
    """Yield where in a value something stands for a number and is none: its place, pydantic's name of the error, what it is."""
    kinds = list(_kinds(annotation))
    if isinstance(value, bool | np.bool_ | str):
        number = next((name for kind, name in _NUMBERS.items() if kind in kinds), None)
        if number is not None and type(value) not in kinds:
            yield (), number, value
    elif isinstance(value, Sequence):
        for items in (get_args(kind) for kind in kinds if get_origin(kind) is tuple):
            each = [items[0]] * len(value) if items[-1] is Ellipsis else items
            for index, (entry, own) in enumerate(zip(value, each, strict=False)):
                yield from (((index, *place), kind, found) for place, kind, found in _wrong(entry, own))


def _kinds(annotation: Any) -> Iterator[Any]:
    """Yield the types that an annotation takes; those of its values for a choice among some."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for option in get_args(annotation):
            yield from _kinds(option)
    elif origin is Literal:
        yield from {type(value) for value in get_args(annotation)}
    elif annotation is not NoneType:
        yield annotation
