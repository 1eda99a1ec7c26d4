"""Files for the cases, good and bad, each made by an operation with plain arguments: see `OPERATIONS`."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from entclip import load

__all__ = ["OPERATIONS", "make"]


def make(path: Path, operation: str, arguments: dict[str, Any], templates: Path) -> None:
    """Apply one operation at `path`; folders on the way are made."""
    if not path.parent.exists():
        path.parent.mkdir(parents=True)
    if operation == "copy":
        source = templates / arguments["of"]
        if path.is_dir() or path.exists():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, path)
        return
    OPERATIONS[operation](path, **arguments)


def found(path: Path) -> Path:
    """The file itself; a name with * stands for the first match, for names that hold digests."""
    if "*" not in path.name and "*" not in str(path):
        return path
    at = next(p for p in [path, *path.parents] if "*" not in str(p))
    return sorted(at.glob(str(path.relative_to(at))))[0]


def text(path: Path, value: str) -> None:
    path.write_bytes(value.encode("utf-8", "surrogateescape"))


def raw(path: Path, hex: str) -> None:
    path.write_bytes(bytes.fromhex(hex))


def repeat(path: Path, value: str, times: int, before: str = "", after: str = "") -> None:
    path.write_text(before + value * times + after)


def lines(path: Path, value: str, times: int) -> None:
    """`times` lines, {i} in each replaced by its number."""
    path.write_text("".join(value.replace("{i}", str(i)) + "\n" for i in range(times)))


def case(path: Path, name: str) -> None:
    """An experiment out of cases/."""
    shutil.copy(Path(__file__).parent / "cases" / name, path)


def as_file(path: Path) -> None:
    """A file where a folder is expected: the folder goes."""
    path = found(path)
    shutil.rmtree(path)
    path.write_text("mine")


def foreign_checkpoint(path: Path) -> None:
    """The checkpoint of the run in this folder, under the name that the same experiment with seed 8 has."""
    (old,) = path.glob(".*checkpoint*")
    digest = load(path.parent / "long.toml").digest
    assert digest in old.name, "a checkpoint's folder is named by the digest"
    old.rename(old.with_name(old.name.replace(digest, load(path.parent / "long.toml", ["seed=8"]).digest)))


def folder(path: Path) -> None:
    """A folder where a file is expected: the file goes."""
    path = found(path)
    if path.is_file():
        path.unlink()
    path.mkdir()


def blocked(path: Path) -> None:
    """A folder with something in it, which no rename can replace."""
    path = found(path)
    folder(path)
    (path / "something").write_text("mine")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def link(path: Path, target: str) -> None:
    path.symlink_to(target)


def remove(path: Path) -> None:
    path = found(path)
    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def flip(path: Path, at: float, bit: int) -> None:
    """One bit at a fraction of the file's length."""
    path = found(path)
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1 << bit
    path.write_bytes(data)


def cut(path: Path, at: float) -> None:
    path = found(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(at * len(data))])


def append(path: Path, value: str) -> None:
    path = found(path)
    path.write_bytes(path.read_bytes() + value.encode())


def mode(path: Path, bits: int) -> None:
    found(path).chmod(bits)


def sparse(path: Path, size: int, head: str = "") -> None:
    """A file that claims `size` bytes and occupies almost none."""
    with path.open("wb") as file:
        file.write(bytes.fromhex(head))
        file.truncate(size)


def npy(path: Path, values: Any, dtype: str = "float64", shape: list[int] | None = None) -> None:
    array = np.array([float(v) if isinstance(v, str) and dtype[0] not in "US" else v for v in np.ravel(values).tolist()])
    if shape is None:
        shape = list(np.shape(values))
    np.save(path, array.astype(dtype).reshape(shape))


def filled(path: Path, shape: list[int], value: float = 0.0, dtype: str = "float64") -> None:
    np.save(path, np.full(shape, value).astype(dtype))


def claims(path: Path, shape: list[int], dtype: str = "<f8", extra: int = 64) -> None:
    """A .npy whose header claims a shape that its few bytes do not hold."""
    path.write_bytes(_header(shape, dtype) + b"\0" * extra)


def sparse_npy(path: Path, shape: list[int], dtype: str = "<f8") -> None:
    """A .npy of zeros, as long as its header says, that occupies almost no disk."""
    head = _header(shape, dtype)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(head) + int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize)


def _header(shape: list[int], dtype: str) -> bytes:
    sides = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
    body = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': ({sides}), }}"
    body = body.ljust((len(body) + 10 + 63) // 64 * 64 - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(body)) + body.encode()


def objects(path: Path) -> None:
    """A pickle inside a .npy."""
    np.save(path, np.array([{"a": 1}, None], dtype=object), allow_pickle=True)


def npz(path: Path, members: dict[str, Any]) -> None:
    """Arrays by name: nested lists, or {shape, value, dtype}."""
    arrays: dict[str, Any] = {}
    for name, value in members.items():
        if isinstance(value, dict):
            arrays[name] = np.full(value["shape"], value.get("value", 0)).astype(value.get("dtype", "float64"))
        else:
            arrays[name] = np.array(value)
    np.savez(path, **arrays)


def zip_member(path: Path, member: str, action: str) -> None:
    """Rewrite a .npz so that one member is: lzma, text, empty, missing, twice, claiming, bomb, unknown (method) or encrypted."""
    with zipfile.ZipFile(path) as old:
        parts = {name: old.read(name) for name in old.namelist()}
    name = member if member in parts else next(iter(parts))
    method = zipfile.ZIP_LZMA if action == "lzma" else zipfile.ZIP_DEFLATED
    if action == "missing":
        del parts[name]
    elif action in ("text", "empty"):
        parts[name] = b"not an array" if action == "text" else b""
    elif action == "claiming":
        parts[name] = _header([10**12], "<f8") + b"\0" * 64
    if action == "bomb":
        path.write_bytes(_bomb(name))
        return
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as new:
        for key, data in parts.items():
            new.writestr(key, data)
        if action == "twice":
            new.writestr("again.npy", parts[name])
    whole = bytearray(buffer.getvalue())
    if action in ("unknown", "encrypted"):
        _mark(whole, action)
    path.write_bytes(whole)


def _bomb(name: str) -> bytes:
    """An archive of 2 MB whose one member is 2 GB of zeros."""
    count, chunk = 2000, 1_000_000
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = packer.compress(_header([count * chunk // 8], "<f8")) + packer.flush(zlib.Z_FULL_FLUSH)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(b"\0" * chunk) + packer.flush(zlib.Z_FULL_FLUSH)  # blocks after a full flush can be repeated
    data, size = head + block * count + b"\x03\x00", 128 + count * chunk
    common = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0x21, 0, len(data), size, len(name), 0)
    local = b"PK\x03\x04" + common + name.encode() + data
    central = b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name.encode()
    return local + central + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)


def _mark(data: bytearray, action: str) -> None:
    """Set the method to 99, or the flag of encryption, in every local and central header."""
    for signature, flag, compression in ((b"PK\x03\x04", 6, 8), (b"PK\x01\x02", 8, 10)):
        at = data.find(signature)
        while at >= 0:
            if action == "unknown":
                data[at + compression : at + compression + 2] = (99).to_bytes(2, "little")
            else:
                data[at + flag] |= 1
            at = data.find(signature, at + 4)


def json_edit(path: Path, keys: list[Any], value: Any = None, action: str = "set") -> None:
    """Set or delete what `keys` lead to; "*" is the first key."""
    data = json.loads(path.read_text())
    node = data
    *way, last = keys
    for key in way:
        node = node[next(iter(node)) if key == "*" else key]
    last = next(iter(node)) if last == "*" else last
    if action == "delete":
        node.pop(last, None) if isinstance(node, dict) else node.pop(last)
    elif action == "null":
        node[last] = None
    elif action == "nest":
        node[last] = json.loads("[" * 100 + "]" * 100)
    else:
        node[last] = value
    path.write_text(json.dumps(data))


def parquet_edit(path: Path, action: str, column: str = "measured", value: Any = None) -> None:
    """Rewrite a ledger: see the actions; its metadata is kept unless the action is about it."""
    import pyarrow as pa
    from pyarrow import parquet

    table = parquet.read_table(path)
    meta = dict(table.schema.metadata or {})
    names = table.column_names
    if action == "no rows":
        table = table.slice(0, 0)
    elif action == "no columns":
        table = table.select([])
    elif action == "drop":
        table = table.drop_columns([column])
    elif action == "rename":
        table = table.rename_columns([f"{n}_x" if n == column else n for n in names])
    elif action == "text":
        table = table.set_column(names.index(column), column, pa.array(["x"] * table.num_rows))
    elif action == "null":
        table = table.set_column(names.index(column), column, pa.array([None] * table.num_rows, pa.float64()))
    elif action == "fill":
        table = table.set_column(names.index(column), column, pa.array([value] * table.num_rows))
    elif action == "twice":
        table = pa.concat_tables([table, table])
    elif action == "lose rows":
        table = table.slice(1)
    elif action == "reverse":
        table = table.take(list(range(table.num_rows))[::-1])
    elif action == "column twice":
        table = table.append_column(column, table.column(column))
    elif action == "no metadata":
        meta = {}
    elif action == "grid":
        values = ", ".join(map(str, range(value)))
        stored = meta[b"entclip.experiment"].decode()
        meta[b"entclip.experiment"] = (
            f"{stored.replace('[grid]', '')}\n[grid]\nseed = [{values}]\nreplicas = [{values}]\n".encode()
        )
    elif action == "metadata":
        meta[column.encode()] = str(value).encode()
    parquet.write_table(table.replace_schema_metadata(meta), path)


OPERATIONS: dict[str, Callable[..., None]] = {
    f.__name__: f
    for f in (
        text,
        raw,
        repeat,
        lines,
        case,
        as_file,
        foreign_checkpoint,
        folder,
        blocked,
        fifo,
        link,
        remove,
        flip,
        cut,
        append,
        mode,
        sparse,
        npy,
        filled,
        claims,
        sparse_npy,
        objects,
        npz,
        zip_member,
        json_edit,
        parquet_edit,
    )
}
