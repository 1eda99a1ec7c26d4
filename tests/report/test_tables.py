"""Reports: number formats, tables that fit a terminal, markdown, a figure that is written whole, and comparisons."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from entclip import load, predict, report
from entclip.ledger.columns import OPTIONAL_CAUSES
from entclip.objectives.base import CAUSES
from entclip.report import style
from entclip.report.bars import causes_caption, causes_figure
from entclip.report.forecast import forecast_grid
from entclip.report.grid import text_grid
from entclip.report.numbers import half_width
from entclip.report.terminal import Blocks
from entclip.support.errors import SpecError

HEADLINE = {
    # arm: (measured, se, unclipped, clip_low, clip_high, curvature, fraction low, fraction high)
    "none": (-0.0295, 0.0007, 0.0009, 0.0, 0.0, -0.0305, 0.0, 0.0),
    "both": (-0.0340, 0.0006, 0.0008, 0.0389, -0.0437, -0.0301, 0.0015, 0.0024),
    "low_only": (0.0073, 0.0006, 0.0007, 0.0373, 0.0, -0.0308, 0.0018, 0.0),
    "high_only": (-0.0741, 0.0007, 0.0006, 0.0, -0.0448, -0.0300, 0.0, 0.0026),
    "clip_higher": (-0.0150, 0.0005, 0.0008, 0.0378, -0.0229, -0.0308, 0.0016, 0.0010),
    "tight_low": (0.0532, 0.0005, 0.0006, 0.0836, 0.0, -0.0311, 0.0104, 0.0),
}


def arm(measured: float, se: float, *rest: float) -> dict[str, Any]:
    unclipped, low, high, curvature, fraction_low, fraction_high = rest
    out: dict[str, Any] = {"measured": measured, "measured_se": se}
    out |= {"measured_cv": measured - unclipped, "measured_cv_se": se / 20}
    values = {"unclipped": unclipped, "clip_low": low, "clip_high": high, "other": 0.0, "curvature": curvature}
    for part, value in values.items():
        expected = 0.0 if part == "unclipped" else value * 1.004
        error = 0.0 if value == 0 else se * (1.0 if part == "unclipped" else 0.3)
        out |= {part: value, f"{part}_se": error, f"expected_{part}": expected, f"residual_{part}_se": error / 8}
        out |= {f"z_{part}": None if value == 0 else -0.7, f"verdict_{part}": "agree"}
    out |= {"remainder": measured - sum(values.values()), "remainder_se": 2.1e-5}
    out |= {"pi_low": 0.0032 if low else 0.0, "pi_high": 0.0051 if high else 0.0, "kl": 0.00192}
    out |= {"gap_low": 1.2345 if low else None, "gap_high": 0.8712 if high else None}
    out |= {"clip_fraction_low": fraction_low, "clip_fraction_high": fraction_high, "ratio_max": 2.416, "collapses": 0}
    return out | {"entropy_start": 3.8012, "entropy_end": 3.8012 + measured, "verdict": "agree", "units": 1000}


def run(arms: dict[str, dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    head = {"experiment": "headline", "digest": "3f9c0a71d2e4", "engine": "sampled", "seed": 0, "rollouts": 5}
    return head | {"arms": {n: arm(*v) for n, v in HEADLINE.items()} if arms is None else arms} | changes


def text(*tables: Blocks, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for table in tables:
        console.print(table)
    return console.file.getvalue()  # type: ignore[attr-defined]


def nothing(summary: dict[str, Any]) -> dict[str, Any]:
    return summary | {"arms": {n: dict.fromkeys(a) for n, a in summary["arms"].items()}}


@pytest.mark.parametrize(
    ("value", "se", "shown"),
    [
        (-0.03401, 0.00061, "-.0340(6)"),
        (0.0207, 0.00149, "+.0207(15)"),
        (0.0207, 0.00151, "+.0207(15)"),
        (0.00731, 0.00096, "+.0073(10)"),
        (0.00731, 0.00099, "+.0073(10)"),
        (-1.23456, 0.0021, "-1.235(2)"),
        (12.3, 1.5, "+12.3(1.5)"),
        (123.4, 3.2, "+123(3)"),
        (1234.0, 150.0, "+1230(150)"),
        (1e-9, 2e-10, "+1.0(2)e-9"),
        (0.03, 1e-9, "+.030000(<1)"),
        (0.0, 0.0003, ".0000(3)"),
        (-0.00001, 0.0003, ".0000(3)"),
        (0.0, 0.0, "0"),
        (0.0, None, "0"),
        (-0.0340123, 0.0, "-.0340"),
        (-0.0340123, None, "-.0340"),
        (-0.0340123, float("nan"), "-.0340"),
        (0.00001234, None, "+1.2e-5"),
        (None, 0.1, "-"),
        (float("nan"), 0.1, "-"),
        (float("inf"), None, "inf"),
        (10.0, None, "+10.00"),
    ],
)
def test_with_error(value: float | None, se: float | None, shown: str) -> None:
    assert report.with_error(value, se) == shown


def test_parts_are_those_of_the_ledger() -> None:
    assert list(style.CAUSES) == ["measured", "measured_cv", *CAUSES, *OPTIONAL_CAUSES, "curvature", "remainder", "unaccounted"]


@pytest.mark.parametrize("width", [40, 80, 110, 140])
def test_tables_fit_the_terminal_and_label_theory(width: int) -> None:
    shown = text(*report.tables(run()), width=width)
    assert max(map(len, shown.splitlines())) <= width
    # Whole numbers, not folded ones.
    for number in ("-.0340(6)", "+.03890(18)", "+.03906 ok", "-.0348", "3.8012 -> 3.7672", "clip_higher", "+1.234", "collapses"):
        assert number in shown
    flat = " ".join(shown.split())
    assert "theory along the path" in flat
    assert "raising eps_high means less clipping at the high bound, hence higher entropy" in flat
    assert shown.isascii() or "─" in shown


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_block_repeats_the_first_column_and_no_column_is_lost(width: int) -> None:
    for table in report.tables(run()):
        lines = text(table, width=width).splitlines()
        heads = [i for i, line in enumerate(lines) if set(line.strip()) == {"─"}]
        assert (len(heads) == 1) == (width == 200)
        words: list[str] = []
        for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
            assert lines[start - 1].startswith("arm ")
            assert [name for name in HEADLINE if any(line.startswith(f"{name} ") for line in lines[start:end])] == list(HEADLINE)
            words += " ".join(lines[max(start - 3, 0) : start]).split()
        for column in table.grid.columns:
            assert set(column.split()) <= set(words)


def test_a_number_wider_than_the_terminal_folds_and_prose_wraps() -> None:
    grid = text_grid("t", ("arm", "number", "words"), [("a", "1234567890" * 3, "one two three " * 20)], prose=("words",))
    lines = text(Blocks(grid), width=24).splitlines()
    assert max(map(len, lines)) <= 24
    flat = "".join(" ".join(lines).split())
    assert flat.count("three") == 20
    assert sum(flat.count(d) for d in "1234567890") == 30
    assert "…" not in flat


def test_other_is_shown_only_where_some_arm_has_it() -> None:
    assert "other" not in report.tables(run())[0].grid.columns
    with_other = run()
    with_other["arms"]["both"]["other"] = 0.01
    assert "other" in report.tables(with_other)[0].grid.columns
    assert max(map(len, text(*report.tables(with_other), width=120).splitlines())) <= 120


def test_every_line_has_its_units() -> None:
    few = run()
    few["arms"]["both"]["units"] = 2
    assert report.table(few)["units"].to_dict() == {name: "2" if name == "both" else "1000" for name in HEADLINE}
    for a in few["arms"].values():
        a |= {k: None for k in a if k.startswith("expected_")}
    assert list(report.table(few).columns)[-1] == "units"  # a language model's: there is no verdict
    exact = run()
    for a in exact["arms"].values():
        a["units"] = None
    assert "units" not in report.table(exact)


def test_a_partly_accounted_run_says_so() -> None:
    assert "accounted" not in text(*report.tables(run()))
    partly = run()
    for a in partly["arms"].values():
        a |= {"updates": 17, "skipped": 303, "unaccounted": 0.28, "unaccounted_se": 0.01}
    shown = text(*report.tables(partly), width=140)
    assert "Accounted in every arm: 17 of 320 updates. The parts are sums over those" in " ".join(shown.split())
    assert "+.280(10)" in shown
    partly["arms"]["both"] |= {"updates": 320, "skipped": 0, "unaccounted": None}
    assert "Accounted: none 17 of 320 updates, low_only 17 of" in " ".join(text(*report.tables(partly), width=140).split())


def test_a_rejected_cause_is_marked_and_coloured() -> None:
    summary = run()
    summary["arms"]["both"] |= {"verdict_clip_low": "reject", "verdict": "reject", "verdict_clip_high": "inconclusive"}
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="standard")
    console.print(report.tables(summary)[0])
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\x1b[1;31m+.03906 NO" in shown
    assert "\x1b[33m-.04387 ?" in shown
    assert re.search(r"\x1b\[32m *agree", shown)


def test_names_are_no_markup() -> None:
    names = ["[red]x[/nothing]", "a|b", "cost$1$"]
    summary = run({name: arm(*HEADLINE["both"]) for name in names})
    assert "[red]x[/nothing]" in text(*report.tables(summary), width=140)
    assert r"a\|b" in report.markdown(summary)


def test_markdown_tables_are_rectangular_and_complete() -> None:
    shown = report.markdown(run())
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 * (2 + len(HEADLINE))
    for half in (rows[:8], rows[8:]):
        assert len({row.replace(r"\|", "").count("|") for row in half}) == 1
    assert "| +.03890(18)<br>+.03906 ok |" in shown
    assert "theory along the path" in shown
    assert "3f9c0a71d2e4" in shown


@pytest.mark.parametrize("summary", [nothing(run()), run({}), run({"none": {}})], ids=["nulls", "no arms", "no keys"])
def test_any_number_may_be_missing(summary: dict[str, Any], tmp_path: Path) -> None:
    assert text(*report.tables(summary), report.comparison(summary, run()), report.comparison(run(), summary))
    assert report.markdown(summary)
    report.figure(summary, tmp_path / "figure.png")


def test_a_prediction_has_theory_only(tmp_path: Path) -> None:
    summary = run()
    for a in summary["arms"].values():
        a |= {k: None for k in a if k in style.CAUSES or k.endswith("_se")} | {"ratio_max": "inf"}
    assert "+.0391" in text(*report.tables(summary))
    report.figure(summary, tmp_path / "figure.png")


def test_a_table_of_a_forecast_says_so() -> None:
    made = predict(load("headline", ["update.rollouts=1", "policy.contexts=4"])).summary()
    shown = report.table(made)
    assert not any("theory" in name or "measured" in name for name in shown)
    total = {name: float(text) for name, text in shown["total, forecast"].items()}
    assert total == {name: pytest.approx(arm["expected_measured"], abs=6e-5) for name, arm in made["arms"].items()}
    # What is small is no zero, and what is zero has no sign.
    small = {"expected_clip_low": 6.83e-5, "expected_clip_high": -0.0, "expected_curvature": -0.00134}
    grid = forecast_grid(made | {"arms": {"both": made["arms"]["both"] | small}})
    assert "in nats, 1 rollout (" in grid.title
    assert [cell.upper for cell in grid.rows[0][1:4]] == ["+6.8e-5", "0", "-.0013"]


@pytest.mark.parametrize("arms", [1, 6, 8, 9, 40])
def test_figure_is_a_png_written_whole(arms: int, tmp_path: Path) -> None:
    from matplotlib.image import imread

    values = list(HEADLINE.values())
    many = {f"both,update.learning_rate=0.{i}": arm(*values[i % 6]) for i in range(arms)}
    target = tmp_path / "figure.png"
    target.write_bytes(b"old")
    report.figure(run(many), target)
    pixels = imread(target)
    assert pixels.shape[1] == 1200
    assert float(pixels[..., :3].min()) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_a_figure_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("disk full")

    target = tmp_path / "figure.png"
    target.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        report.figure(run(), target)
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]


def test_figure_draws_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    kept: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (kept.append(self), save(self, *a, **k))[1])
    summary = run({"both": arm(*HEADLINE["both"])})
    report.figure(summary, tmp_path / "figure.png")
    (fig,) = kept
    (axes,) = fig.axes
    keys = ("measured", "measured_cv", "unclipped", "clip_low", "clip_high", "curvature")
    both = summary["arms"]["both"]
    # A bar from zero down has a negative height.
    assert [p.get_height() for p in axes.patches] == [pytest.approx(both[k]) for k in keys]  # type: ignore[attr-defined]
    diamonds = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]  # type: ignore[index]
    assert diamonds == [both[f"expected_{k}"] for k in keys[2:]]
    spans = [c.get_paths()[0].vertices[:, 1] for c in axes.collections if c.get_paths()]
    assert spans[0].max() - spans[0].min() == pytest.approx(2 * 1.962341 * both["measured_se"], rel=1e-6)  # t, 999
    assert "nats" in fig.get_supylabel()
    for words in ("theory along the path", "Engine sampled, seed 0, rollouts 5, digest 3f9c0a71d2e4"):
        assert words in causes_caption(summary)


@pytest.mark.parametrize("names", [["a"], [f"arm_{i}" for i in range(6)], [f"some_long_name_{i}" for i in range(14)]])
def test_the_letters_of_figures_can_be_read_at_400_pixels(names: list[str]) -> None:
    """Eight pixels high or more, and nothing beyond the edge."""
    from matplotlib.text import Text

    fig = causes_figure(run({name: arm(*HEADLINE["both"]) for name in names}))
    for text in fig.findobj(Text):
        if isinstance(text, Text) and text.get_text():
            assert text.get_fontsize() / 72 * 400 / fig.get_figwidth() >= 8
    drawn = fig.get_tightbbox()  # inches
    assert min(drawn.x0, drawn.y0, fig.get_figwidth() - drawn.x1, fig.get_figheight() - drawn.y1) >= 0


def test_few_units_widen_the_interval() -> None:
    few = arm(*HEADLINE["both"]) | {"units": 5}
    assert half_width(few, "measured") == pytest.approx(2.7764451 * 0.0006)
    assert half_width(few | {"units": 1}, "measured") is None


def test_comparison_has_differences_errors_and_z() -> None:
    a, b = run(), run(digest="b" * 12)
    b["arms"]["both"] |= {"measured": -0.0240, "measured_se": 0.0008}
    del b["arms"]["none"]
    shown = text(report.comparison(a, b))
    assert "+.0100(10)" in shown
    assert "z +10.0" in shown
    assert "none (a)" in " ".join(shown.split())
    assert "tight_low" in shown
    assert max(map(len, shown.splitlines())) <= 120


def test_different_quantities_are_not_compared() -> None:
    """A table's entropy and that of a language model's probe contexts have no difference that means anything."""
    model = run(engine="llm", experiment="llm")
    for pair in ((run(), model), (model, run())):
        with pytest.raises(SpecError, match=r"llm \(engine llm\) .* probe contexts, headline \(engine sampled\) .* experiment"):
            report.comparison(*pair)
    assert "1000 / 1000" in text(report.comparison(model, model))


def test_what_differs_between_two_runs_is_said() -> None:
    flat = " ".join(text(report.comparison(run(), run(rollouts=3, experiment="headline_zipf", engine="reduced"))).split())
    assert (
        "Not only the arms are compared: experiment headline against headline_zipf, rollouts 5 against 3. Sums over more rollouts"
    ) in flat
    assert "Not only the arms" not in text(report.comparison(run(), run(seed=1, digest="b" * 12, engine="exact")))


def test_parts_over_different_updates_are_not_compared() -> None:
    a, b = run({"both": arm(*HEADLINE["both"])}), run({"both": arm(*HEADLINE["high_only"])})
    a["arms"]["both"] |= {"updates": 320, "skipped": 0}
    b["arms"]["both"] |= {"updates": 17, "skipped": 303, "unaccounted": 0.1}
    shown = text(report.comparison(a, b), width=140)
    (line,) = (line for line in shown.splitlines() if line.split()[:1] == ["both"])
    assert line.split()[4] == "-.0401(9)"
    assert set(line.split()[5:]) == {"-"}
    assert "both (all against 17 of 320 updates accounted)" in " ".join(shown.split())
    a["arms"]["both"] |= {"updates": 17, "skipped": 303}
    assert "-.0011" in text(report.comparison(a, b), width=140)


def test_comparison_of_exact_runs_has_no_z() -> None:
    a, b = run({"both": arm(*HEADLINE["both"])}), run({"both": arm(*HEADLINE["high_only"])})
    for summary in (a, b):
        summary["arms"]["both"] |= {k: None for k in summary["arms"]["both"] if k.endswith("_se")}
    shown = text(report.comparison(a, b))
    assert "-.0401" in shown
    assert "z +" not in shown
    assert "z -" in shown


def test_import_is_light_and_input_is_json() -> None:
    heavy = ("matplotlib", "numpy", "pandas", "rich", "scipy")
    code = f"import sys, entclip.report; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert report.markdown(json.loads(json.dumps(run()))) == report.markdown(run())
