"""Public docstrings can be read by themselves: functions open with a verb, and the first sentence of all has an end."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "entclip").rglob("*.py"))
# Imperatives that open a docstring; a new one is welcome here.
VERBS = """
    Account Add Answer Append Apply Begin Book Bound Build Carry Check Choose Close Compare Compress Compute Count
    Cut Do Draw Drop End Estimate Explain Find Fit Follow Forget Give Go Hold Judge Keep Leave Let List Load Look
    Make Mark Match Measure Merge Move Name Open Order Parse Pass Pool Predict Print Prove Put Raise Read Refuse
    Register Remove Restore Return Run Sample Say Set Show Simulate Solve Split Start Stop Store Take Teach Tell
    Tabulate Train Try Turn Validate Wait Write Yield
"""


def public(tree: ast.Module) -> Iterator[tuple[str, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every class and function without an underscore in its path, by that path."""
    waiting: list[tuple[str, ast.Module | ast.ClassDef]] = [("", tree)]
    while waiting:
        prefix, parent = waiting.pop()
        for node in parent.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                yield prefix + node.name, node
                if isinstance(node, ast.ClassDef):
                    waiting.append((f"{prefix}{node.name}.", node))


def problem(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """What is wrong with the first sentence of a docstring; empty where nothing is, or where there is no docstring."""
    text = ast.get_docstring(node)
    if not text:
        return ""
    opening = text.split("\n\n")[0]
    if not re.search(r"\.(\s|$)", opening):
        return "its first sentence has no full stop"
    word = re.split(r"[\s,:]", opening)[0]
    return (
        ""
        if isinstance(node, ast.ClassDef) or word in VERBS
        else f"it opens with {word!r}, no imperative of the list in {Path(__file__).name}"
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_open_with_a_sentence(path: Path) -> None:
    found = {name: said for name, node in public(ast.parse(path.read_text())) if (said := problem(node))}
    assert found == {}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('def f():\n    """pi of each action."""', "opens with 'pi'"),
        ('def f():\n    """Return pi of each action"""', "no full stop"),
        ('class C:\n    """The log-ratio at the end"""', "no full stop"),
        ('def f():\n    """Return pi of each action."""', ""),
        ("def f():\n    pass", ""),
    ],
)
def test_what_is_wrong_is_seen(source: str, said: str) -> None:
    node = ast.parse(source).body[0]
    assert isinstance(node, ast.ClassDef | ast.FunctionDef)
    assert said in problem(node)
    assert bool(problem(node)) == bool(said)
