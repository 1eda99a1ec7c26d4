"""The folders of the package import downwards only, and no modules import each other in a circle, inside functions included."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "entclip"

# A folder may import from itself and from those above it. docs/architecture.md draws the same list.
ORDER = (
    "support", "policies", "rewards", "objectives", "experiments", "drift", "engines", "ledger", "report", "runs", "prediction",
    "findings", "integrations", "cli",
)  # fmt: skip


def modules(package: Path) -> dict[str, Path]:
    """Dotted name to file, for every module of the package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(package: Path) -> dict[str, set[str]]:
    """Module to the modules it imports, those inside functions and those for type checkers included."""
    known = modules(package)
    root = package.name

    def targets(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else str(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{root}."):
            yield node.value  # the name of a module that is loaded when it is asked for

    found: dict[str, set[str]] = {}
    for name, path in known.items():
        tree = ast.parse(path.read_text("utf-8"))
        names = {t for node in ast.walk(tree) for t in targets(node)}
        found[name] = {t for t in names if t in known and t not in (name, root)}
    return found


def against_the_order(graph: dict[str, set[str]], order: tuple[str, ...]) -> list[str]:
    """Arrows that run from a folder to one below it, as "a -> b"."""

    def floor(module: str) -> int:
        parts = module.split(".")
        return order.index(parts[1]) if len(parts) > 1 and parts[1] in order else len(order)

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


def test_files_are_small():
    assert {
        str(p.relative_to(PACKAGE)): n for p in modules(PACKAGE).values() if (n := len(p.read_text("utf-8").splitlines())) > 400
    } == {}


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
