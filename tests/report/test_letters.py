"""Every kind of figure can be read at 400 pixels: letters eight pixels high or more, nothing beyond the edge, no caption inside.

The figures of the pages are held to it as they are drawn again from the data that are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from entclip.findings.controllers import controllers_figure
from entclip.findings.data import load_catalogue
from entclip.findings.figures import draw
from entclip.findings.pretrained import figure as pretrained
from entclip.findings.pretrained.kin import HEADLINE
from entclip.findings.shared_parameters import figure as shared_parameters
from entclip.prediction.maps import figure as maps
from entclip.prediction.maps.phase_map import phase_map, plane
from entclip.report import explain, style
from entclip.report.contest import contest_figure
from tests.statistics import small_counts, vocabulary

DATA = Path(__file__).resolve().parents[2] / "docs" / "data"
_LETTERS = 8  # pixels
_CAPTION = 100  # characters of one text: what is longer is prose, and belongs on the page


def read(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


def findings(path: Path) -> None:
    draw(load_catalogue(), {p.stem: read(f"findings/{p.name}") for p in (DATA / "findings").glob("*.json")}, path.parent)


def ledger(path: Path) -> None:
    parts = {"unclipped": 0.01, "clip_low": 0.02, "clip_high": -0.01, "curvature": -0.005}
    rows = [
        {"arm": f"clip_higher_{k}", "step": i, "entropy_before": 1.0, "entropy": 1.0 + i / 100, "measured": 0.01, **parts}
        for k in range(6)
        for i in range(0, 20, 2)
    ]
    explain.ledger_figure(pd.DataFrame(rows), path)


def phase(path: Path) -> None:
    where = plane("concentration", points=4)
    maps.figure(phase_map(where.experiment, where.x, where.y), path)


def comparison(path: Path) -> None:
    names = ("clip", "sapo(tau_pos=1.0,tau_neg=1.05)", "dppo_tv(delta=.15)")
    rows = [{"objective": n, "change": -k / 700, "change_se": 1e-5, "predicted": -k / 701} for k, n in enumerate(names, 1)]
    summary = {"experiment": "mine", "arms": {n: {"units": 64} for n in names}, "comparison": rows}
    style.write_figure(contest_figure(summary), path)


DRAWN: dict[str, Callable[[Path], None]] = {
    "small_counts": lambda path: small_counts.figure(read("small_counts.json"), path),
    "vocab_scale": lambda path: vocabulary.vocab_scale_figure(read("vocab_scale.json"), path),
    "headline_152k": lambda path: vocabulary.headline_152k_figure(read("headline_152k.json"), path),
    "shared_parameters": lambda path: shared_parameters.figure(read("shared_parameters.json"), path),
    "findings": findings,
    "ledger": ledger,
    "map": phase,
    "comparison": comparison,
    "pretrained": lambda path: pretrained.figure(read("pretrained.json")[HEADLINE], path),
    "controllers": lambda path: style.write_figure(controllers_figure(read("controllers.json")), path),
}


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The figures that were to be written."""
    found: list[Any] = []
    for module in (
        "findings.figures",
        "findings.pretrained.figure",
        "findings.shared_parameters.figure",
        "prediction.maps.figure",
        "report.explain",
        "report.bars",
        "report.style",
    ):
        monkeypatch.setattr(f"entclip.{module}.write_figure", lambda fig, path: found.append(fig))
    for module in (small_counts, vocabulary):
        monkeypatch.setattr(module, "write_figure", lambda fig, path: found.append(fig))
    return found


@pytest.mark.parametrize("name", DRAWN)
def test_letters_of_figures_can_be_read_at_400_pixels(name: str, written: list[Any], tmp_path: Path) -> None:
    from matplotlib.text import Text

    DRAWN[name](tmp_path / "figure.png")
    assert written
    for fig in written:
        for text in fig.findobj(Text):
            if text.get_text() and text.get_visible():
                size = text.get_fontsize() / 72 * 400 / fig.get_figwidth()
                assert size >= _LETTERS or _exponent(text), (text.get_text(), size)
                assert len(text.get_text()) <= _CAPTION, text.get_text()
        drawn = fig.get_tightbbox()  # inches
        assert min(drawn.x0, drawn.y0, fig.get_figwidth() - drawn.x1, fig.get_figheight() - drawn.y1) >= 0, name


def _exponent(text: Any) -> bool:
    """Labels of minor ticks, which a logarithmic axis hides where there is no room."""
    return text.get_text().startswith("$\\mathdefault")
