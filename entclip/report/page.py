"""The report as one HTML page that needs nothing else: no script, no request, figures inside."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from entclip.report.document import Code, Items, Picture, Section, Terms, document
from entclip.report.grid import SIGNS, Cell, Grid

__all__ = ["html", "page"]

_CSS = """
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #fff; --soft: #5a5a5a; --line: #d5d5d5; --pale: #f4f4f4;
  --agree: #00664b; --reject: #a33c00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --soft: #a8a8a8; --line: #3c3f44; --pale: #22252a;
    --agree: #5fd0ad; --reject: #ff9a5c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1.5rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; }
h1 { margin: 0 0 .5rem; overflow-wrap: anywhere; } h2 { margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--line); }
p, li, dd { max-width: 52rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: .4rem 0; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { white-space: normal; vertical-align: bottom; } th:first-child { text-align: left; }
.theory, .note, figcaption { color: var(--soft); } .note, figcaption { font-size: .85rem; }
.agree { color: var(--agree); } .reject { color: var(--reject); font-weight: 700; }
figure { margin: 1rem 0; overflow-x: auto; }
img { display: block; width: 100%; min-width: 44rem; height: auto; background: #fff; padding: .3rem; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1.2rem; }
pre { background: var(--pale); padding: .8rem; overflow-x: auto; font-size: .85rem; }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } figure, table { break-inside: avoid; }
  img { min-width: 0; max-height: 22cm; object-fit: contain; object-position: left; }
  h2 { break-after: avoid; } .wide { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .15rem .3rem; }
  pre { white-space: pre-wrap; } }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def html(run_folder: str | Path) -> str:
    """Return the report of a finished run as one self-contained page: figures inside, no script, no request to anywhere.

    Raises: SpecError if the folder is not that of a finished run, or a file of it is damaged.
    """
    return page(document(Path(run_folder)))


def page(sections: list[Section]) -> str:
    """Write the sections as a page; the first one's title is the page's."""
    first, *rest = sections
    name = escape(first.title)
    body = [f"<h1>{name}</h1>", *(_block(b) for b in first.blocks)]
    for section in rest:
        body += ["<section>", f"<h2>{escape(section.title)}</h2>", *(_block(b) for b in section.blocks), "</section>"]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{name}: where entropy went</title>",
            f"<style>{_CSS}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        ]
    )


def _block(block: str | Items | Terms | Code | Picture | Grid) -> str:
    if isinstance(block, str):
        return f"<p>{escape(block)}</p>"
    if isinstance(block, Items):
        rows = (f"<li>{f'<strong>{escape(name)}</strong>: ' if name else ''}{escape(text)}</li>" for name, text in block.lines)
        return "<ul>\n" + "\n".join(rows) + "\n</ul>"
    if isinstance(block, Terms):
        return "<dl>\n" + "\n".join(f"<dt>{escape(w)}</dt><dd>{escape(text)}</dd>" for w, text in block.lines) + "\n</dl>"
    if isinstance(block, Code):
        return f"<pre><code>{escape(block.text)}</code></pre>"
    if isinstance(block, Picture):
        data = base64.b64encode(block.image).decode()
        image = f'<img alt="{escape(block.shows)}" src="data:image/png;base64,{data}">'
        return f"<figure>{image}<figcaption>{escape(block.caption)}</figcaption></figure>"
    return _table(block)


def _table(grid: Grid) -> str:
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in grid.columns)
    rows = []
    for first, *cells in grid.rows:
        rows.append(f'<tr><th scope="row">{escape(first.upper)}</th>{"".join(map(_cell, cells))}</tr>')
    # The signs have a section of their own.
    notes = "\n".join(f'<p class="note">{escape(note)}</p>' for note in grid.notes if note != SIGNS)
    caption = f"<caption>{escape(grid.title)}</caption>"
    body = "\n".join(rows)
    return f'<div class="wide"><table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n{notes}'


def _cell(cell: Cell) -> str:
    mark = cell.verdict if cell.verdict in ("agree", "reject") else "theory"
    if not cell.lower:
        return f'<td class="{mark}">{escape(cell.upper)}</td>' if cell.verdict else f"<td>{escape(cell.upper)}</td>"
    return f'<td>{escape(cell.upper)}<br><span class="{mark}">{escape(cell.lower)}</span></td>'
