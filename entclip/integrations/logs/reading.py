"""From a file, a folder or rows to a `Log`: what it is written in is found from its content.

>>> read_rows([{"clip_ratio/low_mean": 0.01, "entropy": 0.5}]).columns["entropy"]
array([0.5])
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np

from entclip.integrations.logs import console, csv_rows, events, json_rows, one_tag, parquet_rows
from entclip.integrations.logs.libraries import LIBRARIES, STEPS, known, metric
from entclip.integrations.logs.lines import OneRun, flat
from entclip.integrations.logs.log import Log, Table
from entclip.integrations.logs.names import plain_name
from entclip.support.bounded import open_regular
from entclip.support.errors import SpecError

__all__ = ["LARGEST", "NoMetricError", "read_log", "read_rows"]

LARGEST = 2 * 2**30  # bytes of a file
_HEAD = 1 << 16
_MOST_FILES = 400
_DEEPEST = 4
_METRICS, _COMPARED = 8, 2_000  # metrics and steps of a file that are compared with those of others in its folder
_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".log", ".out", ".txt", ".parquet")
_STATE = "trainer_state.json"
Row = tuple[int, Mapping[str, float]]


class NoMetricError(SpecError):
    """A file that can be read and has no metric that is known here: none yet, if a job is still writing it."""


def read_rows(rows: Iterable[Mapping[str, Any]]) -> Log:
    """Return rows of numbers, as a callback collects them, as a log."""
    table = Table(known, metric)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise SpecError(f"row {number} is {type(row).__name__}: expected a dictionary of names and numbers.")
        table.add(number, dict(flat({str(key): _plain(value) for key, value in row.items()})))
    return table.log("rows", "rows")


def _plain(value: Any) -> Any:
    """A number of numpy or torch as Python's."""
    if isinstance(value, np.generic) or (hasattr(value, "item") and getattr(value, "numel", lambda: 0)() == 1):
        return value.item()
    return value


def read_log(path: str | Path, *, run: str | None = None) -> Log:
    """Read the log at a path: a file, or a folder with the files of one run.

    Files of a folder are joined by their training step; of checkpoints' `trainer_state.json` the longest is read.

    Args:
        run: whose columns to read where a table has those of several runs.
    Raises: SpecError for what is no log or has no number of a known name; names the fix.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path, run)
    log = _file(path, run)
    if not log.columns:
        titles = ", ".join(library.title for library in LIBRARIES)
        named = f" It names {', '.join(log.unknown[:6])}." if log.unknown else ""
        named += "".join(f" {name} has no number that can be read ({text!r})." for name, text in list(log.unread.items())[:3])
        raise NoMetricError(
            f"log {_short(path)} ({log.form}) has no metric that is known here.{named} Known are the names of {titles}, such as "
            "entropy, clip_fraction_low, clip_fraction_high."
        )
    return log


def _short(path: Path) -> str:
    text = os.fspath(path)
    return repr(text if len(text) <= 200 else f"{text[:80]}...{text[-80:]}")


def _file(path: Path, run: str | None) -> Log:
    where = f"log {_short(path)}"
    with open_regular(path, where, fix="Give the file that the trainer wrote.") as (file, size):
        if size > LARGEST:
            raise SpecError(f"{where} cannot be read: it has {size:,} bytes, over the limit of {LARGEST:,}.")
        try:
            head = file.read(_HEAD)
            file.seek(0)
            if not head.strip():
                raise NoMetricError("it is empty.")
            table, skipped, one = Table(known, metric), [0], OneRun(run)
            form, rows = _rows(path, file, head, size, one, skipped)
            for line, row in rows:
                table.add(line, row)
            table.skipped = skipped[0]
            log = table.log(os.fspath(path), form)
            one.check(log.rows)
            return log
        except OSError as error:
            raise SpecError(f"{where} cannot be read: {error.strerror}.") from None
        except SpecError as error:
            raise type(error)(
                f"{where} cannot be read: {error}" if not str(error).startswith("the log") else str(error)
            ) from None


def _rows(path: Path, file: BufferedReader, head: bytes, size: int, one: OneRun, skipped: list[int]) -> tuple[str, Iterator[Row]]:
    if head.startswith(b"PAR1"):
        return "Parquet", parquet_rows.rows(path, known, one)
    if events.looks_like_events(head):
        return "TensorBoard events", events.rows(file, skipped)
    if head.count(b"\0") > len(head) // 100:
        raise SpecError("it is binary, and neither Parquet nor a TensorBoard event file.")
    text = head.decode("utf-8", errors="replace").lstrip("\ufeff")
    if size > len(head):  # the last line is cut
        text = text.rpartition("\n")[0] or text
    start = text.lstrip()
    first = start.partition("\n")[0].rstrip()
    if start.startswith('{"') and first.endswith("}") and (start.count("\n") or path.suffix == ".jsonl"):
        return "JSON lines", json_rows.line_rows(file, one, skipped)
    if start.startswith(("[{", "[\n", "[\r", "[ ", '{"', "{\n", "{\r", "{ ")):
        return "JSON", json_rows.document_rows(file, size, one, skipped)
    if csv_rows.looks_like_csv(start):
        table = csv_rows.rows(file, one, skipped)
        if one_tag.of_one_tag(first):
            table = one_tag.named(table, path, [alias.name for library in LIBRARIES for alias in library.aliases])
        return "CSV", table
    return "console", console.rows(file)


def _folder(folder: Path, run: str | None) -> Log:
    paths = list(_candidates(folder))
    if not paths:
        raise SpecError(f"folder {_short(folder)} has no log: looked for {', '.join(_ENDINGS)} and event files.")
    states = [path for path in paths if path.name == _STATE]
    if states:
        histories: dict[Path, Log] = {}
        for path in states:
            owner = path.parent.parent if path.parent.name.startswith("checkpoint-") else path.parent
            log = _file(path, run)
            histories[owner] = max(histories.get(owner, log), log, key=lambda log: (log.rows, log.source))
        _refuse_several_runs(folder, list(histories.values()))
        return max(histories.values(), key=lambda log: (log.rows, log.source))
    logs, refused = [], []
    for path in paths:
        try:
            log = _file(path, run)
        except SpecError as error:
            refused.append(str(error))
            continue
        if log.columns:
            logs.append(log)
    if not logs:
        if len(paths) == 1 and refused:
            raise SpecError(refused[0])
        raise NoMetricError(f"folder {_short(folder)}: none of its {len(paths)} files has a metric.")
    return _joined(folder, logs)


def _candidates(folder: Path) -> Iterator[Path]:
    found = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        if len(Path(root).relative_to(folder).parts) >= _DEEPEST:
            folders.clear()
        for name in sorted(names):
            if name.endswith(_ENDINGS) or "tfevents" in name:
                found += 1
                if found > _MOST_FILES:
                    raise SpecError(f"folder {_short(folder)} has over {_MOST_FILES} files: give the folder of one run.")
                yield Path(root, name)


def _refuse_several_runs(folder: Path, logs: list[Log]) -> None:
    """SpecError where two files have other numbers of one metric at most of their steps: they are of two runs.

    Event files that lie together are of one run, as TensorBoard has it; a job that was started again repeats a few steps only.
    """
    seen: dict[tuple[str, float], tuple[float, Log]] = {}
    counts: dict[int, int] = {}
    for log in logs:
        numbers = list(_numbers(log))
        counts[id(log)] = len({step for _, step, _ in numbers})
        others: dict[int, tuple[Log, set[float]]] = {}
        for name, step, value in numbers:
            before, source = seen.setdefault((name, step), (value, log))
            if not math.isclose(value, before, rel_tol=1e-5, abs_tol=1e-12) and not _events_of_one(source, log):
                others.setdefault(id(source), (source, set()))[1].add(step)
        for source, steps in others.values():
            if len(steps) > min(counts[id(log)], counts[id(source)]) / 2:
                names = " and ".join(_short(Path(x.source).relative_to(folder)) for x in (source, log))
                raise SpecError(
                    f"folder {_short(folder)} has several runs: {names} have other numbers at the same steps. Give the folder or "
                    "the file of one run."
                )


def _events_of_one(first: Log, second: Log) -> bool:
    both = first.form == second.form == "TensorBoard events"
    return both and Path(first.source).parent == Path(second.source).parent


def _numbers(log: Log) -> Iterator[tuple[str, float, float]]:
    """Name, step and number of a log's metrics, as many as tell runs apart: one alone may be 0 in all of them."""
    step = next((column for name, column in log.columns.items() if plain_name(name) in STEPS), None)
    if step is None:
        return
    for name in sorted(name for name in log.columns if metric(name))[:_METRICS]:
        for i in np.flatnonzero(np.isfinite(step) & np.isfinite(log.columns[name]))[:_COMPARED]:
            yield name, float(step[i]), float(log.columns[name][i])


def _joined(folder: Path, logs: list[Log]) -> Log:
    """One log with a row for each training step; where two files have the same number of a step the later file's counts."""
    if len(logs) == 1:
        return logs[0]
    _refuse_several_runs(folder, logs)
    merged: dict[float, dict[str, float]] = {}
    infinite: dict[str, set[float]] = {}
    for log in logs:
        step = next((log.columns[name] for name in log.columns if plain_name(name) in STEPS), None)
        if step is None:
            continue
        for i in np.flatnonzero(np.isfinite(step)):
            row = merged.setdefault(float(step[i]), {"step": float(step[i])})
            row.update({name: float(column[i]) for name, column in log.columns.items() if column[i] == column[i]})
        for name, at in log.infinite.items():
            infinite.setdefault(name, set()).update(step[np.isin(log.lines, at) & np.isfinite(step)].tolist())
    if not merged:
        raise SpecError(
            f"folder {_short(folder)} has {len(logs)} logs and none has a step to join them by: give one of the files."
        )
    table = Table(known, metric)
    steps = sorted(merged)
    for number, step_ in enumerate(steps, 1):
        table.add(number, merged[step_])
    whole = table.log(os.fspath(folder), f"{len(logs)} files, joined by step")
    unknown = tuple(dict.fromkeys(name for log in logs for name in log.unknown))
    decimals = {name: count for log in logs for name, count in log.decimals.items()}
    numbers = {name: np.searchsorted(steps, sorted(at)) + 1 for name, at in infinite.items()}
    return Log(
        whole.columns,
        whole.lines,
        whole.source,
        whole.form,
        unknown,
        sum(log.skipped for log in logs),
        numbers,
        decimals=decimals,
        unread={name: text for log in logs for name, text in log.unread.items() if name not in whole.columns},
    )
