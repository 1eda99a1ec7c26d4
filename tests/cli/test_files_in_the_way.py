"""What stands where a command writes is found before any work; a full disk ends in one line and leaves what was there."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

from entclip.cli.app import main
from entclip.support.errors import StorageError
from entclip.support.files import write_atomic
from entclip.support.lock import folder_lock
from tests.folders import write_run

SMALL = ["--set", "policy.contexts=3", "--set", "update.minibatches=3", "--set", "update.rollouts=1", "--set", "update.batch=16"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("finished") / "run")


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit code of a command line in this process."""
    monkeypatch.setattr(sys, "argv", ["entclip", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


WRITERS = {
    "run": (["run", "headline", *SMALL, "--out", "OUT"], ["manifest.json", "summary.json", "ledger.parquet", "figure.png"]),
    "check": (["check", "headline", *SMALL, "--out", "OUT"], ["rollouts.parquet", "experiment.toml", "figure.png"]),
    "llm": (["llm", "--out", "OUT"], ["metrics.jsonl", "figure.png", "contexts.parquet"]),
    "report": (["report", "RUN", "--out", "OUT"], ["report.html", "report.md", "rollouts.png", "figure.png"]),
    "ledger": (["ledger", "RUN", "--out", "OUT"], ["causes.png"]),
    "predict": (["predict", "headline", *SMALL, "--out", "OUT"], ["forecast.json", "forecast.csv"]),
    "noise": (["noise", "headline", *SMALL, "--out", "OUT/noise.csv"], ["noise.csv"]),
    "map": (["map", "--out", "OUT"], ["map.png", "map.csv", "map.json"]),
    "snapshot": (["snapshot", "--out", "OUT/made.npz"], ["made.npz"]),
    "reproduce": (["reproduce", "--out", "OUT"], ["findings.md", "manifest.json"]),
}


@pytest.mark.parametrize(("command", "name"), [(command, name) for command, (_, names) in WRITERS.items() for name in names])
def test_a_folder_where_a_file_is_to_be_written(command, name, finished, tmp_path, monkeypatch, capsys):
    """Before any work: the experiments of some of these take minutes."""
    (tmp_path / name).mkdir()
    words = [word.replace("OUT", str(tmp_path)).replace("RUN", str(finished)) for word in WRITERS[command][0]]
    assert call(monkeypatch, *words) == 2
    said = capsys.readouterr()
    way = f"{tmp_path / name} is a folder, where a file is to be written: remove it, or choose another --out."
    assert said.err.splitlines()[-1] == f"error: {way}"
    assert said.out == ""
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("kind", ["a pipe", "a device or socket"])
@pytest.mark.parametrize("command", ["noise", "predict", "snapshot"])
def test_pipes_and_devices_are_not_replaced(command, kind, tmp_path, monkeypatch, capsys):
    """Who may rename over /dev/null takes it from the whole machine; here it is a link, which a rename would replace."""
    words, (name, *_) = WRITERS[command]
    way = tmp_path / name
    os.mkfifo(way) if kind == "a pipe" else way.symlink_to(os.devnull)
    assert call(monkeypatch, *(word.replace("OUT", str(tmp_path)) for word in words)) == 2
    fix = "where a file is to be written: choose another path."
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {way} is {kind}, {fix}"
    assert way.is_fifo() or way.is_symlink()
    with pytest.raises(StorageError, match=f"cannot write {way}: it is {kind}. Choose another path"):
        write_atomic(way, b"mine")
    assert way.is_fifo() or way.is_symlink()


@pytest.mark.parametrize("command", WRITERS)
def test_a_file_where_the_folder_is_to_be(command, finished, tmp_path, monkeypatch, capsys):
    (tmp_path / "out").write_text("mine")
    words = [word.replace("OUT", str(tmp_path / "out")).replace("RUN", str(finished)) for word in WRITERS[command][0]]
    assert call(monkeypatch, *words) == 2
    assert capsys.readouterr().err.startswith("error: cannot write to the output folder ")
    assert (tmp_path / "out").read_text() == "mine"


def full(limit: int, *words: str) -> subprocess.CompletedProcess[str]:
    """A command whose files may have this many bytes each, as on a disk that is almost full."""

    def almost_full() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "-m", "entclip", *words]
    return subprocess.run(command, preexec_fn=almost_full, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (10, ["run", "headline", *SMALL, "--out", "OUT"]),
        (12_000, ["run", "headline", *SMALL, "--out", "OUT"]),
        (10_000, ["report", "RUN", "--out", "OUT"]),
        (10_000, ["ledger", "RUN", "--out", "OUT"]),
        (10, ["predict", "headline", *SMALL[:6], "--out", "OUT"]),  # at their own batch, which a forecast needs
        (10, ["noise", "headline", "--set", "policy.contexts=40", "--set", "update.minibatches=4", "--out", "OUT/noise.csv"]),
    ],
)
def test_a_full_disk_is_one_line_and_exit_74(limit, words, finished, tmp_path):
    words = [word.replace("OUT", str(tmp_path)).replace("RUN", str(finished)) for word in words]
    done = full(limit, *words)
    assert done.returncode == 74, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert "File too large" in lines[0]
    assert "Traceback" not in done.stderr
    left = [path.name for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size and path.suffix != ".npz"]
    assert left == [], "nothing half-written"


def test_reproduce_and_a_run_do_not_share_a_folder(finished, tmp_path, monkeypatch, capsys):
    """Both have a manifest.json."""
    before = (finished / "manifest.json").read_bytes()
    assert call(monkeypatch, "reproduce", "theorem1", "--quick", "--out", str(finished)) == 2
    assert "holds a finished run (headline): give entclip reproduce a folder of its own" in capsys.readouterr().err
    assert (finished / "manifest.json").read_bytes() == before
    with folder_lock(tmp_path):
        assert call(monkeypatch, "reproduce", "theorem1", "--quick", "--out", str(tmp_path)) == 2
    assert f"{tmp_path} is being written by process {os.getpid()} on " in capsys.readouterr().err
    (tmp_path / "manifest.json").write_text('{"command": "entclip reproduce", "files": []}')
    assert call(monkeypatch, "run", "headline", *SMALL, "--out", str(tmp_path)) == 2
    assert "is not the manifest of a run" in capsys.readouterr().err
