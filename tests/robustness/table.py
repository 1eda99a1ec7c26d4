"""faults.toml as cases, and whether an answer is the right one."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.robustness.inputs import make
from tests.robustness.judge import faults, folder_faults
from tests.robustness.sandbox import ROOT, Case, Sandbox
from tests.robustness.scope import NIGHTLY

_TABLE = Path(__file__).with_name("faults.toml")
_CASE = {"files", "env", "stdout", "fresh", "flags", "program", "limits", "torch", "posix", "out"}
_OWN = {
    "id",
    "fault",
    "argv",
    "code",
    "says",
    "lacks",
    "width",
    "json",
    "patience",
    "before",
    "between",
    "absent",
    "lacks_files",
    "nightly",
}


@dataclass(frozen=True)
class Fault:
    """One entry of the table."""

    id: str
    case: Case
    entry: dict[str, Any]


def table() -> list[Fault]:
    """The entries that this run asks about."""
    entries = tomllib.loads(_TABLE.read_text())["fault"]
    assert len({e["id"] for e in entries}) == len(entries), "ids are names"
    return [_fault(entry) for entry in entries if NIGHTLY or not entry.get("nightly")]


def _fault(entry: dict[str, Any]) -> Fault:
    unknown = set(entry) - _CASE - _OWN
    assert not unknown, f"{entry['id']}: unknown fields {unknown}"
    options: dict[str, Any] = {k: entry[k] for k in _CASE if k in entry}
    options["files"] = tuple((p, o, a) for p, o, a in entry.get("files", ()))
    options["flags"] = tuple(entry.get("flags", ()))
    if "absent" in entry:
        blocks = tuple((f"absent/{m}.py", "text", {"value": _MISSING.format(m)}) for m in entry["absent"])
        options["files"] += blocks
    return Fault(entry["id"], Case("fault", tuple(_expand(w) for w in entry["argv"]), **options), entry)


_MISSING = "raise ModuleNotFoundError(\"No module named '{0}'\", name='{0}')\n"


def _expand(word: str) -> str:
    """{x*300} is 300 times x, {list 5} is 0,1,2,3,4."""
    word = re.sub(r"\{list (\d+)\}", lambda m: ",".join(map(str, range(int(m[1])))), word)
    return re.sub(r"\{(.[^*}]?[^*}]?|[^*]{1,4})\*(\d+)\}", lambda m: m[1] * int(m[2]), word)


def wrong(fault: Fault, sandbox: Sandbox) -> list[str]:
    """What is wrong with the answer to a fault's input; empty when all is right."""
    case, entry = fault.case, fault.entry
    folder = sandbox.root / fault.id
    work = sandbox.prepare(case, folder)
    if "absent" in entry:
        case = replace(case, env={**case.env, "PYTHONPATH": f"{work / 'absent'}:{ROOT}"})
    for argv in entry.get("before", ()):
        first = sandbox.call(Case("before", tuple(argv), torch=case.torch), folder)
        assert first.code == 0, (argv, first.err)
    for path, operation, arguments in entry.get("between", ()):
        make(work / path, operation, dict(arguments), sandbox.templates)
    outcome = sandbox.call(case, folder)
    said = f"{outcome.err}\n{outcome.out}"
    try:
        found = faults(case, outcome)
        if outcome.ended and not found and not entry.get("patience"):
            found.append(f"{outcome.ended}: went on where the right answer is exit {entry['code']}")
        if not outcome.ended:
            found += _answer(entry, outcome.code, said, outcome.out)
        if case.out is not None and not outcome.ended:
            found += folder_faults(case, outcome, sandbox, folder, "compare")
        for rule in entry.get("lacks_files", ()):
            path, _, _ = rule.partition(" if ")
            if outcome.code == 0 and (work / path).exists():
                found.append(f"stale: {path} is still there")
        return [f"{f}" for f in found] + ([said.strip()[-800:]] if found else [])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _answer(entry: dict[str, Any], code: int, said: str, out: str) -> Iterator[str]:
    if code not in entry["code"]:
        yield f"exit {code}, not one of {entry['code']}"
        return
    if code in (0, 2, 74, 130):
        flat = re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─┃━]", " ", said)).lower()
        for piece in entry.get("says", ()):
            if not any(p.lower().replace("\\", "") in flat for p in piece.split("|")):
                yield f"does not say {piece!r}"
    for piece in entry.get("lacks", ()):
        if piece.lower() in said.lower():
            yield f"says {piece!r}"
    widest = max((len(line.rstrip()) for line in out.splitlines()), default=0)
    if widest > entry.get("width", widest):
        yield f"a line of {widest} columns"
    if "json" in entry and code == 0:
        value = json.loads(out)
        for rule in entry["json"]:
            yield from _holds(value, rule)


def _holds(value: Any, rule: dict[str, Any]) -> Iterator[str]:
    *way, last = rule["path"].split(".")
    nodes = [value]
    for key in way:
        nodes = [n for node in nodes for n in (node.values() if key == "*" else [node[key]])]
    for node in nodes:
        got = node[last]
        if rule["check"] == "at most" and got is not None and got > rule["value"]:
            yield f"{rule['path']} = {got} is over {rule['value']}"
        if rule["check"] == "filled or near" and not got and abs(node[rule["of"]] - rule["value"]) > rule["within"]:
            yield f"{rule['path']} is empty, and {rule['of']} = {node[rule['of']]} for {rule['value']}"
        if rule["check"] == "difference" and abs(got - (node[rule["of"][0]] - node[rule["of"][1]])) > rule["within"]:
            yield f"{rule['path']} = {got} where {' - '.join(rule['of'])} = {node[rule['of'][0]] - node[rule['of'][1]]}"
