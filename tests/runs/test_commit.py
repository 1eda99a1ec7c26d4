"""A run folder holds one run: a kill between two renames leaves the old one, the new one, or what is said to be damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from entclip import run
from entclip.ledger.folder import open_run, read_frame, read_ledger, read_summary
from entclip.ledger.manifest import MANIFEST, RUN_FILES
from entclip.support.errors import DamagedFileError, SpecError, StorageError
from tests.folders import small, write_run

# A run that is saved to a folder by a child which is killed at its n-th rename or removal; a line per n.
KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from entclip import run
from entclip.runs import save
from entclip.runs.runner import versions_behind
from entclip.engines.named import engine_named
from tests.folders import small

old, new, target = Path(sys.argv[1]), run(small("seed=7")), Path(sys.argv[2])
new.name = new.name._replace(digest=run(small()).name.digest)
versions = versions_behind(engine_named("sampled"))
(target / "loaded").mkdir()
save.save_run(new, target / "loaded", versions)  # what it imports, once for all children
for n in range(100):
    folder = target / str(n)
    shutil.copytree(old, folder)
    child = os.fork()
    if child == 0:
        left = [n]
        def counted(call):
            def wrapped(*arguments, **options):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **options)
            return wrapped
        os.replace, os.unlink, Path.unlink = counted(os.replace), counted(os.unlink), counted(Path.unlink)
        save.save_run(new, folder, versions)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        print(n)
        break
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the child that is killed is a fork")
def test_a_kill_at_any_rename_leaves_one_run_or_a_damaged_folder(tmp_path):
    """The old run has contexts.parquet, which the new one has not: a stale table is gone, or the folder damaged."""
    old = tmp_path / "old"
    run(small("ledger.detail=context"), out=old)
    command = [sys.executable, "-c", KILLED, str(old), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    whole = int(done.stdout)
    assert whole >= len(RUN_FILES)
    before, after = (read_summary(tmp_path / name)["seed"] for name in ("old", str(whole)))
    assert (before, after) == (0, 7)
    seen = []
    for n in range(whole + 1):
        try:
            saved = open_run(tmp_path / str(n))
        except DamagedFileError:
            seen.append("damaged")
            continue
        seeds = {saved.summary()["seed"], *saved.frame()["seed"], *saved.frame("rollouts")["seed"], saved.experiment().seed}
        assert len(seeds) == 1
        assert ("contexts.parquet" in saved.manifest.files) == (seeds == {0})
        seen.append("old" if seeds == {0} else "new")
    assert seen[0] == "old"
    assert seen[-1] == "new"
    assert seen == sorted(seen, key=["old", "damaged", "new"].index), "once damaged, never the old run again"
    assert not (tmp_path / str(whole) / "contexts.parquet").exists()


def test_a_folder_with_another_finished_run_is_refused_and_kept(tmp_path):
    write_run(tmp_path)
    before = contents(tmp_path)
    for other, engine in ((small("seed=3"), "sampled"), (small(), "reduced")):
        with pytest.raises(SpecError, match="holds another finished run") as caught:
            run(other, engine, out=tmp_path)
        assert "\n" not in str(caught.value)
        assert "choose another folder with --out" in str(caught.value)
    assert contents(tmp_path) == before
    run(small(), out=tmp_path)  # the same run again
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", RUN_FILES)
def test_files_that_no_manifest_lists_are_not_overwritten(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(SpecError, match=f"{name}, which no manifest.json lists"):
        run(small(), out=tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "[" * 100_000, '{"kind": "entclip run"}', '{"command": "entclip reproduce"}']
)
def test_a_manifest_of_something_else_is_neither_read_nor_replaced(tmp_path, text):
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DamagedFileError, match="not the manifest of a run"):
        read_summary(tmp_path)
    with pytest.raises(SpecError, match="not the manifest of a run"):
        run(small(), out=tmp_path)
    assert (tmp_path / MANIFEST).read_text() == text


@pytest.mark.parametrize("name", RUN_FILES)
def test_files_of_two_runs_are_not_read_as_one(tmp_path, name):
    """Swapped between two runs, each of them whole and readable by itself."""
    one, other = (
        write_run(tmp_path / "one", "ledger.detail=context"),
        write_run(tmp_path / "other", "seed=1", "ledger.detail=context"),
    )
    (one / name).write_bytes((other / name).read_bytes())
    for reader in (read_summary, read_frame, lambda folder: read_ledger(folder / "ledger.parquet")):
        with pytest.raises(DamagedFileError, match=rf"{name} is not the file that manifest.json lists"):
            reader(one)
    run(small("ledger.detail=context"), out=one)
    assert read_summary(one)["seed"] == 0


@pytest.mark.parametrize("name", RUN_FILES)
def test_a_file_that_is_gone_or_a_folder_is_named(tmp_path, name):
    write_run(tmp_path, "ledger.detail=context")
    (tmp_path / name).unlink()
    with pytest.raises(DamagedFileError, match=f"{name} cannot be read: No such file"):
        read_summary(tmp_path)
    (tmp_path / name).mkdir()
    with pytest.raises(DamagedFileError, match=f"{name} cannot be read: it is a folder, not a file"):
        read_summary(tmp_path)
    with pytest.raises(SpecError, match=f"{name} is a folder, where a file is to be written"):
        run(small("ledger.detail=context"), out=tmp_path)


def test_what_stands_in_the_way_is_found_before_any_work(tmp_path, monkeypatch):
    (tmp_path / MANIFEST).mkdir()
    monkeypatch.setattr("entclip.runs.runner._run_cases", None)  # any work would end in another error
    with pytest.raises(SpecError, match=r"manifest\.json is a folder"):
        run(small(), out=tmp_path)


def test_a_table_is_stale_only_until_the_run_is_replaced(tmp_path):
    """contexts.parquet that an earlier version of the same run left, and that its manifest lists."""
    write_run(tmp_path)
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "contexts.parquet")
    with pytest.raises(DamagedFileError, match=r"contexts\.parquet is not listed"):
        read_frame(tmp_path, "contexts")
    run(small(), out=tmp_path)
    assert not (tmp_path / "contexts.parquet").exists()


def test_an_unfinished_run_says_how_to_go_on(tmp_path):
    def stop(arm: str, done: int, total: int) -> None:
        if done > 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(small(), out=tmp_path, progress=stop)
    with pytest.raises(SpecError, match="interrupted or still goes on"):
        read_summary(tmp_path)
    with pytest.raises(SpecError, match="does not exist"):
        read_summary(tmp_path / "nowhere")


def test_a_full_disk_leaves_the_old_run_and_the_checkpoints(tmp_path):
    """The limit on file sizes stands for a full disk: the larger files of a run do not fit, its checkpoints do."""
    code = (
        "import resource, sys; from pathlib import Path; from tests.folders import *; from entclip import run;"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2); run(small(), out=sys.argv[1], jobs=1)"
    )
    write_run(tmp_path)
    before = contents(tmp_path)
    largest = max(len(data) for data in before.values())
    for limit in (0, 100, largest - 1):
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(limit)], capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 1
        assert "StorageError: cannot " in done.stderr.splitlines()[-1]
        assert contents(tmp_path) == before
        assert not [p.name for p in tmp_path.rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".write-test")]
    assert read_summary(tmp_path)["seed"] == 0


def test_an_error_while_saving_is_the_systems_and_not_the_inputs(tmp_path, monkeypatch):
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if target.name == "rollouts.parquet":
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left on device"):
        run(small(), out=tmp_path)
    monkeypatch.undo()
    rollouts = []
    run(small(), out=tmp_path, progress=lambda arm, done, total: rollouts.append(arm))
    assert rollouts == [], "taken up from the checkpoints, with nothing to do again"
    assert json.loads((tmp_path / MANIFEST).read_text())["seed"] == 0


def test_what_a_killed_process_left_is_not_written_through(tmp_path):
    """A staged name may be taken: by half a file, or by a link, whose target is nobody's business."""
    (tmp_path / "mine").write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".ledger.parquet.tmp").symlink_to(tmp_path / "mine")
    (folder / ".summary.json.tmp").write_text("half")
    run(small(), out=folder)
    assert (tmp_path / "mine").read_text() == "mine"
    assert read_summary(folder)["seed"] == 0
    assert not list(folder.glob(".*.tmp"))
