"""Which module of a package imports which, read from the source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

# A folder may import from itself and from those before it.
ORDER = (
    "support",
    "policies",
    "rewards",
    "objectives",
    "controllers",
    "experiments",
    "drift",
    "ledger",
    "engines",
    "report",
    "runs",
    "prediction",
    "findings",
    "integrations",
    "cli",
)


def modules(package: Path) -> dict[str, Path]:
    """Dotted name to file, for every module of the package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def arrows(package: Path) -> dict[str, set[str]]:
    """Module to the modules it imports: inside functions, for type checkers and by a name in a string, too."""
    known, root = modules(package), package.name

    def targets(node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"from {'.' * node.level}{node.module or ''} import ...: imports are absolute here.")
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in known else str(node.module)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(f"{root}."):
            yield node.value  # the name of a module that is loaded when it is asked for

    found: dict[str, set[str]] = {}
    for name, path in known.items():
        names = {t for node in ast.walk(ast.parse(path.read_text("utf-8"))) for t in targets(node)}
        found[name] = {t for t in names if t in known and t not in (name, root)}
    return found


def folder_of(module: str, order: tuple[str, ...] = ORDER) -> str | None:
    """The folder that a module lies in, None for a module beside the folders."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in order else None


def folder_arrows(graph: dict[str, set[str]], order: tuple[str, ...] = ORDER) -> dict[tuple[str, str], int]:
    """(folder, folder it imports from) to the number of module pairs behind it."""
    counts: dict[tuple[str, str], int] = {}
    for a, to in graph.items():
        for b in to:
            pair = (folder_of(a, order), folder_of(b, order))
            if None not in pair and pair[0] != pair[1]:
                counts[pair] = counts.get(pair, 0) + 1  # type: ignore[index,arg-type]
    return counts
