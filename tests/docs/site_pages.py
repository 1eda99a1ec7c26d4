"""Reading a built site: where its pages point, what they load, and which fragments they have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["Page", "broken_links", "external_loads", "page", "pages"]

# Attributes that make a browser fetch something, by element.
_LOADS = {
    "script": "src",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "audio": "src",
    "embed": "src",
    "object": "data",
}
_LOADING_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch", "preconnect", "dns-prefetch", "manifest"}
_IN_CSS = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""")
# Text in a script that fetches, as opposed to an address that is only named (a licence, an XML namespace).
_IN_JS = re.compile(r"""(?:import\s*\(|importScripts\(|fetch\(|\.src\s*=|\bfrom)\s*["'`](https?:)?//""")


@dataclass
class Page(HTMLParser):
    """One page: its ids, links and loads, and the text of its inline scripts and styles."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    inline: list[tuple[str, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = {k: v or "" for k, v in attrs}
        self.ids |= {got[k] for k in ("id", "name") if got.get(k)}
        if tag == "a" and "href" in got:
            self.links.append(got["href"])
        if tag == "link" and _LOADING_LINKS & set(got.get("rel", "").lower().split()):
            self.loads.append(got.get("href", ""))
        if tag in _LOADS and got.get(_LOADS[tag]):
            self.loads.append(got[_LOADS[tag]])
        self.loads += [item.split()[0] for item in got.get("srcset", "").split(",") if item.strip()]
        if got.get("style"):
            self.inline.append(("style", got["style"]))
        self._inside = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.inline.append((self._inside, data))
        else:
            self.text.append(data)


@cache
def page(path: Path) -> Page:
    """A parsed page."""
    parsed = Page()
    parsed.feed(path.read_text())
    return parsed


def pages(site: Path) -> list[Path]:
    """Every page of a site."""
    return sorted(site.rglob("*.html"))


def broken_links(site: Path) -> Iterator[str]:
    """Links to pages, files or fragments that the site does not have."""
    for path in pages(site):
        for link in page(path).links:
            target = urlsplit(link)
            if target.scheme or target.netloc:
                continue
            there = (path.parent / unquote(target.path)).resolve() if target.path else path
            where = f"{path.relative_to(site)}: {link}"
            if not there.is_file() or not there.is_relative_to(site):
                yield f"{where}: no such file"
            elif target.fragment and there.suffix == ".html" and unquote(target.fragment) not in page(there).ids:
                yield f"{where}: no such fragment"


def external_loads(site: Path) -> Iterator[str]:
    """Scripts, styles, fonts and images that are not files of the site."""
    for path in pages(site):
        name, parsed = str(path.relative_to(site)), page(path)
        yield from (f"{name} loads {url}" for url in parsed.loads if not _local(site, path, url))
        for kind, text in parsed.inline:
            yield from _in_text(site, path, kind, text)
    for path in sorted(site.rglob("*.css")):
        yield from _in_text(site, path, "style", path.read_text())
    for path in sorted(site.rglob("*.js")):
        yield from _in_text(site, path, "script", path.read_text())


def _in_text(site: Path, path: Path, kind: str, text: str) -> Iterator[str]:
    name = path.relative_to(site)
    if kind == "script":
        yield from (f"{name} fetches {found[0]}" for found in _IN_JS.finditer(text))
        return
    for block in re.findall(r"@font-face\s*{[^}]*}", text):
        # A browser takes the first source that it can use; KaTeX names older formats after woff2, which are left out.
        urls = [a or b for a, b in _IN_CSS.findall(block)]
        if not urls or not _local(site, path, urls[0]):
            yield f"{name} has no font {urls[:1]}"
        yield from (f"{name} loads {url}" for url in urls if urlsplit(url).scheme in ("http", "https") or url.startswith("//"))
    rest = re.sub(r"@font-face\s*{[^}]*}", "", text)
    yield from (f"{name} loads {a or b}" for a, b in _IN_CSS.findall(rest) if not _local(site, path, a or b))


def _local(site: Path, path: Path, url: str) -> bool:
    target = urlsplit(url)
    if target.scheme == "data" or (not target.path and target.fragment):
        return True
    there = (path.parent / unquote(target.path)).resolve()
    return not target.scheme and not target.netloc and there.is_file() and there.is_relative_to(site)
