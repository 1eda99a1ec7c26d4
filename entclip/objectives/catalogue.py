"""Every objective by its kind, and how an experiment names one.

Importing this module defines the published ones: each file of this folder holds one. A class of anybody's own joins them when it
is defined (base.py), and experiment files may name it from then on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from functools import cache, reduce
from importlib import import_module
from operator import or_
from pathlib import Path
from pkgutil import iter_modules
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic_core import CoreSchema, core_schema

from entclip.objectives.base import Objective, kinds
from entclip.objectives.not_built import NOT_BUILT
from entclip.support.errors import SpecError
from entclip.support.rewording import shown, suggestion

__all__ = ["PUBLISHED", "NamedObjective", "kinds", "objective", "parameters", "unknown_objective"]

for _module in iter_modules([str(Path(__file__).parent)]):
    if _module.name != "catalogue":
        import_module(f"{__package__}.{_module.name}")

_OTHERWISE = dict.fromkeys(("ppo", "grpo", "dapo", "clip_higher"), "clip")  # what others call it

PUBLISHED = tuple(sorted(kind for kind, cls in kinds().items() if cls.__module__.startswith(f"{__package__}.")))


def unknown_objective(name: str, known: Iterable[str]) -> SpecError:
    """Return the error for a name that is none of the known ones, with the one that was probably meant."""
    return SpecError(f"unknown objective {shown(name)}: {suggestion(_OTHERWISE.get(str(name).lower(), name), sorted(known))}")


def _class_of(name: str) -> type[Objective]:
    known = kinds()
    if name in NOT_BUILT:
        raise SpecError(f"{name!r} has a card and no objective: entclip objectives {name} says why, and what to report instead.")
    if name not in known:
        raise unknown_objective(name, known)
    return known[name]


def objective(name: str, **parameters: float | str) -> Objective:
    """Return the objective of that kind with the given parameters; the others keep their defaults.

    It goes wherever `Clip` does, to engines and functions that serve what it needs: its card (`entclip objectives NAME`) lists
    them, and all others refuse it in one sentence.

    Raises: SpecError for an unknown name, an unknown parameter, or one out of its limits.
    Example:
        >>> objective("clip", low=0.2, high=0.28)
        Clip(low=0.2, high=0.28, kind='clip')
    """
    return _class_of(name)(**parameters)


def parameters(name: str) -> tuple[str, ...]:
    """Return the names of the parameters of a kind of objective."""
    return tuple(f.name for f in fields(_class_of(name)) if f.name != "kind")


@cache
def _tables(classes: tuple[type[Objective], ...]) -> TypeAdapter[Any]:
    """The union of these classes, told apart by kind, as pydantic reads it from tables."""
    return TypeAdapter(Annotated[reduce(or_, classes), Field(discriminator="kind")])  # type: ignore[arg-type]


def _known() -> TypeAdapter[Any]:
    return _tables(tuple(kinds().values()))


def _read(value: Any) -> Any:
    """An objective, or the name of one, as an experiment has it: a table with a kind, a name, or the object itself."""
    if isinstance(value, Mapping):
        if isinstance(value.get("kind"), str):
            _class_of(value["kind"])  # in the same words as everywhere
        return _known().validate_python(value)
    if not isinstance(value, str | Objective):
        raise ValueError(f"an objective is a name, a table with a kind, or an Objective, not {value!r}.")
    if isinstance(value, Objective) and kinds().get(value.kind) is not type(value):
        raise ValueError(f"{type(value).__qualname__} has no kind of its own, by which experiments name it: give it one.")
    return value


class NamedObjective:
    """How pydantic reads the objective of an arm: from whatever classes there are when it is read."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_read)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(_known().core_schema), {"type": "string"}]}
