"""Checkpoints: resumed bit for bit by the same run and the same versions, refused in one line by anything else."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from entclip import load, run
from entclip.experiments.experiment import Experiment
from entclip.ledger.folder import read_frame
from entclip.runs.checkpoint import _is_whole
from entclip.support.errors import DamagedFileError, SpecError, StorageError
from tests.folders import small

ALL = 12  # updates of `small`: 2 arms, 2 rollouts, 3 minibatches


def interrupted(experiment: Experiment, folder: Path, engine: str = "sampled", after: int = 4) -> Path:
    """A run that is stopped in its first arm at this update; the folder of its checkpoints."""

    def stop(arm: str, done: int, total: int) -> None:
        # The next arm may begin before the first has ended all: it makes no update.
        if arm != "none" or done == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, engine, out=folder, jobs=1, progress=stop)
    (found,) = folder.glob(".checkpoint-*")
    return found


def updates(experiment: Experiment, folder: Path, engine: str = "sampled") -> int:
    """How many updates a run into this folder makes."""
    made: list[str] = []
    run(experiment, engine, out=folder, progress=lambda arm, done, total: made.append(arm))
    return len(made)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A checkpoint as it was written."""
    (file,) = interrupted(small(), tmp_path_factory.mktemp("whole")).iterdir()
    return file


def test_a_checkpoint_is_resumed_from(tmp_path):
    interrupted(small(), tmp_path)
    assert updates(small(), tmp_path) == ALL - 3


def test_every_flipped_byte_is_found(whole):
    """Every byte of the file stands under the checksum, the checksum's own digits included."""
    content = whole.read_bytes()
    assert _is_whole(content)
    for place in range(len(content)):
        assert not _is_whole(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]), place
    for damaged in (b"", content[:-1], content + b"x", content[:100], b"\0" * len(content)):
        assert not _is_whole(damaged)


@pytest.mark.parametrize("place", [0, 30, 1000, -70, -1])
def test_a_damaged_checkpoint_ends_in_one_line(tmp_path, place):
    (file,) = interrupted(small(), tmp_path).iterdir()
    content = bytearray(file.read_bytes())
    content[place] ^= 64
    file.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"is damaged .* Delete it to start this arm again") as caught:
        run(small(), out=tmp_path)
    assert "\n" not in str(caught.value)
    assert not isinstance(caught.value, SpecError)
    file.unlink()
    assert updates(small(), tmp_path) == ALL


def test_damage_is_found_before_any_work(tmp_path, monkeypatch):
    """In the second arm's checkpoint, while the first arm has work left."""
    folder = interrupted(small(), tmp_path, after=4)
    (folder / "both.npz").write_bytes(b"")
    monkeypatch.setattr("entclip.runs.runner._run_cases", None)
    with pytest.raises(DamagedFileError, match=r"both\.npz is damaged"):
        run(small(), out=tmp_path)


def test_a_checkpoint_of_another_seed_is_refused(tmp_path):
    (mine,), (other,) = (interrupted(small(f"seed={seed}"), tmp_path / str(seed)).iterdir() for seed in (0, 3))
    assert mine.name == other.name
    shutil.copy(other, mine)
    with pytest.raises(DamagedFileError, match="is of another run"):
        run(small("seed=0"), out=tmp_path / "0")


@pytest.mark.parametrize(("engine", "package"), [("sampled", "numpy"), ("reduced", "numba")])
def test_other_versions_are_refused_by_name(tmp_path, monkeypatch, engine, package):
    """numba there and gone: the compiled kernels round differently, and a resumed run would match neither."""
    from entclip.support.files import version_of

    interrupted(small(), tmp_path, engine)
    monkeypatch.setattr("entclip.runs.versions.version_of", lambda name: None if name == package else version_of(name))
    was = re.escape(f"made with {package} {version_of(package)}")
    with pytest.raises(DamagedFileError, match=f"{was}, but here is {package} not installed"):
        run(small(), engine, out=tmp_path)
    monkeypatch.undo()
    assert updates(small(), tmp_path, engine) == ALL - 3


@pytest.mark.parametrize("kind", ["npy", "npz", "snapshot"])
def test_a_changed_input_file_is_another_run(tmp_path, kind):
    """The file is changed between the interrupt and the resume: nothing of the old arms is taken over."""
    path = tmp_path / f"policy.{'npy' if kind == 'npy' else 'npz'}"
    rng, engine = np.random.default_rng(0), "head" if kind == "npz" else "sampled"

    def write(scale: float) -> None:
        if kind == "npy":
            np.save(path, 5 + scale * rng.standard_normal((3, 4)))
        elif kind == "npz":
            np.savez(path, hidden=scale * rng.standard_normal((3, 2)), head=rng.standard_normal((4, 2)))
        else:
            from entclip.policies.snapshot import compress

            p = rng.dirichlet(np.full(4, scale), 3)
            compress(np.log(p / p.sum(axis=-1, keepdims=True)), keep=4).save(path)

    key = {
        "npy": f"policy={{kind='file', path='{path}'}}",
        "npz": f"policy={{kind='hidden', path='{path}'}}",
        "snapshot": f"policy={{kind='snapshot', name='{path}'}}",
    }[kind]
    data = ["update.batch=16", "update.minibatches=3", "update.rollouts=2", "update.geometry=euclidean", key]
    experiment = load("headline", data)
    experiment = experiment.model_copy(update={"arm": experiment.arm[:2]})
    write(1.0)
    first = experiment.digest
    interrupted(experiment, tmp_path / "run", engine)
    write(2.0)
    assert experiment.digest != first
    assert updates(experiment, tmp_path / "run", engine) == ALL
    run(experiment, engine, out=tmp_path / "alone")
    assert read_frame(tmp_path / "run").equals(read_frame(tmp_path / "alone"))


def test_a_file_that_changes_while_it_is_read_ends_the_run(tmp_path):
    path = tmp_path / "policy.npy"
    np.save(path, np.zeros((3, 4)))
    experiment = small(f"policy={{kind='file', path='{path}'}}")

    def change(arm: str, done: int, total: int) -> None:
        np.save(path, np.full((3, 4), float(done)) + np.arange(4))

    with pytest.raises(SpecError, match=r"policy\.npy changed while the run was reading it"):
        run(experiment, out=tmp_path / "run", jobs=1, progress=change)
    assert len(list((tmp_path / "run").glob(".checkpoint-*/*.npz"))) == 1, "none of the arm that would have read the new file"


def test_a_folder_of_that_name_is_not_called_damaged(tmp_path):
    (file,) = interrupted(small(), tmp_path).iterdir()
    file.unlink()
    file.mkdir()
    with pytest.raises(DamagedFileError, match=r"\.npz cannot be read: it is a folder, not a file\. Delete it"):
        run(small(), out=tmp_path)
    shutil.rmtree(file.parent)
    file.parent.write_text("mine")
    with pytest.raises(SpecError, match="cannot write to the output folder"):
        run(small(), out=tmp_path)


def test_what_cannot_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    """Permissions do not bind the superuser, so the system's answer is put in its place."""
    (file,) = interrupted(small(), tmp_path).iterdir()
    opened = Path.open

    def refuse(path: Path, *arguments: object, **options: object) -> object:
        if path == file:
            raise PermissionError(13, "Permission denied")
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StorageError, match="Permission denied") as caught:
        run(small(), out=tmp_path)
    assert "damaged" not in str(caught.value)
    assert "delete" not in str(caught.value)
    monkeypatch.undo()
    assert updates(small(), tmp_path) == ALL - 3


def test_cases_that_look_alike_in_a_file_name_have_files_of_their_own(tmp_path):
    """Labels differ in characters that file names do not have, or only at their end, after 100 characters."""
    grid = {"description": ("a/b", "a_b", "x" * 100 + "y", "x" * 100 + "z")}
    experiment = small().model_copy(update={"grid": grid})
    stopped: list[str] = []

    def stop(arm: str, done: int, total: int) -> None:
        if arm.endswith("z/both") and done == 6:
            stopped.append(arm)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(experiment, out=tmp_path, jobs=1, progress=stop)
    (folder,) = tmp_path.glob(".checkpoint-*")
    assert stopped
    assert len(list(folder.iterdir())) == 8
    assert updates(experiment, tmp_path) == 3


def test_a_finished_run_leaves_no_checkpoints(tmp_path):
    interrupted(small(), tmp_path)
    run(small(), out=tmp_path)
    assert not list(tmp_path.glob(".checkpoint-*"))
