"""The figure over rollouts: what is drawn is what the ledger holds, and stacks end where the measured change does."""

from __future__ import annotations

import colorsys
import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from scipy import stats

from entclip import load, report, run
from entclip.report.glossary import READING
from entclip.report.rollouts import rollouts_caption
from entclip.report.stacks import stacks
from entclip.report.style import CAUSES

PARTS = ("unclipped", "clip_low", "clip_high", "other", "curvature")
SMALL = ["policy.vocab=8", "policy.contexts=6", "update.batch=64", "update.minibatches=4", "update.rollouts=3"]


@pytest.fixture(scope="module")
def ledger():
    small = load("headline", SMALL)
    return run(small.model_copy(update={"arm": small.arm[:2]}), "sampled")


@pytest.fixture(scope="module")
def frame(ledger):
    return ledger.to_frame("rollouts")


def panels(fig):
    """Pairs of axes, one per arm: its rollouts, and the whole run."""
    return list(zip(fig.axes[::2], fig.axes[1::2], strict=True))


def piles(axes, groups):
    """Per group the heights of the three piles: theory, causes, measured; each pile's bars must join without gap or overlap."""
    bars = [(b.get_x() + b.get_width() / 2, b.get_y(), b.get_height()) for b in axes.patches]
    out = []
    for i in range(groups):
        sums = []
        for low, high in ((-0.4, -0.2), (-0.1, 0.1), (0.2, 0.4)):
            found = [(bottom, height) for x, bottom, height in bars if low < x - i < high]
            for sign in (1, -1):
                end = 0.0
                for bottom, height in (f for f in found if sign * f[1] > 0):
                    assert bottom == pytest.approx(end, abs=1e-15)
                    end = bottom + height
            sums.append(math.fsum(height for _, height in found))
        out.append(tuple(sums))
    return out


def test_stacks_end_where_the_measured_change_does(ledger, frame):
    fig = report.rollouts_figure(frame, summary=ledger.summary())
    left_out = max(frame["remainder"].abs().max(), *frame.groupby("arm")["remainder"].sum().abs())
    assert f"Remainder (not drawn): at most {report.numbers.plain(left_out, False)}" in rollouts_caption(
        frame, summary=ledger.summary()
    )
    for (axes, whole), (_, rows) in zip(panels(fig), frame.groupby("arm", sort=False), strict=True):
        assert frame["measured"].abs().max() > 50 * left_out  # else the next lines compare noise
        for (theory, causes, measured), (_, row) in zip(piles(axes, 3), rows.iterrows(), strict=True):
            assert measured == pytest.approx(row["measured"], abs=1e-15)
            assert causes + row["remainder"] == pytest.approx(measured, abs=1e-12)
            assert theory == pytest.approx(sum(row[f"expected_{p}"] for p in PARTS), abs=1e-12)
        ((theory, causes, measured),) = piles(whole, 1)
        assert measured == pytest.approx(rows["measured"].sum(), abs=1e-12)
        assert causes + rows["remainder"].sum() == pytest.approx(measured, abs=1e-12)
        assert whole.get_ylim() == pytest.approx(tuple(3 * y for y in axes.get_ylim()))


def test_lines_across_and_diamonds(ledger, frame):
    fig = report.rollouts_figure(frame, summary=ledger.summary())
    for (axes, _), (_, rows) in zip(panels(fig), frame.groupby("arm", sort=False), strict=True):
        diamonds = [line.get_ydata()[0] for line in axes.lines if line.get_marker() == "D"]
        expected = rows[[f"expected_{p}" for p in PARTS]].sum(axis=1)
        assert diamonds == pytest.approx(expected.tolist(), abs=1e-15)
        across = [line.get_ydata() for line in axes.lines if line.get_color() == "black" and len(line.get_ydata()) == 2]
        assert [list(y) for y in across if y[0] == y[1] != 0] == [[m, m] for m in rows["measured"]]


def test_intervals_are_students_and_the_runs_own(ledger, frame):
    summary = ledger.summary()
    assert summary["arms"]["both"]["units"] == 6
    t = stats.t.ppf(0.975, 5)
    for name, groups in stacks(frame, None, summary).items():
        rows = frame[frame["arm"] == name]
        assert [g.half for g in groups[:-1]] == pytest.approx((t * rows["measured_se"]).tolist())
        assert groups[-1].half == pytest.approx(t * summary["arms"][name]["measured_se"])
        # Without the summary the run's interval is the widest that it can be.
        assert stacks(frame)[name][-1].half == pytest.approx(t * rows["measured_se"].sum())
    assert "the sum of those of the rollouts" in rollouts_caption(frame)
    fig = report.rollouts_figure(frame)
    spans = [c.get_paths()[0].vertices[:, 1] for c in fig.axes[0].collections if c.get_paths()]
    halves = [(span.max() - span.min()) / 2 for span in spans if len(span) == 2]
    assert halves == pytest.approx((t * frame[frame["arm"] == "none"]["measured_se"]).tolist())


def test_without_errors_or_theory(frame):
    """The exact engine has no errors; a language model has no theory."""
    plain = frame.assign(**{c: None for c in frame if c.endswith("_se")})
    assert all(g.half is None for groups in stacks(plain).values() for g in groups)
    fig = report.rollouts_figure(plain)
    assert not [c for c in fig.axes[0].collections if c.get_paths()]
    bare = frame.assign(**{c: None for c in frame if c.startswith("expected_")})
    fig = report.rollouts_figure(bare)
    assert "no expectation to set beside them" in rollouts_caption(bare)
    assert "theory along" not in rollouts_caption(bare)
    assert not [line for line in fig.axes[0].lines if line.get_marker() == "D"]


def test_theory_of_some_parts_has_no_total(frame):
    """With shared parameters curvature has no expectation: a diamond would compare unlike things."""
    partly = frame.assign(expected_curvature=None)
    assert all(g.expected and g.expected_total is None for groups in stacks(partly).values() for g in groups)


def test_a_visible_remainder_is_drawn(frame):
    shifted = frame.assign(remainder=frame["remainder"] + 0.01, measured=frame["measured"] + 0.01)
    fig = report.rollouts_figure(shifted)
    for (_, causes, measured), (_, row) in zip(piles(fig.axes[0], 3), shifted[shifted["arm"] == "none"].iterrows(), strict=True):
        assert causes == pytest.approx(row["measured"], abs=1e-12)
        assert measured == pytest.approx(causes, abs=1e-12)
    assert "remainder" in [t.get_text() for t in fig.legends[0].get_texts()]


def test_one_rollout_has_no_panel_of_the_run(frame):
    fig = report.rollouts_figure(frame[frame["rollout"] == 0])
    assert len(fig.axes) == 2
    assert [t.get_text() for t in fig.axes[0].get_xticklabels()] == ["1"]


def test_many_rollouts_are_put_together(frame):
    one = frame[(frame["arm"] == "both") & (frame["rollout"] == 0)]
    many = pd.concat([one] * 100, ignore_index=True).assign(rollout=np.arange(100))
    (groups,) = stacks(many).values()
    assert [g.label for g in groups[:2]] == ["1-3", "4-6"]
    assert [g.label for g in groups[-2:]] == ["100", "run"]
    assert groups[0].measured == pytest.approx(3 * one["measured"].iloc[0])
    assert groups[-1].parts["clip_low"] == pytest.approx(100 * one["clip_low"].iloc[0])
    assert "Neighbouring rollouts are put together" in rollouts_caption(many)


def test_arms_are_chosen_capped_and_named_by_case(frame):
    assert [axes.get_title("left").split()[0] for axes in report.rollouts_figure(frame, ["both"]).axes[::2]] == ["both"]
    one = frame[(frame["arm"] == "both") & (frame["rollout"] == 0)]
    many = pd.concat([one.assign(case=f"x={i}", arm="cost$1$") for i in range(14)])
    fig = report.rollouts_figure(many)
    assert len(fig.axes) == 12
    assert "Not drawn: 2 more arms (x=12/cost$1$, x=13/cost$1$)" in rollouts_caption(many)
    assert "Each case has its own scale" in rollouts_caption(many)


def test_skipped_updates_are_stated_and_their_change_is_part_of_the_stack(ledger, frame):
    summary = ledger.summary()
    summary["arms"]["both"] |= {"skipped": 36, "updates": 12}
    rest = frame["measured"].abs().max()
    partly = frame.assign(measured=frame["measured"] + rest, unaccounted=rest)
    fig, said = report.rollouts_figure(partly, summary=summary), rollouts_caption(partly, summary=summary)
    assert "Accounted: 12 of 48 updates; the rest of the change is drawn as not accounted." in said
    assert "not accounted" in [text.get_text() for text in fig.legends[0].get_texts()]
    for (axes, _), (_, rows) in zip(panels(fig), frame.groupby("arm", sort=False), strict=True):
        for (_, causes, measured), (_, row) in zip(piles(axes, 3), rows.iterrows(), strict=True):
            assert measured == pytest.approx(row["measured"] + rest, abs=1e-15)
            assert causes + row["remainder"] == pytest.approx(measured, abs=1e-12)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: f.iloc[:0], "has no rows"),
        (lambda f: f.drop(columns="measured"), "has no column measured"),
        (lambda f: f.assign(inner_step=0), "is one of updates"),
    ],
)
def test_other_frames_are_refused(spoil, message, frame):
    with pytest.raises(ValueError, match=message):
        report.rollouts_figure(spoil(frame))


def test_unknown_arms_are_refused(frame):
    with pytest.raises(ValueError, match="no arm 'all': choose from none, both"):
        report.rollouts_figure(frame, ["all"])


def test_the_colours_that_the_text_names_are_those_of_one_part_each():
    """Hues in degrees: "blue" must be the clip's alone, and so on."""
    named = {
        "blue": ("clip_low", 185, 255, 0, 1),
        "orange": ("clip_high", 15, 45, 0, 1),
        "yellow": ("unclipped", 50, 62, 0.5, 1),
        "green": ("curvature", 130, 175, 0, 1),
        "dark red": ("momentum", 300, 340, 0, 0.35),
    }
    looks = {part: colorsys.rgb_to_hls(*to_rgb(colour)) for part, (_, colour, _) in CAUSES.items()}
    for word, (part, low, high, dark, light) in named.items():
        found = [p for p, (h, level, s) in looks.items() if s > 0.2 and low <= 360 * h <= high and dark <= level <= light]
        assert found == [part], word
        assert word in READING[-1].lower()
