"""Cautions of a ledger: what stands out is said, with its reason, its units and its share, and nothing is added silently."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from entclip.report.cautions import ceiling
from entclip.report.explain import ArmStory, explain, ledger_figure
from entclip.report.stacks import by_arm

PARTS = ("unclipped", "clip_low", "clip_high", "other", "curvature", "remainder")
ALIVE = {"clip_fraction_high": 0.1, "clip_high": -0.03, "mass_high": 0.1, "pi_high": 0.2}


def row(step: int, **values: float) -> dict[str, object]:
    """An update in the middle of nothing: a ledger's row in which all is zero but what is given."""
    names = (*PARTS, "mass_low", "mass_high", "pi_low", "pi_high", "clip_fraction_low", "clip_fraction_high")
    out: dict[str, object] = dict.fromkeys(names, 0.0) | {"count_plus": 8.0, "count_minus": 8.0, "samples": 16.0}
    out |= {"arm": "a", "rollout": 0, "step": step, "inner_step": step % 4, "entropy_before": 1.0, "entropy": 1.1}
    out |= values
    parts = (*PARTS, "momentum") if "momentum" in out else PARTS
    return out | {"measured": sum(float(out[k]) for k in parts)}  # type: ignore[arg-type]


def story(*rows: dict[str, object], **summary: float | None) -> ArmStory:
    sums = {p: sum(float(r.get(p, 0.0)) for r in rows) for p in ("measured", *PARTS)}  # type: ignore[arg-type]
    return explain(pd.DataFrame(rows), {"a": sums | summary} if summary else {})[0]


def said(*rows: dict[str, object], **summary: float | None) -> str:
    return " ".join(story(*rows, **summary).warnings)


def four(**values: float) -> list[dict[str, object]]:
    return [row(k, **values) for k in range(4)]


def test_nothing_is_said_of_what_is_as_it_should_be() -> None:
    assert said(*four(**ALIVE, unclipped=0.001, curvature=0.001)) == ""
    assert said(*[row(k, **(ALIVE if k % 4 else {})) for k in range(8)]) == ""  # the first update of a rollout never clips


def test_what_a_dead_clip_lacked_is_named() -> None:
    once = [row(k, **(ALIVE if k == 1 else {})) for k in range(8)]
    assert said(*once) == "clip alive in 1 of 4 inner steps: in the others no ratio left the band."
    assert said(*four()) == "clip alive in 0 of 4 inner steps: it never acted: no ratio left the band, if the arm has one."
    # Ratios did leave it, and hardly a sample had an advantage to be clipped: that is the reason, not the ratios.
    flat = {"pi_low": 0.05, "pi_high": 0.08, "count_plus": 0.5, "count_minus": 0.46}
    assert said(*four(**flat)) == (
        "clip alive in 0 of 4 inner steps: it never acted: no sample was drawn on which a bound acts, though up to .1300 of the "
        "probability lay beyond one; 94% of the samples carried no advantage (groups whose rewards are all equal)."
    )
    assert said(*four(pi_low=0.05, count_plus=7.9)).endswith("though up to .0500 of the probability lay beyond one.")
    partly = [row(k, **(flat | (ALIVE if k == 1 else {}))) for k in range(8)]
    assert "in 1 of 4 inner steps: in the others no sample was drawn on which a bound acts, though up to .1300" in said(*partly)
    assert said(*four(**(flat | ALIVE))).startswith("94% of the samples carried no advantage")
    assert story(*four(**flat)).without_advantage == pytest.approx(0.94)
    assert story(*four()).without_advantage == 0
    assert story(*[{k: v for k, v in r.items() if k != "samples"} for r in four()]).without_advantage is None


def test_parts_larger_than_the_clips_are_named_one_by_one() -> None:
    assert said(*four(**ALIVE, curvature=0.05)).startswith("curvature (+.2000) is larger than both clip terms (0, -.1200): noise")
    drawn = [r | {"measured_se": 0.1} for r in four(**ALIVE, unclipped=-0.05)]
    walk = said(*drawn, units=6, unclipped_se=0.1)
    assert (
        "the unclipped part (-.20(10)) is larger than both clip terms. Under a random reward plain steps average it to 0: "
        in walk
    )
    assert "mostly a random walk" in walk
    told = said(*drawn, units=6, unclipped_se=0.01)
    assert "mostly a random walk" not in told
    assert "it is told from 0 here, so either the reward depends on the action, or momentum books to the later of" in told
    # Momentum is a line of its own: neither part alone is larger than the clips, and their sum is nowhere.
    assert said(*four(**ALIVE, unclipped=-0.02, momentum=-0.02)) == ""
    loud = said(*four(**ALIVE, unclipped=-0.0001, momentum=0.05))
    assert loud.startswith("momentum (+.2000) is larger than both clip terms: it is what earlier minibatches left")
    assert "unclipped" not in loud


def test_the_remainder() -> None:
    assert "the remainder is 100% of the other parts" in said(*four(**ALIVE, remainder=0.03))
    assert "remainder" not in said(*four(remainder=1e-9))  # no other part to compare with


def test_signs_that_the_gap_does_not_let_expect() -> None:
    unlike = "gap_low is negative: expect a clip at the low bound to lower entropy here, unlike the usual sign."
    assert unlike in said(*four(**ALIVE, mass_low=-0.1, pi_low=0.2))
    low = {"clip_low": -0.001, "mass_low": 0.1, "pi_low": 0.2, "measured_se": 0.1}
    noise = said(*four(**ALIVE, **low), units=2, clip_low_se=0.0004)
    assert (
        "clip_low is -.0040(4) over 2 independent units; under a random reward gap_low (+.5000) lets expect the other sign: that "
        "cannot be told from 0, so neither can its sign."
    ) in noise  # ten standard errors of two units
    assert "momentum, shared parameters or a reward that depends on the action can turn it" in said(
        *four(**ALIVE, **low), units=6, clip_low_se=0.0004
    )
    exact = {name: value for name, value in low.items() if name != "measured_se"}
    assert "can turn it" in said(*four(**ALIVE, **exact))  # no error at all: there is nothing to be noise
    usual = four(**(ALIVE | {"clip_low": 0.001, "mass_low": 0.1, "pi_low": 0.2}))
    assert "lets expect" not in said(*usual, units=2, clip_low_se=0.0003)
    assert "lets expect the other sign" in said(*four(**(ALIVE | {"mass_high": -0.1})))


def test_units_updates_and_ends_of_the_run_are_those_of_its_summary() -> None:
    rows = [row(0), row(7)]
    whole = story(*rows, units=2, skipped=10, entropy_start=0.69, entropy_end=0.85, unaccounted=0.1, unaccounted_se=0.01)
    assert (whole.units, whole.updates, whole.entropy) == (2, (2, 12), (0.69, 0.85))  # the last four have no row
    assert ("unaccounted", 0.1, 0.01) in whole.parts
    assert "2 of 12 updates were accounted; parts are sums over those." in whole.warnings
    # Without its summary: the entropies of the rows have the change of the updates between them.
    alone = story(row(0, unclipped=0.02), row(7, unclipped=0.01) | {"entropy": 1.3})
    assert (alone.units, alone.updates, alone.entropy) == (None, (2, 8), (1.0, 1.3))
    assert alone.measured == (pytest.approx(0.3), None)
    assert ("unaccounted", pytest.approx(0.27), None) in alone.parts


def test_a_missing_error_is_said_where_an_engine_draws() -> None:
    assert "no standard error" not in said(*four())  # an exact engine has none
    assert "no standard error: one independent unit. Use replicas." in said(*[r | {"measured_se": None} for r in four()])


@pytest.mark.parametrize("every", [1, 7])
def test_the_total_drawn_is_of_all_updates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    kept: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *_, **__: kept.append(self))
    # Entropy rises by .01 an update, whether the update has a row or not.
    steps = range(0, 15, every)
    rows = [row(k, unclipped=0.01, entropy_before=1 + k / 100, entropy=1.01 + k / 100) for k in steps]
    ledger_figure(pd.DataFrame(rows), tmp_path / "causes.png")
    axes = kept[0].axes[0]
    total, unclipped = (line.get_ydata()[-1] for line in axes.lines[:2])  # type: ignore[index]
    assert total == pytest.approx(0.15)
    assert unclipped == pytest.approx(0.01 * len(rows))
    assert axes.get_title(loc="left") == ("a" if every == 1 else "a, 3 of 15 updates")


@pytest.mark.parametrize("arms", [["both"], ["both", "none"], ["measured", "arm"]])
def test_arms_have_their_names(arms: list[str]) -> None:
    """One row, or arms named like columns: pandas takes a list of such names for keys."""
    frame = pd.DataFrame([row(0) | {"arm": arm} for arm in arms])
    assert list(by_arm(frame)) == arms
    assert [s.name for s in explain(frame, {})] == arms


def test_where_a_bound_could_act_at_the_most():
    """Of 20 samples 9 have A < 0 and 7 A > 0; the low bound acted on 3 and the high bound on 1."""
    rows = [
        {"samples": 10.0, "count_plus": 3.0, "count_minus": 5.0, "clip_count_low": 2.0, "clip_count_high": 1.0},
        {"samples": 10.0, "count_plus": 4.0, "count_minus": 4.0, "clip_count_low": 1.0, "clip_count_high": 0.0},
    ]
    assert ceiling(pd.DataFrame(rows)) is None, "of an engine"
    assert ceiling(pd.DataFrame(rows).assign(log_ratio_mean=0.0)) == (
        "20.0% had no advantage (flat groups). The low bound could act on at most 45.0% of the samples, and did on 15.0%; the "
        "high bound on at most 35.0% of the samples, and did on 5.0%."
    )
