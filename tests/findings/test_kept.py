"""Data files of the findings: one schema each; what is damaged is refused with its place, whatever key it is in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from entclip.findings import controllers
from entclip.findings.kept import read_data, read_made
from entclip.findings.shared_parameters.schema import read_study
from entclip.support.errors import DamagedFileError

DOCS = Path(__file__).resolve().parents[2] / "docs"
MADE = {"wall_s": 1.5, "versions": {"numpy": "2"}}


def _own(path: Path) -> Any:
    return controllers.read_json(path, controllers._Kept, "data of docs/controllers.md", "Delete it.")


def _study(path: Path) -> Any:
    return read_study(path, compared=True)


def _data(path: Path) -> Any:
    return read_data(path.parents[2])


# By file: its reader, the file that ships, where an entry of many is taken for all, and keys that nobody reads.
READERS: dict[str, tuple[Any, Path | None, tuple[str, ...], tuple[str, ...]]] = {
    "data/findings/headline.json": (_data, DOCS / "data" / "findings" / "headline.json", ("none", "run", "mode"), ()),
    "controllers.json": (_own, DOCS / "data" / "controllers.json", ("natural, true",), ()),
    "shared.json": (
        _study,
        DOCS / "data" / "shared_parameters.json",
        ("edges", "smollm2_sgd", "about", "arms", "none"),
        ("update", "kl", "ratio_max", "gap", "entropy", "log_ratio", "pi_"),
    ),
    "item.json": (read_made, None, (), ()),
}
REQUIRED = {
    "data/findings/headline.json": ("run", "mode", "command", "engine", "digest", "arms"),
    "controllers.json": ("target", "entropy"),
    "shared.json": ("edges", "about", "arms", "noise_law", "per_replica", "rms", "own", "count", "measured", "mass_low", "none"),
    "item.json": ("wall_s", "versions"),
}


def _small(value: Any, kept: tuple[str, ...]) -> Any:
    """The value with one entry of each table that holds one of these, so that every key is tried in little time."""
    if not isinstance(value, dict):
        return value
    chosen = [key for key in value if key in kept] if kept and not {"engine", "rms", "dtype", "entropy"} & value.keys() else []
    return {key: _small(value[key], kept) for key in ([*chosen] if chosen and "run" not in chosen else value)}


def _damaged(value: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool, Any]]:
    """Yield (place, whether the key is missing, value) with one key missing, or with something else in the place of it."""
    if isinstance(value, dict):
        for index, key in enumerate(value):
            yield (*where, key), True, {k: v for k, v in value.items() if k != key}
            if index < 3 or len(value) < 15:  # columns of one kind
                for place, missing, changed in _damaged(value[key], (*where, key)):
                    yield place, missing, value | {key: changed}
    for wrong in ({"a": {}}, [[]], True, None, float("nan"), 3 if isinstance(value, str) else "x"):
        yield where, False, wrong


@pytest.mark.parametrize("name", READERS)
def test_whatever_is_damaged_is_refused_with_its_place(name: str, tmp_path: Path) -> None:
    reader, shipped, kept, unread = READERS[name]
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = MADE if shipped is None else _small(json.loads(shipped.read_text("utf-8")), kept)
    path.write_text(json.dumps(whole), "utf-8")
    reader(path)
    for place, missing, value in _damaged(whole):
        path.write_text(json.dumps(value), "utf-8")
        said = None
        try:
            reader(path)
        except DamagedFileError as error:
            said = str(error)
        if said is None:
            free = place[-1] not in REQUIRED[name] if missing else any(key.startswith(unread) for key in place)
            assert free, (place, value)
        else:
            assert re.fullmatch(re.escape(f"{path} is not ") + r".+\.", said), place
    for text in ("", "{", json.dumps(whole)[:-9], "[]", "null", "\xff"):
        path.write_bytes(text.encode("latin-1"))
        with pytest.raises(DamagedFileError, match="is not "):
            reader(path)


def test_a_file_named_as_another_run_does_not_take_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "findings"
    folder.mkdir(parents=True)
    (folder / "knob.json").write_bytes((DOCS / "data" / "findings" / "headline.json").read_bytes())
    with pytest.raises(DamagedFileError, match=r"knob\.json is not data of a finding: its run is headline, not knob\. Delete it"):
        read_data(tmp_path)


def test_bins_and_replicas_go_together(tmp_path: Path) -> None:
    path, data = tmp_path / "study.json", json.loads((DOCS / "data" / "shared_parameters.json").read_text("utf-8"))
    assert read_study(DOCS / "data" / "shared_parameters.json", compared=True) == data
    for change, cause in (
        (lambda d: d["edges"].pop(), "noise_law has not one value for each bin"),
        (lambda d: d["smollm2_sgd"]["arms"]["both"]["per_replica"]["measured"].pop(), "not of the same replicas"),
    ):
        wrong = json.loads(json.dumps(data))
        change(wrong)
        path.write_text(json.dumps(wrong), "utf-8")
        with pytest.raises(DamagedFileError, match=cause):
            read_study(path)
