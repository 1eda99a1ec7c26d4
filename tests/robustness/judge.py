"""What must hold after any command line, whatever its input."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

from tests.prose import signs_read
from tests.robustness.sandbox import CPU_SECONDS, Case, Outcome, Sandbox

JUDGED = ("check", "--check", "--strict", "--fail-on")  # only these answer with 1 and 3
MESSAGE = 1500  # characters of one message about bad input
LINES = 16
_RAW = re.compile(
    r"p < 0|\(\) arg is an empty|broadcast|has no attribute|object is not|unsupported operand|list index|invalid literal for|"
    r"NoneType|'>=?' not supported|cannot convert float|math domain|unhashable|validation error"
)
_EMPTY = re.compile(r"^error:\s*$|: \.(?: [A-Z]|$)", re.MULTILINE)
_LONG = re.compile(r"about ([\d,.e+]+) (minute|hour|day|year)s?\b(?! left)")
_SECONDS = {"minute": 60.0, "hour": 3600.0, "day": 86_400.0, "year": 31_557_600.0}
_LARGE = re.compile(r"about [\d,.e+]+ [GT]iB of memory")
_LEFT = re.compile(r" in (?:\d+ h )?(?:\d+ min )?(?:\d+ s)?, about (\d+) s left$", re.MULTILINE)
_STEP = re.compile(r"^.*: ([\d,]+ of [\d,]+ in .*|.* so far\))$", re.MULTILINE)
_NUMBER = re.compile(r"(?<![\w.\"'/=:-])(nan|[+-]inf)(?![\w.\"'/])", re.IGNORECASE)
_IN_A_LOG = re.compile(r"is\s+NaN,|without\s+a\s+number\s+\(NaN,")  # what is said of a log that was read


def faults(case: Case, outcome: Outcome) -> list[str]:
    """Each broken promise in a few words; the first word names its kind."""
    found = []
    if outcome.ended:
        return _unforeseen(case, outcome)
    allowed = (
        {0, 2, 74, 130}
        | ({141} if case.stdout == "closed" else set())
        | ({1, 3} if any(word in case.argv for word in JUDGED) else set())
    )
    if "Traceback" in outcome.err:
        found.append(f"traceback: exit {outcome.code}, {_origin(outcome.err)}")
    elif outcome.code not in allowed:
        found.append(f"exit: {outcome.code}, {outcome.err.strip()[-200:]!r}")
    if "pydantic" in outcome.err.lower():
        found.append("address: a message of pydantic's")
    if outcome.code in (2, 74, 130) and "Traceback" not in outcome.err:
        found += _message(outcome)
    if outcome.code in (0, 1, 3):
        found += _numbers(case, outcome)
    if outcome.code == 1 and any(word in case.argv for word in JUDGED[:2]) and "warning" not in outcome.err:
        found.append("rejected: the theory, without a warning")
    if case.must == "refused" and outcome.code != 2:
        found.append(f"accepted: exit {outcome.code} where the input must be refused")
    if case.must == "done" and outcome.code != 0:
        found.append(f"refused: exit {outcome.code} where it must work, {outcome.err.strip()[-200:]!r}")
    return found


def _unforeseen(case: Case, outcome: Outcome) -> list[str]:
    """What a command that a limit ended had not said, or not done: a word on its length excuses no hang after it."""
    stopped = f"{outcome.ended}: stopped by its limit after {outcome.seconds:.0f} s at {outcome.peak / 2**20:.0f} MiB"
    if outcome.ended == "memory":
        # What is foreseen above the memory that a command may write is refused, unless the case gave it more.
        return [] if "data" in case.limits and _LARGE.search(outcome.err) else [stopped]
    said = _LONG.search(outcome.err)
    if outcome.ended != "time":
        return [stopped]
    if not said:
        # Below a minute nothing is announced; what is left by its own account is then seconds.
        moving = _LEFT.search(outcome.err) and outcome.silent < outcome.seconds / 2
        return [] if moving else [stopped]
    if float(said[1].replace(",", "")) * _SECONDS[said[2]] < case.limits.get("cpu", CPU_SECONDS):
        return [f"{stopped}, later than the {said[0]} that it had said"]
    if not _STEP.search(outcome.err):
        return [f"hang: {stopped}, {said[0]} said and no step done"]
    if outcome.silent > outcome.seconds / 2:
        return [f"hang: {stopped}, {said[0]} said and no step done in the last {outcome.silent:.0f} s"]
    return []


def _origin(err: str) -> str:
    """The error and the innermost frames: two tracebacks with one tail are one fault."""
    lines = [
        line for line in err.splitlines() if re.match(r"[A-Za-z_][\w.]*(: .*)?$", line) and not line.startswith("internal error")
    ]
    frames = re.findall(r'File "([^"]+)", line \d+, in (\S+)', err)
    ours = [f"{Path(file).stem}.{name}" for file, name in frames if "/entclip/" in file]
    tail = f" [{' > '.join(ours[-3:])}]" if ours else ""
    return f"{lines[-1][:140] if lines else err.strip()[-140:]}{tail}"


def _message(outcome: Outcome) -> list[str]:
    text = _STEP.sub("", outcome.err).strip()
    if not text or _EMPTY.search(text):
        return [f"silent: exit {outcome.code} without a word of the cause: {text[-120:]!r}"]
    raw = _RAW.search(text)
    if raw:
        return [f"raw: what a library says, {raw[0]!r}, is no cause, value and fix: {text.splitlines()[-1][:120]!r}"]
    if len(text) > MESSAGE or text.count("\n") >= LINES:
        return [f"long: a message of {len(text)} characters in {text.count(chr(10)) + 1} lines, {text[:80]!r}..."]
    return []


def _numbers(case: Case, outcome: Outcome) -> list[str]:
    if "--json" in case.argv:
        try:
            _finite(json.loads(outcome.out, parse_constant=_refuse))
        except ValueError as error:
            return [] if case.stdout != "file" else [f"json: {error}"]
        return []
    shown = _NUMBER.findall(_IN_A_LOG.sub("", outcome.out))
    found = [f"number: prints {shown[0]} as a result"] if shown else []
    read = signs_read(outcome.out)
    return found + ([f"twice: how to read the signs, {len(read)} times"] if len(read) > 1 else [])


def _refuse(name: str) -> None:
    raise ValueError(f"{name} in the JSON")


_PARTS = ("measured", "unclipped", "clip_low", "clip_high", "other", "curvature", "remainder", "entropy_start", "entropy_end")


def _finite(value: Any) -> None:
    """Infinite widths are "inf"; a result never is."""
    if isinstance(value, dict):
        for key, item in value.items():
            if any(key == p or key in (f"{p}_se", f"expected_{p}") for p in _PARTS) and isinstance(item, str):
                raise ValueError(f"{key} = {item!r}")
            _finite(item)
    elif isinstance(value, list):
        for item in value:
            _finite(item)


def folder_faults(case: Case, outcome: Outcome, sandbox: Sandbox, folder: Path, reader: str) -> list[str]:
    """A run folder after a command: nothing half-written, one run's files, and read by `reader` or said to be damaged."""
    assert case.out is not None
    out = folder / "work" / case.out
    if not out.is_dir():
        return []
    found = []
    left = [p.name for p in out.rglob("*") if p.name.endswith(".tmp") or p.name.startswith(".write-test")]
    if left and not outcome.ended:
        found.append(f"left over: {left[0]}")
    argv = {"compare": ("compare", case.out, case.out)}.get(reader, (reader, case.out, "--out", "read"))
    after = sandbox.call(Case("reader", argv), folder)
    found += [f"reader {reader}: {fault}" for fault in faults(Case("reader", argv), after)]
    if after.code == 0:
        found += mixed(out)
    return found


def mixed(out: Path) -> list[str]:
    """Faults of a folder that a reader accepts: files of different runs, or books with holes."""
    from pyarrow import parquet

    summary = json.loads((out / "summary.json").read_text())
    found = []
    for name in ("ledger.parquet", "rollouts.parquet", "contexts.parquet"):
        if not (out / name).is_file():
            continue
        table = parquet.read_table(out / name)
        stored = (table.schema.metadata or {}).get(b"entclip.digest", b"").decode()
        if stored and stored != summary.get("digest"):
            found.append(f"mixed: {name} is of run {stored}, summary.json of {summary.get('digest')}")
        if name == "ledger.parquet":
            rows = table.to_pylist()
            if any(not isinstance(r.get("measured"), float) or not math.isfinite(r["measured"]) for r in rows):
                found.append("number: the ledger holds a measured change that is no number")
            if "case" not in table.column_names and {r["arm"] for r in rows} != set(summary["arms"]):
                found.append("mixed: ledger and summary have different arms")
    return found
