"""TensorBoard's download of one tag: columns Wall time, Step and Value; the tag is in the file's name, slashes as underscores."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from entclip.support.errors import SpecError

__all__ = ["named", "of_one_tag"]

_HEADER = re.compile(r"\ufeff?\"?wall time\"?,\"?step\"?,\"?value\"?", re.IGNORECASE)


def of_one_tag(header: str) -> bool:
    """Tell whether a table's header is that of such a download."""
    return _HEADER.fullmatch(header.strip()) is not None


def named(
    rows: Iterable[tuple[int, Mapping[str, float]]], path: Path, names: Iterable[str]
) -> Iterator[tuple[int, dict[str, float]]]:
    """Yield the rows with the tag in the place of "Value".

    Args:
        names: the known ones, of which the longest is taken that the file's name ends in (all of what follows "-tag-").
    Raises: SpecError where the file's name ends in none.
    """
    _, mark, tag = path.stem.lower().rpartition("-tag-")
    tag = tag.removeprefix("train_") if mark else path.stem.lower()
    fits = [name for name in names if _fits(tag, name.lower().replace("/", "_"), whole=bool(mark))]
    if not fits:
        raise SpecError(
            "it is TensorBoard's download of one tag (Wall time, Step, Value), and the tag is in the file's name, which ends in "
            "none that is known here. Name it as TensorBoard does, run-NAME-tag-actor_entropy.csv, or give the event file."
        )
    tag = max(fits, key=len)
    for line, row in rows:
        yield line, {tag if name.lower() == "value" else name: value for name, value in row.items()}


def _fits(tag: str, name: str, whole: bool) -> bool:
    return tag == name or f"train_{tag}" == name or (not whole and tag.endswith((f"_{name}", f"-{name}", f".{name}")))
