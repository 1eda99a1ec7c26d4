"""The notebooks as pages: copied into docs/tutorials (not kept in git) before the site is built, links turned to the site's."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sphinx.application import Sphinx

_LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s]+)\)")


def rewritten(text: str) -> str:
    """Markdown of a notebook in notebooks/ as it must read in docs/tutorials/: links to pages, notebooks and other files.

    >>> rewritten("[T6](../docs/theory.md#t6), [next](02_theory.ipynb), [law](../entclip/policy.py)")
    '[T6](../theory.md#t6), [next](02_theory.ipynb), [law](../../entclip/policy.py)'
    """

    def turned(found: re.Match[str]) -> str:
        target = found[1]
        if target.startswith("../docs/"):
            return f"](../{target.removeprefix('../docs/')})"
        return f"](../{target})" if target.startswith("../") else found[0]

    return _LINK.sub(turned, text)


def copy_notebooks(app: Sphinx) -> None:
    """Bring docs/tutorials up to date with notebooks/, without touching files that have not changed."""
    source, target = Path(app.srcdir).parent / "notebooks", Path(app.srcdir) / "tutorials"
    notebooks = {path.name: path for path in sorted(source.glob("*.ipynb"))}
    for old in target.glob("*.ipynb"):
        if old.name not in notebooks:
            old.unlink()
    for name, path in notebooks.items():
        book = json.loads(path.read_text())
        for cell in book["cells"]:
            if cell["cell_type"] == "markdown":
                cell["source"] = rewritten("".join(cell["source"]))
        text = json.dumps(book)
        target.mkdir(exist_ok=True)
        if not (target / name).is_file() or (target / name).read_text() != text:
            (target / name).write_text(text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Copy before pages are looked for."""
    app.connect("builder-inited", copy_notebooks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
