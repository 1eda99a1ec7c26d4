"""Shares that are others in other parts of a run, shares beside their ceiling, and gaps of several metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from entclip.integrations.diagnose import diagnose

RNG = np.random.default_rng(12)
SAW = np.array([0.0, 0.5, 0.8, 1.0])


def _merged(x):
    return diagnose([{"actor/pg_clipfrac": v, "actor/entropy": 0.6, "step": i + 1} for i, v in enumerate(x)])["clip"]


def _sides(low, high):
    """Rows of four updates a rollout."""
    saw = np.tile(SAW, len(low))
    rows = zip(np.repeat(low, 4) * saw, np.repeat(high, 4) * saw, strict=True)
    return diagnose(
        [{"clip_ratio/low_mean": a, "clip_ratio/high_mean": b, "entropy": 0.6, "step": i + 1} for i, (a, b) in enumerate(rows)]
    )["clip"]


def _about(x, scatter=0.1):
    return np.asarray(x) * (1 + scatter * RNG.standard_normal(len(x)))


def test_a_share_that_is_four_times_as_large_later_is_no_one_number():
    found = _merged(np.where(np.arange(40) < 20, 0.001, 0.004))
    assert found.labels == ("merged", "changing")
    assert "Not the same throughout: 0.1 % in records 1 to 10, 0.4 % in records 21 to 30." in found.answer
    assert [round(e.value, 9) for e in found.evidence[-2:]] == [0.001, 0.004]
    assert _merged(_about(np.linspace(0.001, 0.004, 60))).labels == ("merged", "changing")  # as well as a slow one
    # Two halves of a short log.
    assert _merged(_about(np.where(np.arange(16) < 8, 0.004, 0.001))).labels == (
        "merged",
        "changing",
    )


@pytest.mark.parametrize(
    "x",
    [
        _about(np.full(40, 0.003), 0.3),
        _about(np.where(np.arange(40) < 20, 0.003, 0.0045)),  # a factor of 1.5
        np.where(np.arange(10) < 5, 0.001, 0.004),  # too few rows to tell
        0.003 * np.exp(RNG.standard_normal(32)),  # scatter of a factor of three from row to row
    ],
    ids=["even", "little", "short", "wild"],
)
def test_scatter_and_little_are_no_change(x):
    assert _merged(x).labels == ("merged",)


def test_sides_change_by_themselves():
    """Once the high side alone; once both, against each other, so that their sum stays: each is named with its own numbers."""
    early = np.arange(32) < 16
    found = _sides(_about(np.full(32, 0.004)), _about(np.where(early, 0.002, 0.006)))
    assert found.labels == ("both", "changing")
    assert "the high side" in found.answer.partition("throughout")[2]
    assert "the low side" not in found.answer.partition("throughout")[2]
    found = _sides(np.where(early, 0.004, 0.001), np.where(early, 0.001, 0.004))
    assert found.labels == ("both", "changing")
    assert "throughout: the low side 0.23 % in records 1 to 32," in found.answer
    assert "; the high side " in found.answer
    assert [e.value for e in found.evidence[-4:]] == pytest.approx([0.0023, 0.000575, 0.000575, 0.0023])


def test_on_and_off_is_said_once():
    found = _merged(np.where(np.arange(60) < 30, 0.0, 0.004))
    assert found.labels == ("merged", "part-time")
    assert "throughout" not in found.answer


# Ceilings

_SEQUENCE = "importance_sampling_level: sequence\nepsilon: 3e-4\nepsilon_high: 4e-4\nnum_iterations: 4"


@pytest.mark.parametrize(
    ("share", "scatter", "config", "label"),
    [
        (0.27, 0.01, _SEQUENCE, "high"),
        (0.27, 0.01, "epsilon: 0.2\nnum_iterations: 4", "high"),
        (0.35, 0.001, "epsilon: 0.2\nnum_iterations: 4", "near"),  # .93 of .375
        (0.33, 0.001, "epsilon: 0.2\nnum_iterations: 4", "high"),  # .88 of it
        (0.33, 0.12, "epsilon: 0.2\nnum_iterations: 4", "near"),  # .88, and 1 within three errors of .12/sqrt(40)
        (0.2, 0.01, "epsilon: 0.2\nnum_iterations: 4", None),
    ],
)
def test_near_is_nine_tenths_or_within_the_error(share, scatter, config, label):
    noise = RNG.standard_normal(40)
    x = share + scatter * (noise - noise.mean())
    found = diagnose([{"clip_ratio/region_mean": v, "entropy": 0.5, "step": 4 * i + 4} for i, v in enumerate(x)], config=config)
    assert ("ceiling" in found) == (label is not None)
    if label is not None:
        ceiling = found["ceiling"]
        assert ceiling.labels == (label,)
        assert ceiling.level == ("warn" if label == "near" else "info")
        assert ceiling.evidence[2].value == pytest.approx(share / 0.375)
        assert ("3e-4" in ceiling.change) == (config != _SEQUENCE)
        assert (f"{100 * share / 0.375:.2g} % of the most" in ceiling.answer) == (label == "high")
    if config == _SEQUENCE:
        assert "27 % of the sequences are beyond a bound" in found["clip"].answer
        assert "no fault by itself" in found["ceiling"].answer


# Gaps


def _with_gaps(**holes):
    saw = np.tile(SAW * 0.004, 10)
    rows = [{"clip_ratio/low_mean": x, "clip_ratio/high_mean": x, "step": i + 1} for i, x in enumerate(saw)]
    for name, at in holes.items():
        for i, row in enumerate(rows):
            row[name.replace("__", "/")] = math.nan if i + 1 in at else 0.5
    return diagnose(rows)["gaps"]


def test_metrics_that_stop_together_are_named_together():
    found = _with_gaps(loss=(20, 21, 22, 23), entropy=(20, 21, 22, 23), grad_norm=(20, 21, 22, 23))
    assert "loss, entropy and grad_norm in 4 of 40 (records 20 to 23)." in found.answer
    assert found.level == "warn"
    assert len(found.evidence) == 3


def test_every_metric_with_a_gap_is_named():
    found = _with_gaps(entropy=(4,), loss=(5,), reward=(6,), kl=(7, 8), grad_norm=(9,))
    for name in ("entropy", "loss", "kl", "reward", "grad_norm"):
        assert name in found.answer
    assert "more" not in found.answer


def test_an_overflowing_gradient_alone_is_a_gap_and_no_end():
    found = _with_gaps(grad_norm=(39, 40))
    assert "grad_norm in 2 of 40 (records 39, 40)" in found.answer
