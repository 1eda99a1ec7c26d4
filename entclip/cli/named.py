"""Objectives and controllers as they are named at the command line: "clip,gppo(low=.1),none"."""

from __future__ import annotations

import re
from typing import Any

from entclip.cli.options import number
from entclip.support.errors import SpecError

__all__ = ["named_tables"]

_ONE = re.compile(r"\s*(\w+)\s*(?:\(([^()]*)\))?\s*(?:,|$)")


def named_tables(option: str, text: str) -> dict[str, dict[str, Any]]:
    """Return each of "clip,gppo(low=.1)" as a table with its kind and parameters, by what stands there.

    Raises: SpecError for what cannot be read so, and for a name that stands there twice.
    """
    found: dict[str, dict[str, Any]] = {}
    at = 0
    while at < len(text):
        one = _ONE.match(text, at)
        if one is None:
            raise SpecError(f"{option} {text!r}: write names with commas between them, parameters in brackets: clip(low=.1).")
        given = dict(_parameter(option, pair) for pair in (one[2] or "").split(",") if pair.strip())
        label = re.sub(r"[^\w.]+", "-", one[0]).strip("-")  # what the name of an arm may have
        if label in found:
            raise SpecError(f"{option} names {label!r} twice: leave one out.")
        found[label] = {"kind": one[1], **given}
        at = one.end()
    return found


def _parameter(option: str, pair: str) -> tuple[str, Any]:
    key, equals, value = (part.strip() for part in pair.partition("="))
    if not equals:
        raise SpecError(f"{option}: {pair.strip()!r} is no parameter: write name=value.")
    return key, value if re.fullmatch(r"[a-z]+", value) and value not in ("inf", "nan") else number(option, value)
