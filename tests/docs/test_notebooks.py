"""The notebooks run without a word on stderr, end in a checked conclusion, and are committed with what their scripts show."""

from __future__ import annotations

import ast
import os
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

from notebooks.build import FOLDER, cleaned, execute, names, script

ROOT = FOLDER.parent
NAMES = names()
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
EXTRA = {"09_inside_trl": "trl"}  # what a notebook is about, where that is a package that need not be there
MOST = 600_000  # bytes of a notebook with its outputs


def committed(name: str) -> NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def without_magics(source: str) -> str:
    return "\n".join(line for line in source.splitlines() if not line.startswith("%"))


def shape(notebook: NotebookNode) -> list[Any]:
    """What every cell shows, numbers masked: a processor or a version of numpy may round a sample's last digit differently."""
    found = []
    for cell in code(notebook):
        for output in cell.outputs:
            text = output.get("text", output.get("data", {}).get("text/html", output.get("data", {}).get("text/plain", "")))
            kinds = sorted(output.get("data", {output.get("name"): ""}))
            found.append((cell.id, kinds, re.sub(r"\s+", " ", re.sub(r"[-+<]*[\d.]+(\(<?[\d.]+\))?(e[-+]?\d+)?", "#", text))))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_committed_notebook_is_its_script_executed(name: str) -> None:
    found, written = committed(name), script(name)
    assert [(c.cell_type, c.source) for c in found.cells] == [(c.cell_type, c.source) for c in written.cells], (
        f"{name}.ipynb differs from {name}.py: run python -m notebooks.build {name[:2]}"
    )
    assert [c.execution_count for c in code(found)] == list(range(1, len(code(found)) + 1))
    outputs = [output for cell in code(found) for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert sum("image/png" in o.get("data", {}) for o in outputs) or sum("text/markdown" in o.get("data", {}) for o in outputs)
    assert not found.metadata.get("widgets")
    assert (FOLDER / f"{name}.ipynb").stat().st_size < MOST


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_notebook_runs(name: str, tmp_path: Path) -> None:
    if name in EXTRA:
        pytest.importorskip(EXTRA[name], reason=f"needs the {EXTRA[name]} extra")
    # Only entclip is on the path, as where it is installed: a notebook that needs more of the repository must find it by itself.
    (tmp_path / "entclip").symlink_to(ROOT / "entclip")
    notebook = script(name)
    execute(notebook, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    said = [o.text for cell in code(notebook) for o in cell.outputs if o.get("name") == "stderr"]
    assert said == []
    assert shape(cleaned(notebook)) == shape(committed(name)), (
        f"{name}.ipynb shows other things than its code: run python -m notebooks.build {name[:2]}"
    )


@pytest.mark.parametrize("name", NAMES)
def test_last_cell_asserts_the_conclusion(name: str) -> None:
    tree = ast.parse(without_magics(code(script(name))[-1].source))
    checks = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    assert checks
    assert not any(isinstance(node.test, ast.Constant) for node in checks)


@pytest.mark.parametrize("name", NAMES)
def test_no_logic_of_its_own(name: str) -> None:
    """No functions, classes or random branches: a notebook calls entclip, picks columns and shows them."""
    for cell in code(script(name)):
        for node in ast.walk(ast.parse(without_magics(cell.source))):
            assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.While | ast.Global)
            if isinstance(node, ast.Lambda):
                assert "interact(" in cell.source, "a lambda is for a slider"


@pytest.mark.parametrize("name", NAMES)
def test_first_cell_says_what_and_how(name: str) -> None:
    first = " ".join(script(name).cells[0].source.split())
    assert first.startswith(f"# {int(name[:2])}. ")
    for word in ("**Question.**", "**Answer.**", "Runs in about", "pip install", f"jupyter lab notebooks/{name}.ipynb"):
        assert word in first
    assert any(
        cell.source.startswith("## Where this stops") or "\n## Where this stops" in cell.source for cell in script(name).cells
    )


@pytest.mark.parametrize("name", [*NAMES, "README"])
def test_relative_links_resolve(name: str) -> None:
    cells = [(FOLDER / "README.md").read_text()] if name == "README" else [c.source for c in script(name).cells]
    targets = [t for text in cells for t in LINK.findall(text) if "://" not in t]
    assert targets
    for target in targets:
        path, _, anchor = target.partition("#")
        assert (FOLDER / path).is_file(), target
        if anchor and path.endswith(".md"):
            titles = re.findall(r"^#+ +(.+)$", (FOLDER / path).read_text(), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", t).strip().lower().replace(" ", "-") for t in titles}, target


@pytest.mark.parametrize("name", [n for n in NAMES if "ipywidgets" in (FOLDER / f"{n}.py").read_text()])
def test_without_widgets_a_slider_cell_prints_one_line(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (cell,) = (c for c in code(script(name)) if "ipywidgets" in c.source)
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)
    exec(compile(cell.source, name, "exec"), {})
    assert capsys.readouterr().out.splitlines() == ["The sliders need ipywidgets: pip install '.[notebooks]'"]


def test_without_trl_a_notebook_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that imports the ledger is the first that needs TRL or transformers."""
    source = code(script("09_inside_trl"))[0].source
    line = "from entclip.integrations.trl import EntropyLedger"
    first = next(
        text
        for text in source.splitlines()
        if re.match(r"(from|import) (entclip\.integrations\.trl|trl|transformers|torch)", text)
    )
    assert first.startswith(line)
    monkeypatch.setitem(sys.modules, "trl", None)
    monkeypatch.delitem(sys.modules, "entclip.integrations.trl", raising=False)
    with pytest.raises(ImportError, match=r"pip install '\.\[trl\]'"):
        exec(line, {})


def test_readme_lists_every_notebook() -> None:
    text = (FOLDER / "README.md").read_text()
    assert re.findall(r"\]\((\d\d_\w+)\.ipynb\)", text) == NAMES
    assert len(NAMES) == 9


# ---- falsifiers: what is wrong must be seen ----------------------------------------------------------------------------------
def broken(source: str) -> NotebookNode:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata.kernelspec = script(NAMES[0]).metadata.kernelspec
    return notebook


def test_a_failing_conclusion_fails_the_run(tmp_path: Path) -> None:
    with pytest.raises(CellExecutionError, match="AssertionError"):
        execute(broken("assert 1 > 5"), tmp_path)


def test_stderr_is_seen_and_numbers_are_masked(tmp_path: Path) -> None:
    notebook = broken("import warnings; warnings.warn('careful'); print('-.0340(6) agree')")
    execute(notebook, tmp_path)
    assert {o.get("name") for o in notebook.cells[0].outputs} == {"stdout", "stderr"}
    agree, reject = (broken("") for _ in range(2))
    for other, text in ((agree, "+1(<1)e-7 agree"), (reject, "-.0340(6) reject")):
        other.cells[0].id = notebook.cells[0].id
        other.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text=text)]
    notebook.cells[0].outputs = [nbformat.v4.new_output("stream", name="stdout", text="-.0340(6) agree")]
    assert shape(notebook) == shape(agree) != shape(reject)
