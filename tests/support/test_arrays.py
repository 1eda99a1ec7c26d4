"""Arrays from files of others: what a header or an archive claims is never believed, and every damage is one message."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from entclip.support import arrays
from entclip.support.arrays import read_npy, read_npz
from entclip.support.errors import DamagedFileError, SpecError

MEMORY = 2**24  # bytes that refusing may take


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(text: str, version: int = 1) -> bytes:
    body = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(body)) + body


def claims(shape: str, dtype: str = "<f8") -> bytes:
    return header(f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}")


@pytest.fixture
def little_memory() -> Iterator[None]:
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", "<f2", "<i4", "|u1", "|b1"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0, 4), (1, 1, 5)])
def test_what_numpy_writes_is_read_back(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    array = np.arange(int(np.prod(shape))).reshape(shape).astype(dtype)
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "f.npy", array.copy(order="F"))
    np.savez(tmp_path / "a.npz", x=array, other=array)
    np.savez_compressed(tmp_path / "c.npz", x=array)
    found = [read_npy(tmp_path / f"{n}.npy", "it") for n in "af"]
    found += [read_npz(tmp_path / f"{n}.npz", ("x", "absent"), "it")["x"] for n in "ac"]
    found += [read_npz((tmp_path / "c.npz").read_bytes(), ("x",), "it")["x"]]
    for each in found:
        assert each.dtype == array.dtype
        assert np.array_equal(each, array)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (claims("(10**12,)"), "cannot be read as a .npy file"),
        (claims("(1000000000000,)"), "is damaged: its header claims 1000000000000 numbers, 7.3 TiB, but 0 bytes follow."),
        (claims("(100000, 100000, 100000, 100000)") + b"x" * 80, "TiB, but 80 bytes follow."),
        (claims("(3,)") + b"x" * 25, "is damaged: its header claims 3 numbers, 24 bytes, but 25 bytes follow."),
        (claims("(-3,)"), "shape (-3,)"),
        (claims("(True, 3)"), "cannot be read as a .npy file"),
        (claims("(3,)", "|O") + b"x" * 24, "holds object: expected real numbers."),
        (claims("(3,)", "<c16") + b"x" * 48, "holds complex128: expected real numbers."),
        (claims("(3,)", "<U4") + b"x" * 48, "holds <U4: expected real numbers."),
        (claims("(3,)", "<M8[s]") + b"x" * 24, "holds datetime64[s]: expected real numbers."),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + b" " * 100, "a header of 4294967295 bytes"),
        (header("{'descr': '<f8'}", 3), "version (3, 0) of the format is for tables with named columns"),
        (header("(" * 900), "cannot be read as a .npy file"),
        (header("__import__('os').abort()"), "cannot be read as a .npy file"),
        (b"\x93NUMPY", "of 6 bytes cannot be read as a .npy file"),
        (b"", "of 0 bytes cannot be read as a .npy file"),
        (b"\x80\x04K\x01.", "cannot be read as a .npy file"),
    ],
)
def test_headers_are_not_believed(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises((SpecError, DamagedFileError)) as caught:
        read_npy(tmp_path / "x.npy", "it")
    assert str(caught.value).startswith("it ")
    assert message in str(caught.value)


@pytest.mark.usefixtures("little_memory")
def test_sparse_files(tmp_path: Path) -> None:
    with (tmp_path / "sparse.npy").open("wb") as file:
        file.write(claims(f"({2**40},)"))
        file.truncate(file.tell() + 2**43)
    with pytest.raises(SpecError, match=r"^it holds 8\.0 TiB of numbers\. At most"):
        read_npy(tmp_path / "sparse.npy", "it")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pipe", "it cannot be read: it is a pipe, not a file."),
        (".", "it cannot be read: it is a folder, not a file."),
        ("absent", "it cannot be read: No such file or directory."),
        ("x" * 300, "it cannot be read: File name too long."),
        ("nul\0l", "it cannot be read: embedded null byte."),
    ],
)
def test_what_is_no_file(tmp_path: Path, name: str, message: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (lambda: read_npy(tmp_path / name, "it"), lambda: read_npz(tmp_path / name, ("x",), "it")):
        with pytest.raises((SpecError, DamagedFileError)) as caught:
            read()
        assert str(caught.value) == message


def archive(tmp_path: Path, fill: Callable[[zipfile.ZipFile], None]) -> Path:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as file:
        fill(file)
    return path


def _members(count: int) -> Callable[[zipfile.ZipFile], None]:
    def fill(file: zipfile.ZipFile) -> None:
        for k in range(count):
            file.writestr(f"{k:080d}.npy", b"")

    return fill


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (lambda f: f.writestr("x.npy", npy(np.ones(3)), zipfile.ZIP_LZMA), "`x` is compressed by method 14. Save it with"),
        (lambda f: f.writestr("x.npy", npy(np.ones(3)), zipfile.ZIP_BZIP2), "`x` is compressed by method 12. Save it with"),
        (lambda f: f.writestr("x.npy", npy(np.zeros(2**24)), zipfile.ZIP_DEFLATED), "128.0 MiB of arrays in a file of"),
        (lambda f: f.writestr("x.npy", claims("(1000000000000,)")), "`x` is damaged: its header claims 1000000000000 numbers"),
        (lambda f: f.writestr("x.npy", b"no array"), "cannot be read as a .npz file of numbers"),
        (lambda f: f.writestr("x.npy", npy(np.array([{}], object))), "`x` holds object: expected real numbers."),
        (lambda f: f.writestr("x.npy", npy(np.ones(3)) + b"more"), "claims 3 numbers, 24 bytes, but 28"),
        (_members(12_000), "its list of members is over a megabyte"),
    ],
)
def test_archives_are_not_believed(tmp_path: Path, fill: Callable[[zipfile.ZipFile], None], message: str) -> None:
    path = archive(tmp_path, fill)
    tracemalloc.start()
    with pytest.raises((SpecError, DamagedFileError)) as caught:
        read_npz(path, ("x",), "it")
    assert tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()
    assert message in str(caught.value)


def test_what_lies_beside_the_wanted_members_is_not_looked_at(tmp_path: Path) -> None:
    def fill(file: zipfile.ZipFile) -> None:
        file.writestr("x.npy", npy(np.ones(3)))
        file.writestr("bomb.npy", npy(np.zeros(2**24)), zipfile.ZIP_DEFLATED)
        file.writestr("notes.txt", "hello")

    assert np.array_equal(read_npz(archive(tmp_path, fill), ("x",), "it")["x"], np.ones(3))


def test_flags_and_lies_in_the_list_of_members(tmp_path: Path) -> None:
    path = archive(tmp_path, lambda f: f.writestr("x.npy", npy(np.arange(1000.0)), zipfile.ZIP_DEFLATED))
    data = path.read_bytes()
    place = data.rindex(b"PK\x01\x02")
    for offset, value, message in (
        (8, struct.pack("<H", 1), "`x` is encrypted. Save it with numpy.savez."),
        (10, struct.pack("<H", 99), "`x` is compressed by method 99."),
        (24, struct.pack("<I", 2**31), "of arrays in a file of"),  # the size of what is inside
        (24, struct.pack("<I", 2000), "Bad CRC-32"),
        (16, b"\0\0\0\0", "cannot be read as a .npz file"),  # the checksum
        (42, struct.pack("<I", 10**9), "cannot be read as a .npz file"),  # where the member begins
    ):
        path.write_bytes(data[: place + offset] + value + data[place + offset + len(value) :])
        with pytest.raises((SpecError, DamagedFileError)) as caught:
            read_npz(path, ("x",), "it")
        assert message in str(caught.value)


def test_every_flipped_byte_is_an_error_or_harmless(tmp_path: Path) -> None:
    array = np.arange(40.0)
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=array)
    data = path.read_bytes()
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        try:
            found = read_npz(path, ("x",), "it")
        except (SpecError, DamagedFileError):
            continue
        assert "x" not in found or np.array_equal(found["x"], array)


def test_no_more_than_half_of_the_free_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "x.npy", np.ones(1000))
    np.savez(tmp_path / "x.npz", x=np.ones(1000))
    monkeypatch.setattr(arrays, "available_bytes", lambda: 16_000)
    assert len(read_npy(tmp_path / "x.npy", "it")) == 1000
    monkeypatch.setattr(arrays, "available_bytes", lambda: 15_998)
    with pytest.raises(SpecError, match=r"it holds 8,000 bytes of numbers\. At most 7,999 bytes are read here"):
        read_npy(tmp_path / "x.npy", "it")
    with pytest.raises(SpecError, match="of arrays in a file of"):
        read_npz(tmp_path / "x.npz", ("x",), "it")
