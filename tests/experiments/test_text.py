"""The text of an experiment is bounded before it is parsed: its size, its depth, the length of its numbers, what may be read."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path

import pytest

from entclip.experiments.load import load
from entclip.support.bounded import MAX_TOML, parse_toml
from entclip.support.errors import SpecError

DEEP = "more than 32 tables or lists inside each other; an experiment needs 5."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("weights = " + "[" * 50_000 + "]" * 50_000, DEEP),
        ("policy = " + "{a = " * 20_000 + "1" + "}" * 20_000, DEEP),
        (".".join(["a"] * 20_000) + " = 1", DEEP),
        ("[" + ".".join(["a"] * 20_000) + "]\nb = 1", DEEP),
        ('["x" ' + '. "x"' * 20_000 + "]\nb = 1", DEEP),
        ("name = 'x'\nseed = 0x" + "f" * 100_000, "line 2: a number or key of 100,002 characters"),
        ("seed = " + "9" * 100_000, "a number or key of 100,000 characters, 99999999999999999999..., over the limit of 100"),
        ("a" * 100_000 + " = 1", "a number or key of 100,000 characters"),
        ("# " + "x" * MAX_TOML, "over the limit of 1,048,576"),
        ("name = [", "is not valid TOML"),
        ("\0\0\0", "is not valid TOML"),
    ],
)
def test_text_that_no_parser_should_see(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_toml(text, "it")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300


def test_brackets_in_strings_and_comments_do_not_count() -> None:
    quoted = ("'" + "[" * 99 + "'", '"' + '{\\"' * 99 + '"', "'''\n" + "[" * 99 + "'''", '"""' + '[""' * 99 + '"""')
    text = "\n".join(f"k{i} = {value}  # {'[' * 99}" for i, value in enumerate(quoted))
    assert [v.count("[") + v.count("{") for v in parse_toml(text, "it").values()] == [99] * 4
    assert parse_toml("x = [" + "0.5, " * 1000 + "]", "it")["x"] == [0.5] * 1000
    assert parse_toml("x = " + "[" * 32 + "]" * 32, "it")


def test_files_that_are_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "latin.toml").write_bytes(b"description = '\xe9'")
    with (tmp_path / "sparse.toml").open("wb") as file:
        file.truncate(2**32)
    cases = {
        tmp_path / "pipe": "it is a pipe, not a file.",
        Path("/dev/zero"): "it is a device or socket, not a file.",
        tmp_path: "it is a folder, not a file.",
        tmp_path / "latin.toml": "it is not UTF-8 text",
        tmp_path / "sparse.toml": "it has 4,294,967,296 bytes, over the limit of 1,048,576.",
    }
    tracemalloc.start()
    for path, message in cases.items():
        with pytest.raises(SpecError) as caught:
            load(path)
        assert message in str(caught.value)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("name", ["x" * 300, "x" * 5000, "x/" * 3000, "nul\0l", "\udcff"])
def test_names_that_no_file_can_have(name: str) -> None:
    with pytest.raises(SpecError, match=r"no experiment named .* and no such file") as caught:
        load(name)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("x=" + "[" * 5000, "--set x: more than 32 tables"),
        ("a." * 5000 + "b=1", "--set 'a.a."),
        ("seed=0x" + "f" * 5000, "--set seed: a number or key of 5,002 characters"),
        ("seed", "--set 'seed' is not of the form key=value"),
        ("arm.nobody.low=1", "arm.nobody.low: there is no 'nobody' among none, both"),
        ("name.x=1", "name.x: name is a value, not a section."),
        ("weights.0.x=1", "weights = a table of 1 entry is not valid: it must be a list."),
        ("arm.both=1", "arm.both: name the entry and its key"),
        ("update.batch=1\nseed = 2", "update.batch = '1\\nseed = 2' is not valid"),
    ],
)
def test_overrides_that_do_not_fit(override: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        load("headline", [override])
    assert str(caught.value).startswith(message)
