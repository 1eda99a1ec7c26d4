"""Reports of a run: terminal, notebooks, GitHub, the browser, figures.

Everything here reads the JSON object of a run (`Ledger.summary()`), its rollouts (`Ledger.to_frame("rollouts")`) or its folder;
nothing is computed that is not in them, except combined errors in `comparison`. Importing this package loads no heavy library.
"""

from entclip.report.bars import causes_figure, figure
from entclip.report.files import write_report
from entclip.report.github import markdown
from entclip.report.notebook import table
from entclip.report.numbers import with_error
from entclip.report.page import html
from entclip.report.rollouts import rollouts_figure
from entclip.report.terminal import comparison, tables

__all__ = [
    "causes_figure",
    "comparison",
    "figure",
    "html",
    "markdown",
    "rollouts_figure",
    "table",
    "tables",
    "with_error",
    "write_report",
]
