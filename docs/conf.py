"""Sphinx: `sphinx-build -W --keep-going -n -b html docs build/docs` makes the site; no network, and no notebook is run."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs" / "_ext"), str(ROOT)]

project = "entclip"
author = copyright = "The entclip authors"
version = release = importlib.import_module("entclip").__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "docstrings",
    "katex_math",
    "generated",
    "tutorials",
]
exclude_patterns = ["assets", "_ext", "data", "jupyter_execute"]

# Text
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
smartquotes_action = "q"  # no dashes from the hyphens of options
myst_update_mathjax = False
html_math_renderer = "katex"

# Notebooks carry their outputs; tests run them. Widgets would load a script from elsewhere: their static fallback is shown.
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # formulas in outputs, too
nb_ipywidgets_js = {}
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

# Reference
autodoc_member_order = "bysource"
# Ledgers inside training loops import what the site is built without.
_TORCH = ("safetensors", "tokenizers", "torch", "transformers", "trl")
autodoc_mock_imports = [name for name in _TORCH if importlib.util.find_spec(name) is None]
autodoc_typehints_format = "short"
# Named, not spelt out: these are unions with pydantic's annotations.
autodoc_type_aliases = {name: name for name in ("Advantage", "RewardLaw", "PolicySpec")}
autoclass_content = "class"
napoleon_numpy_docstring = False
nitpick_ignore_regex = [
    (r"py:.*", r"(?!entclip\.).*"),  # other libraries' objects have no pages here
    (r"py:.*", r"entclip\.experiments\.sections\.(\w+Spec|Arm)"),  # sections of a file: api/experiment.md has their keys
    (r"py:.*", r"entclip\.engines\.base\.[SR]"),  # type variables
]

# Look
html_theme = "furo"
html_title = "entclip"
html_static_path = ["assets"]
html_css_files = ["site.css"]
html_copy_source = False
