"""The documentation site builds without a network and without a warning, and nothing on it leads nowhere or goes stale."""

from __future__ import annotations

import doctest
import importlib
import inspect
import os
import re
import runpy
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import yaml
from sphinx.util.inventory import InventoryFile

import entclip
from entclip.objectives import base
from tests.docs.examples import Example, Lenient, console_examples, files, missing, python_source
from tests.docs.overflow import browser, overflows
from tests.docs.site_pages import broken_links, external_loads, page, pages
from tests.robustness.scope import NIGHTLY

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md")) + sorted((DOCS / "api").glob("*.md"))
# Modules whose public names have pages of their own, beside those that `entclip` re-exports.
MODULES = (
    "entclip.report",
    "entclip.report.style",
    "entclip.engines.base",
    "entclip.integrations.lint.facts",
    "entclip.integrations.lint.report",
    "entclip.integrations.lint.liveness",
    "entclip.integrations.lint.notation",
    "entclip.integrations.lint.rules",
    "entclip.integrations.torch",
)


def public_names() -> Iterator[tuple[str, object]]:
    """Every name that users are promised, with its object."""
    for module in (entclip, *map(importlib.import_module, MODULES)):
        for name in module.__all__:
            yield f"{module.__name__}.{name}", getattr(module, name)


def commands() -> dict[str, typer.core.TyperCommand]:
    from entclip.cli.app import app

    return dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site. Sphinx runs apart: its own deprecations are not this suite's errors."""
    out = tmp_path_factory.mktemp("site")
    call = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q", "-b", "html", "-d", str(out / "trees")]
    # An address that nothing answers on: whatever reaches for the network fails.
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*call, str(DOCS), str(out / "html")],
        cwd=ROOT,
        env={**os.environ, **nowhere, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return (out / "html").resolve()


@pytest.mark.slow
def test_site(site: Path, tmp_path: Path) -> None:
    """One test for all that needs the built site, so that parallel workers build it once."""
    assert list(external_loads(site)) == []
    assert list(broken_links(site)) == []
    reached, todo = set(), [site / "index.html"]
    while todo:
        here = todo.pop()
        if here not in reached and here.is_file():
            reached.add(here)
            todo += [(here.parent / link.partition("#")[0]).resolve() for link in page(here).links if ".html" in link]
    for source in [*PAGES, *sorted((DOCS / "tutorials").glob("*.ipynb"))]:
        assert (site / source.relative_to(DOCS)).with_suffix(".html") in reached, f"{source} is on no toctree"
    # A formula that was not recognised stays on the page with its dollars.
    assert [(p.name, found) for p in pages(site) for found in _dollars(p)] == []
    _check_reference(site)
    program = browser()
    if program is None:
        pytest.skip("all else about the site holds; what sticks out of its pages needs a Chromium, which is not installed")
    _check_widths(site, program, tmp_path)


# Pages with wide tables, long formulas, console blocks and figures; the nightly run measures every page.
_WIDE = ("index", "start", "lint", "findings", "proofs", "objectives", "api/commands")


def _check_widths(site: Path, program: str, folder: Path) -> None:
    """Nothing sticks out of a page on a small screen or a telephone; a page made for it shows that it would be seen."""
    scrolls, sticks_out = f'<pre style="overflow:auto"><b>{"x" * 900}</b></pre>', '<div style="width:2000px">wide</div>'
    (site / "wide.html").write_text(f"<!doctype html><body><article><p>narrow</p>{scrolls}{sticks_out}</article>")
    every = [str(p.relative_to(site)) for p in pages(site)]
    shown = every if NIGHTLY else [path for path in every if path.removesuffix(".html") in ("wide", *_WIDE)]
    found = {(path, width): what for path, width, what in overflows(site, shown, program, folder) if what}
    assert {path for path, _ in found} == {"wide.html"}, found
    assert all("DIV ends" in " ".join(what) and "B ends" not in " ".join(what) for what in found.values()), found
    assert {width for _, width in found} == {1280, 400}


def _dollars(path: Path) -> list[str]:
    shown = re.sub(r"(?s)<(pre|code|script)\b.*?</\1>", "", path.read_text())
    return re.findall(r"\$[^$\n<]*[\\_^][^$\n<]*\$", shown)


def _check_reference(site: Path) -> None:
    with (site / "objects.inv").open("rb") as stream:
        inventory = InventoryFile.load(stream, "", lambda base, uri: uri)
    documented = {name for kind, names in inventory.items() if kind.startswith("py:") for name in names}
    absent = []
    for name, thing in public_names():
        home = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '')}"
        if not documented & {name, home}:
            absent.append(name)
    assert absent == []
    shown = "".join(page(site / "api" / "commands.html").text)
    for name, command in commands().items():
        assert f"entclip {name}" in shown
        for parameter in command.params:
            assert all(option in shown for option in parameter.opts if option.startswith("--")), (name, parameter.name)
    keys = "".join(page(site / "api" / "experiment.html").text)
    schema = entclip.Experiment.model_json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert all(key in keys for key in part["properties"])


def test_every_public_name_has_a_docstring() -> None:
    lacking = []
    for name, thing in public_names():
        own = inspect.getdoc(thing) if isinstance(thing, type | types.FunctionType | types.ModuleType) else "a value"
        if not own or (inspect.isclass(thing) and not thing.__doc__):
            lacking.append(name)
    assert lacking == []
    assert all(command.help for command in commands().values())


@pytest.mark.parametrize("source", [*PAGES, ROOT / "README.md"], ids=lambda p: p.name)
def test_pages_name_commands_and_files_that_exist(source: Path) -> None:
    text = source.read_text()
    code = "\n".join(
        [*re.findall(r"`([^`\n]+)`", text), *re.findall(r"(?s)^```(?:sh|console|text)?\n(.*?)^```$", text, re.MULTILINE)]
    )
    named = set(re.findall(r"(?:^|[$;&|] )entclip ([a-z][\w-]*)", code, re.MULTILINE))
    assert named <= set(commands()), source.name
    targets = set(re.findall(r"^([a-z][a-z0-9]*):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|[$;&|] )make ([a-z][a-z0-9]*)", code, re.MULTILINE)) <= targets, source.name
    for link in re.findall(r"\]\((?!https?:|#)([^)\s#]+)", text):
        assert (source.parent / link).exists(), f"{source.name}: {link}"


@pytest.mark.slow
@pytest.mark.parametrize("source", [p for p in PAGES if console_examples(p)], ids=lambda p: p.name)
def test_commands_print_what_the_pages_show(source: Path, tmp_path: Path) -> None:
    for name, body in files(source).items():
        (tmp_path / name).write_text(body)
    found = [problem for example in console_examples(source) if (problem := missing(example, tmp_path))]
    assert found == []


@pytest.mark.parametrize("source", [p for p in PAGES if python_source(p)], ids=lambda p: p.name)
def test_python_on_the_pages_runs(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_KINDS", dict(base._KINDS))  # an objective that a page defines is not every test's
    test = doctest.DocTestParser().get_doctest(python_source(source), {}, source.name, str(source), 0)
    report: list[str] = []
    doctest.DocTestRunner(Lenient(), verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
    assert "".join(report) == ""


def test_the_experiment_shown_is_valid(tmp_path: Path) -> None:
    body = re.search(r"```toml\n(.*?)```", (DOCS / "api" / "experiment.md").read_text(), re.DOTALL)
    assert body is not None
    (tmp_path / "mine.toml").write_text(body[1])
    assert entclip.load(tmp_path / "mine.toml").name == "mine"


def test_names_table_is_what_lint_reads() -> None:
    table = runpy.run_path(str(DOCS / "_ext" / "names_table.py"))["names_table"]()
    assert f"<!-- names: begin -->\n{table}\n<!-- names: end -->" in (DOCS / "notation.md").read_text()


def test_citation_is_that_of_the_citation_file() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    text = (DOCS / "cite.md").read_text()
    paper = cited["references"][0]
    people = " and ".join(f"{p['family-names']}, {p['given-names']}" for p in paper["authors"])
    assert cited["version"] == entclip.__version__
    for part in (cited["title"], cited["version"], cited["license"], paper["title"], str(paper["year"]), people):
        assert f"{{{part}}}" in text, part


@pytest.mark.parametrize("name", ["docstrings", "tutorials"])
def test_examples_of_the_extensions(name: str) -> None:
    module = types.ModuleType(name)
    vars(module).update(runpy.run_path(str(DOCS / "_ext" / f"{name}.py"), run_name=name))
    finder = doctest.DocTestFinder(exclude_empty=True)
    report: list[str] = []
    tests = [t for t in finder.find(module, name, module=False, globs=vars(module)) if t.examples]
    assert tests
    for test in tests:
        doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert "".join(report) == ""


# ---- falsifiers: what the checks above are there to find is found -------------------------------------------------------------
def test_what_a_site_must_not_have_is_found(tmp_path: Path) -> None:
    site = tmp_path.resolve()
    (site / "index.html").write_text(
        '<h1 id="here">x</h1><a href="#here">a</a><a href="#gone">b</a><a href="no.html">c</a><a href="https://x.org">d</a>'
        '<script src="//cdn.example/a.js"></script><script src="own.js"></script><link rel="stylesheet" href="style.css">'
        '<img src="https://example.org/a.png"><script>import("https://example.org/b.js")</script>'
    )
    (site / "own.js").write_text('const svg = "http://www.w3.org/2000/svg"; fetch("https://example.org/data")')
    (site / "style.css").write_text(
        "@font-face{src:url(own.woff2),url(absent.ttf)}@font-face{src:url(absent.woff2)}"
        "@font-face{src:url(own.woff2),url(https://example.org/f.ttf)}body{background:url(https://example.org/c.png)}"
    )
    (site / "own.woff2").touch()
    assert list(broken_links(site)) == ["index.html: #gone: no such fragment", "index.html: no.html: no such file"]
    loads = " ".join(external_loads(site))
    for address in ("//cdn.example/a.js", "a.png", 'import("https://', 'fetch("https://', "absent.woff2", "f.ttf", "c.png"):
        assert address in loads
    assert len(list(external_loads(site))) == 7


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        ("# TRL 1.16.0\nepsilon: 0.2\nepsilon_high: 0.28\n", True),
        ("...\nepsilon_high: 0.28\n", True),
        ("# TRL 1.16.0\n...\n", True),
        ("epsilon_high: 0.28\n", False),
        ("# TRL 1.16.0\n", False),
        ("...\nepsilon_high: 0.31\n", False),
        ("...\nepsilon_low: 0.28\n", False),
        ("# TRL 1.16.0\nepsilon: 0.2\nepsilon_high: 0.28\nmore\n", False),
    ],
)
def test_output_that_is_not_what_a_page_shows_is_found(shown: str, found: bool, tmp_path: Path) -> None:
    example = Example("page.md", "entclip convert --eps-low .2 --eps-high .28 --to trl", shown)
    assert (missing(example, tmp_path) is None) == found
