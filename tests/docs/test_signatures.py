"""Public signatures say what they take: no parameter of a public name is just Any."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest

import entclip


def calls(name: str) -> Iterator[Callable[..., object]]:
    """The function of that public name, or a class, which is called to make one, and its public methods."""
    thing = getattr(entclip, name)
    if not (inspect.isclass(thing) and issubclass(thing, Exception)):  # which take a message
        yield thing
    for key, value in vars(thing).items() if inspect.isclass(thing) else ():
        if inspect.isfunction(value) and not key.startswith("_"):
            yield value


def vague(call: Callable[..., object]) -> list[str]:
    return [p.name for p in inspect.signature(call).parameters.values() if p.annotation in ("Any", "Any | None", "object")]


@pytest.mark.parametrize("name", sorted(entclip.__all__))
def test_parameters_have_types(name: str) -> None:
    assert [(call.__qualname__, vague(call)) for call in calls(name) if vague(call)] == []


def test_the_check_finds_one() -> None:
    def takes(array: Any, rate: float) -> None:  # type: ignore[name-defined]  # noqa: F821
        pass

    assert vague(takes) == ["array"]
