"""What readers do with files that do not hold what they should: one line that names the file, never a number from it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from entclip import report, run
from entclip.findings.runs import reusable
from entclip.ledger.folder import open_run, read_frame, read_ledger, read_summary
from entclip.ledger.manifest import MANIFEST
from entclip.ledger.schema import type_of
from entclip.prediction.noise_table import ledger_rms
from entclip.support.errors import DamagedFileError, SpecError
from tests.called import entclip
from tests.folders import relist, small, write_run

READERS: dict[str, Callable[[Path], object]] = {
    "report": report.html,
    "ledger": read_ledger,
    "compare": read_summary,
    "predict --noise": ledger_rms,
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def folder(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def refused(folder: Path, readers: tuple[str, ...], word: str) -> None:
    """Each of these readers says in one line what is wrong, with the manifest as it was and with one made to fit."""
    for _ in range(2):
        for name in readers:
            with pytest.raises(DamagedFileError) as caught:
                READERS[name](folder)
            assert "\n" not in str(caught.value)
            assert len(str(caught.value)) < 500
        relist(folder)
    assert word in str(caught.value)


# ---- summary.json ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{}", "experiment is missing"),
        ("[]", "it is an empty list"),
        ("null", "it is None"),
        ("1e999", "it is inf"),
        ("", "EOF"),
        ('{"experiment": "x"', "EOF"),
        ("\xff", "expected value"),
        ("[" * 200_000, "recursion limit"),
        ('{"a":' * 200_000, "recursion limit"),
        ('{"seed": ' + "9" * 100_000 + "}", "number out of range"),
    ],
)
def test_summaries_that_are_none(folder, text, word):
    (folder / "summary.json").write_text(text, encoding="latin-1")
    refused(folder, ("report", "ledger", "compare"), word)


def _arm(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    """An arm with these keys, those of value Ellipsis removed."""
    return lambda arm: {key: value for key, value in (arm | changes).items() if value is not ...}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda arm: None, "arms.both = None is not valid"),
        (lambda arm: [], "arms.both = an empty list"),
        (lambda arm: 1.0, "arms.both = 1.0"),
        (_arm(curvature=...), "arms.both.curvature is missing"),
        (_arm(expected_clip_low=...), "arms.both.expected_clip_low is missing"),
        (_arm(measured=None), "arms.both.measured = None"),
        (_arm(measured="much"), "arms.both.measured = 'much'"),
        (_arm(measured=True), "arms.both.measured = True"),
        (_arm(measured=10**400), "arms.both.measured = an integer of 1329 bits"),
        (_arm(kl={}), "arms.both.kl = an empty table"),
        (_arm(residual_other_skewness="x"), "residual_other_skewness"),
        (_arm(units=0), "arms.both.units = 0"),
        (_arm(units=2.5), "arms.both.units = 2.5"),
        (_arm(units=10**30), "arms.both.units"),
        (_arm(updates=0), "arms.both.updates = 0"),
        (_arm(updates=5), "summary.json 5"),
        (_arm(collapses=None), "arms.both.collapses = None"),
        (_arm(verdict="perhaps"), "arms.both.verdict = 'perhaps'"),
    ],
)
def test_arms_that_are_none(folder, change, word):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["arms"]["both"] = change(summary["arms"]["both"])
    path.write_text(json.dumps(summary))
    refused(folder, ("report", "ledger"), word)


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("arms", {}, "arms = an empty table"),
        ("arms", None, "arms = None"),
        ("seed", 5, "is not of the run"),
        ("digest", "0" * 12, "is not of the run"),
        ("engine", None, "engine = None"),
        ("engine", "exact", "is not of the run"),
        ("more", 1, "unknown key more = 1"),
    ],
)
def test_heads_of_summaries(folder, key, value, word):
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    refused(folder, ("report", "ledger", "compare"), word)


def test_nan_in_a_summary(folder):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    summary["arms"]["both"]["measured"] = float("nan")
    path.write_text(json.dumps(summary))
    refused(folder, ("report", "compare"), "expected value")


# ---- tables ------------------------------------------------------------------------------------------------------------------


def _rows(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    """A ledger whose rows were changed and whose columns keep their types."""

    def write(path: Path) -> None:
        table = pq.read_table(path)
        frame = change(table.to_pandas()).reset_index(drop=True)
        pq.write_table(pa.Table.from_pandas(frame, table.schema, preserve_index=False), path)

    return write


def _table(change: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    return lambda path: pq.write_table(change(pq.read_table(path)), path)


def _renamed(old: str, new: str) -> Callable[[Path], None]:
    return _table(lambda t: t.rename_columns([new if name == old else name for name in t.column_names]))


def _column(name: str, values: Callable[[int], Any]) -> Callable[[Path], None]:
    return _table(lambda t: t.set_column(t.column_names.index(name), name, pa.array(values(len(t)))))


def _put(frame: pd.DataFrame, row: int, column: str, value: Any) -> pd.DataFrame:
    frame.loc[row, column] = value
    return frame


LEDGERS = {
    "no rows": (_rows(lambda f: f[:0]), "it has no rows"),
    "no columns": (lambda path: pq.write_table(pa.table({}), path), "it has no column schema_version"),
    "a column renamed": (_renamed("measured", "measure"), "it has no column measured"),
    "an optional column renamed": (_renamed("expected_other", "expects"), "a column 'expects', which no ledger has"),
    "a column twice": (_table(lambda t: t.append_column("measured", t["measured"])), "two columns are named 'measured'"),
    "text for numbers": (_column("measured", lambda n: ["much"] * n), "its column measured holds string, not numbers"),
    "lists for numbers": (_column("kl", lambda n: [[1.0]] * n), "its column kl holds list"),
    "times for numbers": (_column("kl", lambda n: pa.array([0] * n, pa.timestamp("ns"))), "its column kl holds timestamp"),
    "truth for numbers": (_column("kl", lambda n: [True] * n), "its column kl holds bool"),
    "numbers for text": (_column("arm", lambda n: [1.0] * n), "its column arm holds double, not text"),
    "parts for whole": (_column("step", lambda n: [0.5] * n), "its column step holds double, not whole numbers"),
    "a number missing": (_rows(lambda f: _put(f, 1, "measured", np.nan)), "its column measured lacks a value"),
    "a name missing": (_rows(lambda f: _put(f, 1, "arm", None)), "its column arm lacks a value"),
    "infinity": (_rows(lambda f: _put(f, 1, "gap_low", np.inf)), "its column gap_low holds infinity"),
    "a row twice": (_rows(lambda f: pd.concat([f, f[3:4]])), "it has a row twice, arm none, step 3"),
    "all rows twice": (_rows(lambda f: pd.concat([f, f])), "it has a row twice"),
    "a row gone": (_rows(lambda f: f.drop(2)), "5 updates of arm none, and summary.json 6"),
    "an arm gone": (_rows(lambda f: f[f["arm"] == "none"]), "0 updates of arm both, and summary.json 6"),
    "an arm more": (_rows(lambda f: pd.concat([f, f[:2].assign(arm="more")])), "2 updates of arm more, and summary.json 0"),
    "another schema": (_rows(lambda f: f.assign(schema_version=99)), "schema_version 99"),
    "it counts below 0": (_rows(lambda f: f.assign(inner_step=f["inner_step"] - 1)), "it counts below 0"),
    "bytes": (lambda path: path.write_bytes(b"PAR1" + bytes(100)), "is not a whole Parquet file"),
    "nothing": (lambda path: path.write_bytes(b""), "is not a whole Parquet file"),
    "half": (lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]), "is not a whole Parquet file"),
}


@pytest.mark.parametrize("name", LEDGERS)
def test_ledgers_that_are_none(folder, name):
    write, word = LEDGERS[name]
    write(folder / "ledger.parquet")
    refused(folder, ("report", "ledger", "predict --noise"), word)


# What only the summary can tell is not seen in a ledger without its folder.
ALONE = sorted(LEDGERS.keys() - {"a row gone", "an arm gone", "an arm more"})


@pytest.mark.parametrize("name", ALONE)
def test_ledgers_without_a_folder(folder, tmp_path, name):
    write, word = LEDGERS[name]
    path = tmp_path / "alone.parquet"
    shutil.copy(folder / "ledger.parquet", path)
    frame, summaries = read_ledger(path)
    assert (len(frame), summaries) == (12, {})
    write(path)
    with pytest.raises(DamagedFileError, match=word):
        read_ledger(path)


def test_rollouts_that_are_none(folder):
    _renamed("measured", "measure")(folder / "rollouts.parquet")
    refused(folder, ("report",), "it has no column measured")


@pytest.mark.parametrize("metadata", [b"", b"null", b"[]", b'{"columns": 7}', b'{"index_columns": ["measured"], "columns": []}'])
def test_what_others_wrote_about_a_table_is_not_read(finished, folder, metadata):
    _table(lambda t: t.replace_schema_metadata({**t.schema.metadata, b"pandas": metadata}))(folder / "ledger.parquet")
    relist(folder)
    assert read_frame(folder).equals(read_frame(finished))


def test_a_file_that_claims_more_rows_than_it_has_bytes(folder):
    zeros = {
        name: {"text": pa.array(["a"]), "whole": pa.array([1]), "number": pa.array([0.0])}[type_of("updates", name)]
        for name in read_frame(folder).columns
    }
    schema = pa.schema([(name, array.type) for name, array in zeros.items()])
    with pq.ParquetWriter(folder / "ledger.parquet", schema) as writer:
        block = pa.table({name: pa.concat_arrays([array] * 100_000) for name, array in zeros.items()})
        for _ in range(10):
            writer.write_table(block)
    refused(folder, ("ledger",), "it claims 1,000,000 rows, and has ")


# ---- experiment.toml and manifest.json ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "x = ", "x = 1", "x = " + "[" * 100_000, "seed = -1", "[policy]\nkind = 'warp'", "\0"])
def test_experiments_that_are_none(folder, text):
    if text:
        (folder / "experiment.toml").write_text(text)
    else:
        (folder / "experiment.toml").write_bytes(b"\xff")
    refused(folder, ("report",), "experiment.toml does not hold what it should")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("versions", [1], "versions = a list of 1 entry"),
        ("versions", {"numpy": 2}, "versions.numpy = 2"),
        ("format", 2, "format = 2"),
        ("files", {}, "not listed"),
        ("files", {"../x": {"size": 1, "sha256": "0" * 64}}, "files.../x"),
        ("digest", None, "digest = None"),
        ("kind", "entclip reproduce", "kind = 'entclip reproduce'"),
    ],
)
def test_manifests_that_are_none(folder, key, value, word):
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    for name in READERS:
        with pytest.raises(DamagedFileError, match=word):
            READERS[name](folder)


def test_old_folders_say_what_to_do(folder):
    (folder / MANIFEST).unlink()
    for name in READERS:
        with pytest.raises(
            SpecError, match=r"holds experiment\.toml and no manifest\.json, as runs of entclip 0\.1 do: run it again"
        ):
            READERS[name](folder)


def test_devices_and_pipes_are_no_files(folder):
    for name in ("summary.json", "ledger.parquet", MANIFEST):
        (folder / name).unlink()
        os.mkfifo(folder / name)
        with pytest.raises(DamagedFileError, match=f"{name} cannot be read: it is a pipe, not a file"):
            read_summary(folder)
        (folder / name).unlink()
        (folder / name).symlink_to("/dev/zero")
        with pytest.raises(DamagedFileError, match="it is a device or socket, not a file"):
            read_summary(folder)


def test_reused_summaries_are_checked(folder, tmp_path):
    found = reusable([folder])
    assert [value["seed"] for _, value in found.values()] == [0]
    alone = tmp_path / "alone.json"
    shutil.copy(folder / "summary.json", alone)
    assert reusable([alone]).keys() == found.keys()
    summary = json.loads(alone.read_text())
    summary["arms"]["both"] = None
    alone.write_text(json.dumps(summary))
    with pytest.raises(DamagedFileError, match=r"arms\.both = None"):
        reusable([alone])
    (folder / "summary.json").write_text(json.dumps(summary))
    with pytest.raises(DamagedFileError, match=r"summary\.json is not the file that manifest\.json lists"):
        reusable([folder])


# ---- at the command line -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments", [("report", "RUN"), ("ledger", "RUN"), ("compare", "RUN", "RUN"), ("predict", "headline", "--noise", "flat:RUN")]
)
def test_commands_exit_with_2_and_one_line(folder, arguments):
    _renamed("measured", "measure")(folder / "ledger.parquet")
    if arguments[0] == "compare":
        (folder / "summary.json").write_text("null")
    relist(folder)
    words = [word.replace("RUN", str(folder)) for word in arguments]
    done = entclip(*words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {folder}/")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_saved_run_reads_as_it_was(tmp_path):
    """Every table comes back as the ledger had it, up to None for a number, which Parquet keeps as null and pandas as NaN."""
    ledger = run(small("ledger.detail=context"), out=tmp_path)
    saved = open_run(tmp_path)
    for kind in ("updates", "rollouts", "contexts"):
        made, read = ledger.to_frame(kind), saved.frame(kind)
        assert list(made) == list(read)
        for name in made:
            if type_of(kind, name) == "number":
                assert np.array_equal(made[name].astype(float), read[name], equal_nan=True), name
            else:
                assert list(made[name]) == list(read[name]), name
    assert saved.summary() == json.loads(json.dumps(ledger.summary()))
    assert saved.experiment() == small("ledger.detail=context")


def test_types_of_columns_do_not_depend_on_what_is_in_them(tmp_path):
    """The arm `none` has no gaps, the other has: a null column would have another type than one with a number."""
    experiment = small()
    for arm in experiment.arm:
        run(experiment.model_copy(update={"arm": (arm,)}), out=tmp_path / arm.name)
    one, other = (pq.read_schema(tmp_path / arm.name / "ledger.parquet").remove_metadata() for arm in experiment.arm)
    assert one == other
