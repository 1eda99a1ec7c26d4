"""The [grid] of an experiment: keys with lists of values, one case for each combination."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from entclip.support.rewording import shown

__all__ = ["MAX_CASES", "flattened", "label_of", "refuse_impossible"]

MAX_CASES = 10_000  # each is validated before the first one runs
_LABEL = 120  # bytes of UTF-8: labels are part of file names, which end at 255


def flattened(grid: Any) -> Any:
    """Return tables inside the grid as dotted keys: `[grid.policy] vocab = [2, 3]` is `"policy.vocab" = [2, 3]`."""
    if not isinstance(grid, Mapping):
        return grid
    out: dict[str, Any] = {}
    for key, values in grid.items():
        inner = flattened(values)
        out |= {f"{key}.{name}": value for name, value in inner.items()} if isinstance(inner, Mapping) else {key: values}
    return out


def refuse_impossible(grid: Mapping[str, tuple[Any, ...]]) -> None:
    """Raise ValueError for a grid without cases, inside a grid, or with more cases than anybody runs."""
    for key, values in grid.items():
        if not values:
            raise ValueError(
                f"grid.{key} = [] has no values, so there would be no case to run: give at least one, or leave it out."
            )
        if key.split(".")[0] in ("grid", ""):
            raise ValueError(f"grid.{key}: a grid varies keys of the experiment, not another grid: list all keys in one [grid].")
    count = math.prod(map(len, grid.values()))
    if count > MAX_CASES:
        sizes = " x ".join(f"{len(values)} ({key})" for key, values in grid.items())
        raise ValueError(f"grid: {sizes} = {count:,} cases, over the limit of {MAX_CASES:,}: use fewer values, or several files.")


def label_of(values: Mapping[str, Any]) -> str:
    """Return what a case is called, from the values of its keys."""
    label = ",".join(_part(key, value) for key, value in values.items())
    if len(label.encode()) > _LABEL:
        raise ValueError(
            f"grid: the label of a case, {shown(label)}, has {len(label.encode())} bytes, over the limit of {_LABEL} for names "
            "of files: use shorter texts (of a path: a relative one, or a link), fewer keys, or smaller sections."
        )
    return label


def _part(key: str, value: Any) -> str:
    if isinstance(value, dict):
        extra = [f"{v:g}" if isinstance(v, float) else str(v) for k, v in value.items() if k not in ("kind", "vocab", "contexts")]
        return ":".join([str(value.get("kind", key)), *extra])
    short = key.rsplit(".", 1)[-1]
    return str(value) if isinstance(value, str) else f"{short}={value:g}" if isinstance(value, float) else f"{short}={value}"
