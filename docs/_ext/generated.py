"""Parts of pages that are made from the code while the site is built: `<!-- generated: NAME -->` in a page stands for them."""

from __future__ import annotations

import posixpath
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

from entclip.experiments.experiment import Experiment

_MARK = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_TO_MARKDOWN = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#\s]+\.md)\)")


def commands() -> str:
    """Every command with its arguments and options, as typer itself documents them."""
    call = [sys.executable, "-m", "typer", "entclip.cli.app", "utils", "docs", "--name", "entclip"]
    text = subprocess.run(call, capture_output=True, text=True, check=True).stdout
    start = re.search(r"^## ", text, re.MULTILINE)
    if start is None:
        raise RuntimeError(f"typer documents no command: {text!r}")
    return text[start.start() :]  # the page has a heading and an overview of its own


def keys() -> str:
    """Tables of every key of an experiment file: type, bounds and default, section by section."""
    schema = Experiment.model_json_schema()
    parts = schema["$defs"]
    out = ["## Top level", *_table({k: v for k, v in schema["properties"].items() if not _targets(v) and k != "arm"}, ())]
    for section, node in schema["properties"].items():
        targets = _targets(node) or _targets(node.get("items", {}))
        if targets:
            heading = "[[arm]]" if section == "arm" else f"[{section}]"
            out += [f"## `{heading}`", "", *_section([parts[t] for t in targets], node.get("default"))]
    objectives = [parts[t] for t in _targets(parts["Arm"]["properties"]["objective"])]
    out += ["## `[arm.objective]`", "", 'Give `objective = "NAME"`, or this table where the objective has parameters.', ""]
    out += [*_section(objectives, {"kind": "clip"}), "## `[arm.control]`", "", *_section([parts["ControlSpec"]], None)]
    controllers = [parts[t] for t in _targets(parts["Arm"]["properties"]["controller"])]
    out += ["## `[arm.controller]`", "", "A [controller](../controllers.md) sets parameters anew before every rollout.", ""]
    out += _section(controllers, None)
    return "\n".join(out)


def _section(options: list[dict[str, Any]], default: Any) -> Iterator[str]:
    if len(options) > 1:
        usual = default.get("kind") if isinstance(default, dict) else None
        named = [f"`{o['properties']['kind']['const']}`" for o in options]
        yield f"`kind` is one of {', '.join(named)}; `{usual}` if the section is left out." if usual else ""
        yield ""
    for option in options:
        kind = option["properties"].get("kind", {}).get("const")
        if kind is not None and len(options) > 1:
            yield f'### `kind = "{kind}"`\n'
        yield _escape(option["description"]) + "\n"
        rows = {k: v for k, v in option["properties"].items() if not (k == "kind" and "const" in v)}
        yield from _table(rows, option.get("required", ()))


def _table(properties: dict[str, Any], required: Any) -> Iterator[str]:
    if properties:
        yield "| key | value | default |\n|---|---|---|"
        for key, node in properties.items():
            default = "required" if key in required else _default(node.get("default"))
            yield f"| `{key}` | {_type(node)} | {default} |"
        yield ""


def _targets(node: dict[str, Any]) -> list[str]:
    """Names of the models that a value may be."""
    if "$ref" in node:
        return [node["$ref"].rsplit("/", 1)[-1]]
    return [name for option in (*node.get("oneOf", ()), *node.get("anyOf", ())) for name in _targets(option)]


def _type(node: dict[str, Any]) -> str:
    options = [o for o in node.get("anyOf", ()) if o.get("type") != "null"]
    if options:
        return " or ".join(_type(o) for o in options)
    if _targets(node):
        return "table"
    if "enum" in node:
        return ", ".join(f'`"{v}"`' if isinstance(v, str) else f"`{v}`" for v in node["enum"])
    if node.get("type") == "array":
        inner = node.get("items") or (node.get("prefixItems") or [{}])[0]
        count = f" of {node['minItems']}" if "minItems" in node and node.get("minItems") == node.get("maxItems") else " of"
        return f"list{count} {_plural(_type(inner))}"
    names = {"integer": "whole number", "number": "number", "string": "text", "boolean": "`true` or `false`", "object": "table"}
    signs = {"exclusiveMinimum": "above", "minimum": "at least", "exclusiveMaximum": "below", "maximum": "at most"}
    bounds = [f"{word} {node[key]:g}" for key, word in signs.items() if key in node]
    return " ".join([names.get(node.get("type", ""), "any value"), ", ".join(bounds)]).strip()


def _plural(text: str) -> str:
    return re.sub(r"^(whole number|number|any value)", r"\1s", text).replace("text", "texts")


def _default(value: Any) -> str:
    if value is None:
        return "not set"
    if value in ("", [], {}):
        return "empty"
    if isinstance(value, str):
        return f'`"{value}"`'
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _escape(text: str) -> str:
    """Plain text as Markdown, except for `code`."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(p if p.startswith("`") else re.sub(r"([*_<>|\[\]$#\\^~])", r"\\\1", p) for p in pieces)


def notebooks() -> str:
    """Entries of a toctree: the notebooks in the order of their numbers."""
    return "\n".join(f"tutorials/{path.stem}" for path in sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb")))


_PARTS = {"commands": commands, "keys": keys, "notebooks": notebooks}


def _replace(app: Sphinx, page: str, source: list[str]) -> None:
    def download(found: re.Match[str]) -> str:
        # The parser takes every .md for a page of the site; one that lies outside docs/ is a file to read.
        outside = posixpath.normpath(posixpath.join(posixpath.dirname(page), found[2])).startswith("..")
        return f"{{download}}`{found[1]} <{found[2]}>`" if outside else found[0]

    filled = _MARK.sub(lambda found: _PARTS[found[1]](), source[0])
    up = "../" * page.count("/")
    filled = filled.replace(f"]({up}../notebooks/", f"]({up}tutorials/")
    source[0] = _TO_MARKDOWN.sub(download, filled)


def _with_marks(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:
    """Pages that must be read anew in every build: what their marks stand for may have changed."""
    return [page for page in env.found_docs if _MARK.search(Path(env.doc2path(page)).read_text())]


def setup(app: Sphinx) -> dict[str, bool]:
    """Fill the marks, and turn links to notebooks and to Markdown files outside docs/, as pages are read."""
    app.connect("env-get-outdated", _with_marks)
    app.connect("source-read", _replace)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
