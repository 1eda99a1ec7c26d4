"""The picture of docs/architecture.md: the package's folders and which import which, read from the source.

    python -m docs._ext.architecture docs/figures/architecture.svg

Arrows that follow from others are left out: where A uses B and B uses C, the arrow from A to C is not drawn.
"""

from __future__ import annotations

import ast
import math
import sys
from io import StringIO
from pathlib import Path as File

from docs._ext.imports import ORDER, arrows, folder_arrows

PACKAGE = File(__file__).resolve().parents[2] / "entclip"


def needed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs that do not follow from the others (the transitive reduction of a graph without circles)."""
    users = {a for a, _ in pairs}
    below = {a: {b for x, b in pairs if x == a} for a in users}

    def reach(a: str) -> set[str]:
        return below.get(a, set()).union(*(reach(b) for b in below.get(a, ())))

    return {(a, b) for a, b in pairs if not any(b in reach(c) for c in below[a] - {b})}


def purpose(folder: str) -> str:
    """First sentence of the folder's docstring."""
    text = ast.get_docstring(ast.parse((PACKAGE / folder / "__init__.py").read_text("utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ")


def facts() -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
    """What is drawn: each folder with its purpose, and the arrows."""
    return [(folder, purpose(folder)) for folder in ORDER], needed(set(folder_arrows(arrows(PACKAGE))))


def described() -> str:
    """What is drawn in words, which the picture carries as its description."""
    rows, pairs = facts()
    words = [f"{folder}: {text}" for folder, text in rows]
    return "; ".join(words + [f"{user} uses {used}" for user, used in sorted(pairs)])


def draw() -> str:
    """The picture as SVG: data flows down the list, an arc joins a folder to each one above that it uses."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "entclip", "svg.fonttype": "none", "font.family": "sans-serif"})
    from matplotlib.figure import Figure
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    rows, pairs = facts()
    figure = Figure(figsize=(9, 0.5 * len(rows) + 0.3))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, 9), ylim=(len(rows) - 0.4, -0.6))
    axes.axis("off")
    for y, (folder, text) in enumerate(rows):
        axes.text(1.45, y, f"{folder}/", ha="right", va="center", fontsize=12, weight="bold")
        axes.text(2.8, y, text, ha="left", va="center", fontsize=9.5)
    place = {folder: y for y, (folder, _) in enumerate(rows)}
    for user, used in sorted(pairs):
        top, bottom = place[used], place[user]
        bulge = 1.6 + 0.5 * math.log1p(bottom - top)
        curve = Path([(1.6, top + 0.1), (bulge, top + 0.1), (bulge, bottom - 0.1), (1.6, bottom - 0.1)], [1, 4, 4, 4])
        axes.add_patch(FancyArrowPatch(path=curve, arrowstyle="-|>", mutation_scale=9, color="0.35", linewidth=0.9))
    out = StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Description": described()})
    return out.getvalue()


if __name__ == "__main__":
    File(sys.argv[1]).write_text(draw(), "utf-8")
