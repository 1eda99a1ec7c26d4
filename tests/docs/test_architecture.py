"""The folders of the package import downwards only, and no modules import each other in a circle, inside functions included."""

from pathlib import Path

import pytest

from docs._ext.architecture import described, needed
from docs._ext.imports import ORDER, arrows, folder_of

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "entclip"


def against_the_order(graph: dict[str, set[str]], order: tuple[str, ...]) -> list[str]:
    """Arrows that run from a folder to one below it, as "a -> b"."""

    def floor(module: str) -> int:
        folder = folder_of(module, order)
        return len(order) if folder is None else order.index(folder)

    return [f"{a} -> {b}" for a, to in sorted(graph.items()) if a.count(".") for b in sorted(to) if floor(b) > floor(a)]


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups of more than one module (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for to in graph[node]:
            if to not in index:
                visit(to)
                low[node] = min(low[node], low[to])
            elif to in stack:
                low[node] = min(low[node], index[to])
        if low[node] == index[node]:
            group = []
            while (last := stack.pop()) != node:
                group.append(last)
            groups.append([*group, node])

    for node in graph:
        if node not in index:
            visit(node)
    return [sorted(group) for group in groups if len(group) > 1]


def test_every_folder_has_its_floor():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ORDER)


def test_imports_run_down_the_list():
    assert against_the_order(arrows(PACKAGE), ORDER) == []


def test_no_import_circle():
    assert circles(arrows(PACKAGE)) == []


def test_files_are_small_and_the_formatter_has_its_way():
    long, unformatted = {}, []
    for path in sorted(p for folder in ("entclip", "theory", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")):
        text, name = path.read_text("utf-8"), str(path.relative_to(ROOT))
        if (lines := text.count("\n")) > 400:
            long[name] = lines
        unformatted += [name] * text.count("# fmt: " + "skip")
    assert long == {}
    assert unformatted == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("import toy.low.a", []),
        ("from toy.high import b", ["toy.low.c -> toy.high.b"]),
        ("def f():\n    from toy.high.b import x", ["toy.low.c -> toy.high.b"]),
        ("name = 'toy.high.b'", ["toy.low.c -> toy.high.b"]),
    ],
)
def test_an_import_against_the_order_is_seen(tmp_path, line, found):
    for folder, module, text in (("low", "a", ""), ("low", "c", line), ("high", "b", "import toy.low.a")):
        (tmp_path / "toy" / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / "toy" / folder / f"{module}.py").write_text(text)
    assert against_the_order(arrows(tmp_path / "toy"), ("low", "high")) == found


def test_a_circle_inside_functions_is_seen(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "a.py").write_text("def f():\n    from toy import b")
    (tmp_path / "toy" / "b.py").write_text("import toy.a")
    assert circles(arrows(tmp_path / "toy")) == [["toy.a", "toy.b"]]


def test_the_picture_is_that_of_the_imports():
    picture = (ROOT / "docs" / "figures" / "architecture.svg").read_text("utf-8")
    assert f"<dc:description>{described()}</dc:description>" in picture, (
        "draw it anew: python -m docs._ext.architecture docs/figures/architecture.svg"
    )


def test_arrows_that_follow_from_others_are_left_out():
    assert needed({("a", "b"), ("b", "c"), ("a", "c"), ("d", "c")}) == {("a", "b"), ("b", "c"), ("d", "c")}
