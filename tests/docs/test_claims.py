"""Every claim is bound to its proof, function, test and paragraph: claims.toml says nothing that is not there."""

from __future__ import annotations

import ast
import functools
import importlib
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

from theory.catalogue import MODULES

ROOT = Path(__file__).resolve().parents[2]
CLAIMS: list[dict[str, Any]] = tomllib.loads((ROOT / "claims.toml").read_text())["claim"]
KEYS = {"id", "title", "status", "proof", "function", "also", "test", "docs", "note"}
# What each status promises.
PROMISES = {
    "planned": (),
    "derived": ("proof", "docs"),
    "landed": ("proof", "function", "test", "docs"),
}


def names(text: str, claim: str) -> bool:
    """Whether the text names the claim: T1 is not in T10, and T2 is in "T1 to T3"."""
    if re.search(rf"\b{claim}\b", text):
        return True
    ranges = re.findall(r"\bT(\d+) to T(\d+)\b", text)
    return any(int(a) <= int(claim[1:]) <= int(b) for a, b in ranges)


def resolve(path: str) -> Any:
    """The object at a dotted path: the longest prefix that is a module, then attributes."""
    parts = path.split(".")
    for cut in range(len(parts), 0, -1):
        module = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # the module is there, and something that it imports is not
            continue
        for name in parts[cut:]:
            found = getattr(found, name)
        return found
    raise ModuleNotFoundError(path)


def proof_problems(claim: str, value: list[str]) -> list[str]:
    found = []
    for name in value:
        module = Path(name).stem
        if name != f"theory/{module}.py" or module not in MODULES:
            found.append(f"{claim}: proof {name!r} is not one that `python -m theory` carries out")
        elif claim != importlib.import_module(f"theory.{module}").CLAIM:
            found.append(f"{claim}: {name} proves another claim")
    return found


def function_problems(claim: str, value: str) -> list[str]:
    try:
        found = resolve(value)
    except (ImportError, AttributeError, ValueError) as error:
        return [f"{claim}: function {value!r} cannot be imported: {error}"]
    return [] if names(found.__doc__ or "", claim) else [f"{claim}: the docstring of {value} does not name it"]


FORMULAS = ("drift", "engines", "objectives", "rewards")  # where each module that names a claim is listed; others may be


@functools.cache
def docstrings() -> dict[str, str]:
    """The docstring of each module of entclip, packages apart."""
    paths = [path for path in sorted((ROOT / "entclip").rglob("*.py")) if path.name != "__init__.py"]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.get_docstring(ast.parse(path.read_text())) or ""
        for path in paths
    }


def modules_naming(claim: str) -> list[str]:
    return [name for name, text in docstrings().items() if names(text, claim)]


def also_problems(claim: str, value: list[str], function: str) -> list[str]:
    there = [name for name in modules_naming(claim) if not function.startswith(f"{name}.")]
    must = [name for name in there if name.split(".")[1] in FORMULAS]
    found = [f"{claim}: also lacks {name}, whose docstring names the claim" for name in must if name not in value]
    return found + [f"{claim}: also has {name}, whose docstring does not name the claim" for name in value if name not in there]


def test_problems(claim: str, value: str) -> list[str]:
    name, _, prefix = value.partition("::")
    path = ROOT / name
    if not path.is_file():
        return [f"{claim}: test file {name!r} is missing"]
    text, found = path.read_text(), []
    if not names(text, claim):
        found.append(f"{claim}: {name} does not name it")
    if not prefix.startswith("test_") or not re.search(rf"^\s*def {re.escape(prefix)}\w*\(", text, re.MULTILINE):
        found.append(f"{claim}: {name} has no test that starts with {prefix!r}")
    return found


test_problems.__test__ = False  # type: ignore[attr-defined]  # a check of records, not a test


def docs_problems(claim: str, value: str) -> list[str]:
    name, _, anchor = value.partition("#")
    path = ROOT / name
    if not path.is_file():
        return [f"{claim}: docs file {name!r} is missing"]
    # Headings split the page; what follows one of them up to the next is its paragraph.
    parts = re.split(r"^#+ +(.+)$", path.read_text(), flags=re.MULTILINE)
    sections = dict(zip((h.strip().lower() for h in parts[1::2]), parts[2::2], strict=True))
    if anchor != claim.lower() or anchor not in sections:
        return [f"{claim}: {name} has no heading {claim}"]
    return [] if len(sections[anchor].split()) >= 20 else [f"{claim}: the paragraph under {value} is empty"]


CHECKS = {"proof": proof_problems, "function": function_problems, "test": test_problems, "docs": docs_problems}


def problems(record: dict[str, Any]) -> list[str]:
    """Everything that a claim's record promises and the repository lacks."""
    claim, status = record["id"], record["status"]
    found = [f"{claim}: unknown key {key!r}" for key in sorted(set(record) - KEYS)]
    if status not in PROMISES:
        return [*found, f"{claim}: unknown status {status!r}"]
    for part in PROMISES[status]:
        value = record.get(part, "")
        found += CHECKS[part](claim, value) if value else [f"{claim} is {status} but has no {part}"]
    function = record.get("function", "")
    if "function" in PROMISES[status] and function and not function_problems(claim, function):
        found += also_problems(claim, record.get("also", []), function)
    return found + [
        f"{claim}: {status} does not go with {part}" for part in CHECKS if part in record and part not in PROMISES[status]
    ]


@pytest.mark.parametrize("record", CLAIMS, ids=lambda record: record["id"])
def test_claim_is_bound(record: dict[str, Any]) -> None:
    assert problems(record) == []


def test_every_proof_is_claimed() -> None:
    claimed = [Path(name).stem for record in CLAIMS for name in record.get("proof", [])]
    assert sorted(claimed) == sorted(MODULES)


def test_the_page_says_where_the_code_is() -> None:
    table = runpy.run_path(str(ROOT / "docs" / "_ext" / "claims_table.py"))["claims_table"]()
    assert f"<!-- claims: begin -->\n{table}\n<!-- claims: end -->" in (ROOT / "docs" / "theory.md").read_text()


def test_claims_are_complete_and_in_order() -> None:
    assert [record["id"] for record in CLAIMS] == [f"T{n}" for n in range(1, 18)]


def test_experiments_name_known_claims() -> None:
    from entclip.experiments.load import experiment_names, load

    known = {record["id"] for record in CLAIMS if record["status"] == "landed"}
    for name in experiment_names():
        experiment = load(name)
        assert experiment.name == name
        assert experiment.description
        assert experiment.claims
        assert set(experiment.claims) <= known


# ---- falsifiers: each broken record must be reported ------------------------------------------------------------------------
GOOD = {
    "id": "T5",
    "title": "x",
    "status": "landed",
    "proof": ["theory/expected_drift.py"],
    "function": "entclip.drift.first_order.expected_first_order",
    "also": next(record["also"] for record in CLAIMS if record["id"] == "T5"),
    "test": "tests/theory/test_first_order.py::test_",
    "docs": "docs/theory.md#t5",
}


def test_good_record_passes() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"function": "entclip.drift.first_order.no_such_function"}, "cannot be imported"),
        ({"function": "entclip.no_such_module.f"}, "cannot be imported"),
        ({"function": "entclip.drift.noise.noise_drift"}, "docstring"),
        ({"function": ""}, "has no function"),
        ({"test": "tests/theory/no_such_file.py::test_"}, "is missing"),
        ({"test": "tests/theory/test_first_order.py::test_no_such_prefix"}, "no test that starts with"),
        ({"test": "tests/docs/test_claims.py"}, "no test that starts with"),
        ({"docs": "docs/theory.md#t99"}, "no heading"),
        ({"docs": "docs/no_such_page.md#t5"}, "is missing"),
        ({"proof": []}, "has no proof"),
        ({"proof": ["theory/no_such_module.py"]}, "is not one that"),
        ({"proof": ["theory/sums.py"]}, "is not one that"),
        ({"proof": ["theory/expected_drift.py", "theory/noise.py"]}, "proves another claim"),
        ({"status": "planned"}, "does not go with"),
        ({"status": "done"}, "unknown status"),
        ({"prof": ["theory/noise.py"]}, "unknown key"),
        ({"also": []}, "also lacks entclip."),
        ({"also": [*next(record["also"] for record in CLAIMS if record["id"] == "T5"), "entclip.drift.noise"]}, "does not name"),
    ],
)
def test_broken_record_is_reported(change: dict[str, str], message: str) -> None:
    found = problems(GOOD | change)
    assert found
    assert all(message in problem for problem in found)


def test_ids_are_whole_words() -> None:
    assert not names("Claim T10.", "T1")
    assert names("Claims T1 to T3.", "T2")
    assert not names("Claims T1 to T3.", "T4")
